"""What the rest of the program knows of the cluster, and what it may ask for: the public face of this room.

All of it is answered by the member's core at once. Who carries out what follows from a call differs: the
trio shell (service.py) or the simulator, and so does how to wait for a decision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from gossip.config import GossipConfig
from gossip.messages import Address
from gossip.participant import Participant
from gossip.register import Change
from gossip.topology import Topology
from gossip.votes import Plain


@dataclass(frozen=True, slots=True)
class Link:
    """How we stand with one member. There are no standing connections; this is what replaces them.

    Attributes:
        heard_ms: when anything of it last came directly, on the clock of `Membership.now_ms`; 0 when never.
        answered_ms: when it last completed a round trip with us; 0 when never.
    """

    member_id: str
    address: Address
    status: str
    heard_ms: int
    answered_ms: int


class Membership(ABC):
    """One member of a cluster, driven by a subclass.

    Args:
        core: ours alone.
    """

    def __init__(self, core: Participant) -> None:
        self.core = core

    # -- what drives it ---------------------------------------------------------------------------------

    @abstractmethod
    def now_ms(self) -> int:
        """The clock of every `_ms` figure here: monotonic, and it counts while the machine sleeps, so that a
        lease ends then too.
        """

    @abstractmethod
    def carry_out(self) -> None:
        """Do what the core wants done, and sleep no longer than it wants."""

    @abstractmethod
    async def propose(
        self,
        register: str,
        change: Change,
        *,
        timeout_ms: int | None = None,
        half_way: Callable[[], Awaitable[None]] | None = None,
    ) -> Plain:
        """Change a register by the votes of a majority; returns its decided content.

        Args:
            register: 'slots' or 'shard/<id>'.
            change: from the present content (None when never written) to the next, as plain data (maps with
                str keys, tuples or lists, str, int, bool, None). Pure: it may run several times, also on a
                value that already holds its own effect, which it must recognise and return unchanged. To
                decline it raises `Refused("why")`, which comes out of here: not applied.
            timeout_ms: patience over all attempts; None for propose_timeout_ms.
            half_way: awaited once, when a majority has promised and before anything can be decided: what the
                change needs to be true from then on, and costs somebody while it is. One round of votes is
                over by then and one is left, if nobody proposes anything else meanwhile. What it raises comes
                out of here: not applied.
        Raises:
            Refused: not applied; the change declined.
            NoMajority: too few voters agreed in time. Its `unknown` tells "not applied" from "unknown whether
                applied"; its text names the voters and what each said.
        Cancelled: the change may or may not be decided.
        """

    # -- what others read -------------------------------------------------------------------------------

    @property
    def config(self) -> GossipConfig:
        return self.core.config

    @property
    def id(self) -> str:
        """Our member id, 40 hex characters; the same after a restart in the same directory."""
        return self.core.id

    @property
    def cluster_id(self) -> str:
        """Changes once at most: when we, empty and alone, join another cluster."""
        return self.core.cluster_id

    @property
    def bus_port(self) -> int:
        return self.core.meta.bus_port

    @property
    def topology(self) -> Topology:
        """The newest snapshot. Offsets in it are as fresh as the last packets; they alone do not raise its
        version.

        Cost: nothing, unless an offset moved since the last call (then a copy of the member table).
        """
        return self.core.fresh_topology()

    def lease_valid_until_ms(self) -> int:
        """While `now_ms()` is below this, we may serve as primary of our shard; 0: never had a lease, or
        lost it.

        Compare again right before replies leave. It moves forward about every lease_ms * 2 / 5, and falls to
        0 when the shard's register names somebody else or a newer epoch of ours has not been granted yet.
        Constant time.
        """
        return self.core.voting.held.valid_until_ms

    def on_lease(self, call: Callable[[], None]) -> None:
        """`call` from now on whenever `lease_valid_until_ms` moved. It may look, and change nothing here."""
        self.core.voting.on_lease = call

    @property
    def lease_wanted(self) -> bool:
        """Whether we ask for leases when the register names us primary. True from the start; set it to False
        while our data is not in place, or to stop serving. Takes effect at once.
        """
        return self.core.lease_wanted

    @lease_wanted.setter
    def lease_wanted(self, wanted: bool) -> None:
        self.core.want_lease(wanted, self.now_ms())
        self.carry_out()

    def majority_heard_ms(self) -> int:
        """When a majority of the voters was certainly there, 0 when never: tells whether we sit in a
        minority.

        For members without a lease. Evidence passes from member to member with every packet (each says how
        old its own is), so it is fresh to within some hundred ms in a cluster of any size, and grows old in
        a minority. A hint for routing: packets that waited while we stood still count as new. A primary goes
        by its lease.
        """
        return self.core.majority_heard_ms(self.now_ms())

    def failure_reports(self, member_id: str) -> int:
        """How many members accuse `member_id` at this moment (CLUSTER COUNT-FAILURE-REPORTS)."""
        return len(self.accusers(member_id))

    def accusers(self, member_id: str) -> tuple[str, ...]:
        """Who accuses `member_id` at this moment; empty unless it is suspect."""
        return self.core.detector.failure_reports(member_id)

    def accepted_by(self, register: str) -> tuple[str, ...]:
        """Whose votes decided our last change of this register; empty when there was none."""
        return self.core.voting.registers.accepted_by.get(register, ())

    def links(self) -> tuple[Link, ...]:
        """One entry for each listed member but ourselves, in order of arrival."""
        return tuple(
            Link(member.id, member.meta.bus_address, member.status.value, member.heard_ms, member.answered_ms)
            for member in self.core.detector.members
        )

    def register(self, name: str) -> Plain:
        """The newest decided content of a register that we know, None when there is none. May be behind the
        majority's; `propose` with an identity change reads what is decided.
        """
        value = self.core.voting.decided.get(name)
        return None if value is None else value.data

    # -- what others do ---------------------------------------------------------------------------------

    def update_self(
        self, *, shard_id: str | None = None, offset: int | None = None, zone: str | None = None
    ) -> None:
        """Tell the cluster about ourselves. Cheap; call it as often as you like.

        Args:
            shard_id: the shard we belong to, '' for none. Spreads as news at once.
            zone: our failure domain. Spreads as news at once.
            offset: our replication offset. Rides on whatever we send anyway (a few packets a second), so
                others see it late by up to a second or so; -1 stands for no usable data.
        """
        if offset is not None:
            self.core.update_offset(offset)
        meta = self.core.meta
        if shard_id is not None:
            meta = replace(meta, shard_id=shard_id)
        if zone is not None:
            meta = replace(meta, zone=zone)
        if meta != self.core.meta:
            self.core.update_meta(meta, self.now_ms())
            self.carry_out()

    def report_broken(self, member_id: str, refused: bool = False) -> None:
        """A connection to `member_id` was refused or reset, or its link fell silent: find out now.

        Probes it and tries its bus port at once. If that refuses connections the voters hear of it, each
        tries for itself, and once a majority was refused the member is dead, without waiting for a suspicion:
        within some tens of ms on one machine. If the port answers, the ordinary probe decides. Harmless when
        wrong; repeats within 40 ms are ignored. `refused` is welcome but not believed: we try for ourselves.
        """
        del refused  # either kind of break leads to the same check
        self.core.report_broken(member_id, self.now_ms())
        self.carry_out()

    def forget(self, member_id: str) -> bool:
        """Drop a member from our list and ignore what is said about it for a minute (CLUSTER FORGET; each
        member must be told, as there). False when it was not listed. Registers that name it are not changed.
        """
        done = self.core.forget(member_id, self.now_ms())
        self.carry_out()
        return done

    def tell(self, register: str, members: Iterable[str]) -> None:
        """Tell these members now what is decided of a register. Gossip tells everybody, but each of them by
        chance, some at the third pass. One datagram each; it may get lost.
        """
        self.core.tell(register, members, self.now_ms())
        self.carry_out()

    def release_lease(self) -> None:
        """Stop serving now and tell the voters, so that a planned successor need not wait for our lease to
        end.

        Sets `lease_wanted` to False; set it to True again to take part anew.
        """
        self.core.release_lease(self.now_ms())
        self.carry_out()
