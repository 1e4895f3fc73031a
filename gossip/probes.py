"""Probing: who is asked whether it is alive, by whom, and when that has failed.

    round      each interval one member, round robin over a shuffled list: nobody waits longer than two rounds
    direct     ping, and wait one timeout
    indirect   ask k others to ping it for us; once more before the end, since losing packets is no crime
    failed     after the whole interval: the detector accuses it

A probe we do for somebody else is a relay: it is answered with an ack, or after one timeout with a nack,
which tells the asker that its own ears are not at fault.

What the paper has and we do not: a probe of a member that answered us anyway within the interval (a lease
grant, an ad hoc probe) is skipped. Detection loses nothing, a small cluster's idle load halves.

Source: SWIM (Das, Gupta, Motivala 2002), sections 3.1 and 4.3; Lifeguard (arXiv 1707.00788) for nacks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from gossip.awareness import Awareness
from gossip.config import GossipConfig
from gossip.members import PRESENT, Member, Members, Status
from gossip.messages import Ack, Address, Message, Nack, Ping, ProbeFor

RELAYS_MAX: Final = 1_024
"""Probes for others at a time, each for one probe timeout; beyond that the asker has to do without us."""

Say: TypeAlias = Callable[[Address, Message, str | None], None]
"""Sends a message to an address, of the member with that id if we know it."""


@dataclass(slots=True)
class _Probe:
    """One probe of ours on its way."""

    target: str
    indirect_due_ms: int
    again_due_ms: int
    due_ms: int
    asked: int = 0
    nacks: int = 0
    indirect: bool = False
    again: bool = False

    def next_due_ms(self) -> int:
        if not self.indirect:
            return self.indirect_due_ms
        return self.due_ms if self.again or self.due_ms < self.again_due_ms else self.again_due_ms


@dataclass(slots=True)
class _Relay:
    """A probe we do for somebody else."""

    origin: Address
    sequence: int
    due_ms: int


class Probes:
    """Those of one member, its own and those it does for others. A core within the detector's.

    Args:
        members: who there is. awareness: our own health, which stretches our patience and is judged by what
            becomes of probes.
        say: called to send; it may add news.
    """

    def __init__(
        self, members: Members, awareness: Awareness, config: GossipConfig, rng: Random, say: Say
    ) -> None:
        self._members, self._awareness, self._config, self._rng = members, awareness, config, rng
        self._say = say
        self._sequence = rng.getrandbits(32)
        self._probes: dict[int, _Probe] = {}
        self._relays: dict[int, _Relay] = {}
        self._ring: list[str] = []
        self._ring_at = 0

    # -- time -------------------------------------------------------------------------------------------

    def next_due_ms(self, due_ms: int) -> int:
        """When `tick` is next needed, but at most `due_ms`."""
        if self._probes:
            due_ms = min(due_ms, *[probe.next_due_ms() for probe in self._probes.values()])
        if self._relays:
            due_ms = min(due_ms, *[relay.due_ms for relay in self._relays.values()])
        return due_ms

    def tick(self, now_ms: int) -> list[Member]:
        """Does what is due; returns those that are present to us and answered nobody."""
        failed: list[Member] = []
        for sequence, probe in list(self._probes.items()):
            if not probe.indirect and probe.indirect_due_ms <= now_ms:
                self._go_indirect(sequence, probe, now_ms)
            elif probe.indirect and probe.due_ms <= now_ms:
                del self._probes[sequence]
                target = self._members.get(probe.target)
                if target is not None and target.status in PRESENT:
                    # Helpers that sent not even a nack: more likely our own ears than all of theirs.
                    self._awareness.worse(max(0, probe.asked - probe.nacks) if probe.asked else 1)
                    failed.append(target)
            elif probe.indirect and not probe.again and probe.again_due_ms <= now_ms:
                probe.again = True
                self._ask_around(sequence, probe)
        for sequence, relay in list(self._relays.items()):
            if relay.due_ms <= now_ms:
                del self._relays[sequence]
                self._say(relay.origin, Nack(relay.sequence), None)
        return failed

    def stand_still(self, late_ms: int) -> None:
        """We were not there for so long: what we did not hear then proves nothing."""
        for probe in self._probes.values():
            probe.indirect_due_ms += late_ms
            probe.again_due_ms += late_ms
            probe.due_ms += late_ms

    # -- our own ----------------------------------------------------------------------------------------

    def arrived(self, member: str) -> None:
        """Somebody is present who was not: its turn comes some time in this round."""
        self._ring.insert(self._rng.randint(self._ring_at, len(self._ring)), member)

    def next_in_turn(self, now_ms: int) -> None:
        """The next member in turn. One that answered us within the interval counts as probed."""
        for _ in range(len(self._ring) + 1):
            if self._ring_at >= len(self._ring):
                self._ring = [member.id for member in self._members.all_present()]
                self._rng.shuffle(self._ring)
                self._ring_at = 0
                if not self._ring:
                    return
            member = self._members.get(self._ring[self._ring_at])
            self._ring_at += 1
            if member is None or member.status not in PRESENT:
                continue
            silent = now_ms - member.answered_ms >= self._config.probe_interval_ms
            if silent or member.status is Status.SUSPECT:
                self.start(member, now_ms)
            return

    def start(self, member: Member, now_ms: int, *, urgent: bool = False) -> None:
        """Ping it. Urgent: there is a reason to doubt, so ask the helpers without waiting and decide
        sooner.
        """
        timeout_ms = self._awareness.stretch_ms(self._config.probe_timeout_ms)
        patience_ms = self._awareness.stretch_ms(self._config.probe_patience_ms)
        due_ms = now_ms + (timeout_ms * 3 // 2 if urgent else patience_ms)
        for sequence, running in self._probes.items():
            if running.target == member.id:
                running.due_ms = min(running.due_ms, due_ms)
                if urgent and not running.indirect:
                    self._go_indirect(sequence, running, now_ms)
                return
        sequence = self._next_sequence()
        again_due_ms = now_ms + (timeout_ms * 3 // 4 if urgent else (timeout_ms + patience_ms) // 2)
        probe = _Probe(member.id, now_ms + timeout_ms, again_due_ms, due_ms)
        self._probes[sequence] = probe
        self._say(member.meta.bus_address, Ping(sequence, member.id), member.id)
        if urgent:
            self._go_indirect(sequence, probe, now_ms)

    def _go_indirect(self, sequence: int, probe: _Probe, now_ms: int) -> None:
        probe.indirect = True
        # Those of the second round have no time for a nack, so only these count.
        probe.asked += self._ask_around(sequence, probe, direct=now_ms >= probe.indirect_due_ms)

    def _ask_around(self, sequence: int, probe: _Probe, *, direct: bool = True) -> int:
        """Ask some others to probe it, and (`direct`) ping it once more ourselves; how many were asked.

        Done twice before anybody is accused. With a tenth of the packets lost, one round accuses 12 times an
        hour, which everybody has to be told, and that load grows with the cluster; two rounds hardly ever.
        """
        target = self._members.get(probe.target)
        if target is None or target.status not in PRESENT:
            return 0
        helpers = [member for member in self._members.all_present() if member.id != probe.target]
        chosen = self._rng.sample(helpers, min(self._config.indirect_probes, len(helpers)))
        for helper in chosen:
            asked = ProbeFor(sequence, target.id, target.meta.host, target.meta.bus_port)
            self._say(helper.meta.bus_address, asked, helper.id)
        if direct:
            self._say(target.meta.bus_address, Ping(sequence, target.id), target.id)
        return len(chosen)

    # -- answers, and probes for others -----------------------------------------------------------------

    def acknowledged(self, sequence: int) -> str | None:
        """The member that answered a probe of ours, if that was one; whoever asked us for one is told."""
        probe = self._probes.pop(sequence, None)
        if probe is not None:
            self._awareness.better()
        relay = self._relays.pop(sequence, None)
        if relay is not None:
            self._say(relay.origin, Ack(relay.sequence), None)
        return None if probe is None else probe.target

    def nacked(self, sequence: int) -> None:
        """A helper had no answer either, and says so: our ears are good."""
        probe = self._probes.get(sequence)
        if probe is not None:
            probe.nacks += 1

    def relay(self, asked: ProbeFor, source: Address, now_ms: int) -> None:
        """Probe that member for whoever asks."""
        if len(self._relays) >= RELAYS_MAX:
            return
        sequence = self._next_sequence()
        self._relays[sequence] = _Relay(source, asked.sequence, now_ms + self._config.probe_timeout_ms)
        self._say((asked.host, asked.bus_port), Ping(sequence, asked.target), asked.target)

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence
