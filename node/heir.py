"""A planned failover, on the side of the primary that gives its office to its heir.

    clients served | the heir is reached and has nearly everything; a majority of the voters promises
    clients held   | the last bytes reach the heir; our lease is back; the voters accept; the heir leads
    clients go on  | and are sent to the heir, which lets them wait for its first lease

What can be done before does not count for clients: the first round of votes with its disk writes, the
connection, whatever the heir lags behind. They go on when the heir leads, so that nobody is sent to one who
does not know of its office yet; the round trip for its lease and theirs for MOVED take place at once.

Rejected: sending clients to the heir as soon as it has everything, and letting them wait there. They would
save one connection's time; but a vote that fails would send all of them back and forth, and the heir would
have to hold clients on the word of a predecessor instead of the register's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from gossip.register import NoMajority, Refused
from gossip.topology import ShardView, shard_register
from node.replication.link import command_bytes
from node.slot_changes import nomination
from node.succession import cession

if TYPE_CHECKING:
    from node.errands import Line
    from node.office import Office

log = logging.getLogger("grapevine.cluster")

CATCH_UP_MS: Final = 500  # the heir may take so long, before clients are held and again after
# From asking for promises to the decision, with what comes between; as long as a failover by hand may take in
# Redis. A voter's disk may stall for a second, and who waits is better off than who is refused.
VOTES_MS: Final = 5000
HEIR_LEADS_MS: Final = 250  # beyond this MOVED is sent to an heir that may not know yet
HELD_MS: Final = VOTES_MS + HEIR_LEADS_MS  # clients wait at most so long, and 20 - 30 ms as a rule
LOOK_MS: Final = 1
QUESTION: Final = command_bytes(b"ROLE")  # answered though clients are held; the first word of it counts


class NotReady(Exception):
    """The heir cannot take over now, or we are not the ones to give; the text says why. Nothing happened."""


class HandOver:
    """One attempt to give the office of `shard` to its heir.

    A nomination that leads to nothing is withdrawn. Times in ms on the clock of the service; 0: not reached.
    """

    def __init__(self, node: Office, shard: ShardView) -> None:
        self._node = node
        self._shard = shard
        self._heir = shard.heir
        self._line: Line | None = None  # to the heir
        self._began_ms = node.service.now_ms()
        self._held_ms = 0
        self._drained_ms = 0

    async def run(self) -> None:
        """To its end, whatever that is."""
        try:
            await self._approach()
            decided = await self._decide()
            decided_ms = self._node.service.now_ms()
            await self._node.errands.within(HEIR_LEADS_MS, self._until_it_leads())
            self._tell_replicas()
            self._node.handed_over(decided)
            self._log(decided_ms)
        except NotReady as error:
            await self._withdraw(str(error))
        except (Refused, NoMajority) as error:
            log.warning("shard %s: handing over failed: %s", self._shard.id, error)
        finally:
            self._node.stop_handing_over()
            if self._line is not None:
                await self._line.close()

    # -- while clients are served

    async def _approach(self) -> None:
        """Everything that need not keep clients waiting."""
        node = self._node
        if self._heir not in self._shard.in_sync:
            raise NotReady("it is not in sync")
        await node.errands.within(CATCH_UP_MS, self._dial())
        if self._line is None:
            raise NotReady("it cannot be reached")
        await self._catch_up()

    async def _dial(self) -> None:
        heir = self._node.topology.members.get(self._heir)
        if heir is None:
            return
        try:
            self._line = await self._node.errands.dial(heir.host, heir.port)
        except OSError as error:
            log.info("%s:%d: %s", heir.host, heir.port, error)

    async def _catch_up(self) -> None:
        drained = self._node.replication.drain(self._heir, pause=self._node.errands.pause)
        if not await self._node.errands.within(CATCH_UP_MS, drained):
            raise NotReady("it did not catch up in time")

    # -- while they are held

    async def _decide(self) -> ShardView:
        """The votes: promises first, and clients held only when we have those."""
        shard = self._shard
        change = cession(self._node.id, self._heir, shard, floor=self._node.topology.epoch, with_data=True)
        decided = await self._node.service.propose(
            shard_register(shard.id), change, timeout_ms=VOTES_MS, half_way=self._let_go
        )
        return ShardView.from_data(shard.id, decided)

    async def _let_go(self) -> None:
        """From here on nobody writes here; the heir gets the rest, and the voters get our lease back."""
        node, ours = self._node, self._node.election
        if not ours.leads or ours.shard.epoch != self._shard.epoch:
            raise NotReady("this node does not lead it any more")
        node.handing_over = True
        self._held_ms = node.service.now_ms()
        node.hold_clients(self._held_ms + HELD_MS)
        await self._catch_up()
        await node.errands.within(CATCH_UP_MS, self._until_confirmed())
        self._drained_ms = node.service.now_ms()
        node.service.release_lease()

    async def _until_confirmed(self) -> None:
        """With `quorum`: what was executed before is acknowledged. Else it would end as unknown."""
        gate = self._node.engine.gate
        while gate.closed and not gate.settled:
            await self._node.errands.pause(LOOK_MS)

    async def _until_it_leads(self) -> None:
        """Returns when the heir knows of its office, or cannot be asked. Give it a deadline.

        Ordinary commands on an ordinary connection: what clients will be told there is what counts.
        """
        assert self._line is not None
        try:
            while b"\r\nmaster\r\n" not in await self._line.ask(QUESTION, b"\r\n"):
                await self._node.errands.pause(LOOK_MS)
        except OSError:
            return  # it will be found dead by those whose business that is

    # -- afterwards

    def _tell_replicas(self) -> None:
        """They follow the heir, which leads already. With `quorum` its clients wait for them, and for us."""
        node = self._node
        others = [
            member.id
            for member in node.topology.members.values()
            if member.shard_id == self._shard.id and member.id not in (node.id, self._heir)
        ]
        node.service.tell(shard_register(self._shard.id), others)

    def _log(self, decided_ms: int) -> None:
        now_ms = self._node.service.now_ms()
        log.info(
            "shard %s: handed over to %s; clients waited %d ms (drain %d, votes %d, the heir %d),"
            " after %d ms of preparations",
            self._shard.id,
            self._heir,
            now_ms - self._held_ms,
            self._drained_ms - self._held_ms,
            decided_ms - self._drained_ms,
            now_ms - decided_ms,
            self._held_ms - self._began_ms,
        )

    async def _withdraw(self, why: str) -> None:
        """Clients go on first."""
        log.warning("shard %s stays with this primary: %s", self._shard.id, why)
        self._node.handing_over = False
        self._node.release_clients()
        try:
            await self._node.service.propose(shard_register(self._shard.id), nomination("", self._shard))
        except (Refused, NoMajority) as error:
            log.warning("shard %s: the nomination could not be withdrawn: %s", self._shard.id, error)
