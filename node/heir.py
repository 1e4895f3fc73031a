"""A planned failover, on the side of the primary that gives its office to its heir.

    clients wait -> the heir has everything -> our lease is back -> votes -> the heir serves -> clients go on

Clients go on when the heir serves, so that nobody is sent to one who does not know of its office yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from gossip.register import NoMajority, Refused
from gossip.topology import ShardView, shard_register
from node.election import cession
from node.replication.link import command_bytes
from node.slot_changes import nomination

if TYPE_CHECKING:
    from node.cluster import ClusterNode

log = logging.getLogger("grapevine.cluster")

HANDOVER_MS: Final = 1000  # clients are held back at most this long
HEIR_SERVES_S: Final = 0.25  # beyond this MOVED is sent to an heir that may not know yet
ASK_AGAIN_S: Final = 0.002
ANSWER_BYTES_MAX: Final = 64 << 10


async def hand_over(node: ClusterNode, shard: ShardView) -> None:
    """Gives the office of `shard` to its heir, or withdraws the nomination when that does not catch up."""
    service = node.service
    began_ms = service.now_ms()
    node.handing_over = True
    try:
        node.hold_clients(began_ms + HANDOVER_MS)
        caught_up = False
        with trio.move_on_after(HANDOVER_MS / 2000):
            await node.replication.drain(shard.heir)
            caught_up = True
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
            with trio.move_on_after(HEIR_SERVES_S):
                await until_serving(heir.host, heir.port)
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


async def until_serving(host: str, port: int) -> None:
    """Returns when `host:port` is a primary with a lease, or cannot be asked. Give it a deadline.

    An ordinary command on an ordinary connection: what clients will be told there is what counts.
    """
    try:
        async with await trio.open_tcp_stream(host, port) as stream:
            while not _serves(await _ask(stream)):  # noqa: ASYNC110 (it is another process)
                await trio.sleep(ASK_AGAIN_S)
    except (OSError, trio.BrokenResourceError):
        return  # it will be found dead by those whose business that is


async def _ask(stream: trio.SocketStream) -> bytes:
    """The answers to ROLE and CLUSTER INFO, or as much as came."""
    commands = (command_bytes(b"ROLE"), command_bytes(b"CLUSTER", b"INFO"), command_bytes(b"PING"))
    await stream.send_all(b"".join(commands))
    answer = b""
    while not answer.endswith(b"+PONG\r\n"):
        data = await stream.receive_some(ANSWER_BYTES_MAX)
        if not data or len(answer) > ANSWER_BYTES_MAX:
            raise OSError("it answers something else")
        answer += data
    return answer


def _serves(answer: bytes) -> bool:
    return b"\r\nmaster\r\n" in answer and b"cluster_state:ok" in answer
