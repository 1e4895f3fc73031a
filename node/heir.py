"""A planned failover, on the side of the primary that gives its office to its heir.

    clients wait -> the heir has everything -> our lease is back -> votes -> the heir serves -> clients go on

Clients go on when the heir serves, so that nobody is sent to one who does not know of its office yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from gossip.register import NoMajority, Refused
from gossip.topology import ShardView, shard_register
from node.election import cession
from node.replication.link import command_bytes
from node.slot_changes import nomination

if TYPE_CHECKING:
    from node.errands import Errands
    from node.office import Office

log = logging.getLogger("grapevine.cluster")

HANDOVER_MS: Final = 1000  # clients are held back at most this long
HEIR_SERVES_MS: Final = 250  # beyond this MOVED is sent to an heir that may not know yet
ASK_AGAIN_MS: Final = 2
QUESTION: Final = command_bytes(b"ROLE") + command_bytes(b"CLUSTER", b"INFO") + command_bytes(b"PING")


async def hand_over(node: Office, shard: ShardView) -> None:
    """Gives the office of `shard` to its heir, or withdraws the nomination when that does not catch up."""
    service = node.service
    began_ms = service.now_ms()
    node.handing_over = True
    try:
        node.hold_clients(began_ms + HANDOVER_MS)
        drained = node.replication.drain(shard.heir, pause=node.errands.pause)
        caught_up = await node.errands.within(HANDOVER_MS // 2, drained)
        if not caught_up or shard.heir not in shard.in_sync or not node.election.leads:
            why = "it did not catch up in time" if shard.heir in shard.in_sync else "it is not in sync"
            log.warning("shard %s stays with this primary: %s", shard.id, why)
            node.handing_over = False
            node.release_clients()
            await service.propose(shard_register(shard.id), nomination("", shard))
            return
        drained_ms = service.now_ms()
        service.release_lease()
        change = cession(node.id, shard.heir, shard, floor=node.topology.epoch, with_data=True)
        decided = await service.propose(shard_register(shard.id), change, timeout_ms=HANDOVER_MS)
        decided_ms = service.now_ms()
        heir = node.topology.members.get(shard.heir)
        if heir is not None:
            await node.errands.within(HEIR_SERVES_MS, until_serving(node.errands, heir.host, heir.port))
        node.handed_over(ShardView.from_data(shard.id, decided))
        now_ms = service.now_ms()
        log.info(
            "shard %s: handed over to %s; clients waited %d ms (drain %d, votes %d, the heir %d)",
            shard.id,
            shard.heir,
            now_ms - began_ms,
            drained_ms - began_ms,
            decided_ms - drained_ms,
            now_ms - decided_ms,
        )
    except (Refused, NoMajority) as error:
        log.warning("shard %s: handing over failed: %s", shard.id, error)
    finally:
        node.stop_handing_over()


async def until_serving(errands: Errands, host: str, port: int) -> None:
    """Returns when `host:port` is a primary with a lease, or cannot be asked. Give it a deadline.

    Ordinary commands on an ordinary connection: what clients will be told there is what counts.
    """
    try:
        line = await errands.dial(host, port)
        try:
            while not _serves(await line.ask(QUESTION, b"+PONG\r\n")):
                await errands.pause(ASK_AGAIN_MS)
        finally:
            await line.close()
    except OSError:
        return  # it will be found dead by those whose business that is


def _serves(answer: bytes) -> bool:
    return b"\r\nmaster\r\n" in answer and b"cluster_state:ok" in answer
