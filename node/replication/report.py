"""What INFO and ROLE say about replication, in Redis's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from node.engine.reply import Reply
from node.replication.history import NO_ID
from node.replication.link import State
from node.replication.source import Stage

if TYPE_CHECKING:
    from node.replication.manager import ReplicationManager


def info_fields(manager: ReplicationManager, now_ms: int) -> Iterator[tuple[str, object]]:
    """The section `replication` of INFO."""
    yield "role", "slave" if manager.is_replica else "master"
    if manager.target is not None:
        yield from _replica_fields(manager)
    replicas = [r for r in manager.feeder.source.attached() if r.stage is not Stage.GREETING]
    yield "connected_slaves", len(replicas)
    for number, replica in enumerate(replicas):
        yield (
            f"slave{number}",
            f"ip={replica.address},port={replica.port},state={replica.stage.label},"
            f"offset={replica.ack_offset},lag={replica.lag_s(now_ms)}",
        )
    ring = manager.feeder.ring()
    history = manager.history
    yield "master_failover_state", manager.handover.phase.value
    yield "master_replid", history.id
    yield "master_replid2", history.second_id or NO_ID
    yield "master_repl_offset", manager.offset
    yield "second_repl_offset", history.second_end + 1 if history.second_id else -1
    yield "repl_backlog_active", int(ring is not None)
    yield "repl_backlog_size", manager.settings.backlog_bytes
    yield "repl_backlog_first_byte_offset", 0 if ring is None else ring.start + 1
    yield "repl_backlog_histlen", 0 if ring is None else ring.end - ring.start


def sync_fields(manager: ReplicationManager) -> Iterator[tuple[str, object]]:
    """How this node's replicas got their data, for the section `stats` of INFO."""
    feeder = manager.feeder
    yield "sync_full", feeder.full_sync_count
    yield "sync_partial_ok", feeder.partial_sync_count
    yield "sync_partial_err", feeder.refused_partial_count


def _replica_fields(manager: ReplicationManager) -> Iterator[tuple[str, object]]:
    target = manager.target
    assert target is not None
    syncing = manager.link_state in (State.PREPARING, State.LOADING)
    yield "master_host", target.host
    yield "master_port", target.port
    yield "master_link_status", "up" if manager.link_up else "down"
    yield "master_last_io_seconds_ago", manager.last_io_ms() // 1000 if manager.link_up else -1
    yield "master_sync_in_progress", int(syncing)
    yield "slave_read_repl_offset", manager.offset
    yield "slave_repl_offset", manager.offset
    if syncing:
        yield "master_sync_read_bytes", manager.follower.loaded_bytes
        yield "grapevine_old_data_kept", int(manager.complete)
        yield "master_sync_last_io_seconds_ago", manager.last_io_ms() // 1000
    if not manager.link_up:
        yield "master_link_down_since_seconds", manager.link_down_ms() // 1000
        trouble = manager.link_trouble
        if trouble is not None:
            yield "grapevine_link_trouble", f"{trouble.cause.value}: {trouble.text}"
    yield "grapevine_data_complete", int(manager.complete)
    yield "slave_priority", 100
    yield "slave_read_only", 1
    yield "replica_announced", 1


def role(manager: ReplicationManager) -> Reply:
    """The reply to ROLE."""
    target = manager.target
    if target is not None:
        state = manager.link_state.label.encode()
        return [b"slave", target.host.encode(), target.port, state, manager.offset]
    online = [r for r in manager.feeder.source.attached() if r.stage is Stage.ONLINE]
    replicas: list[Reply] = [
        [replica.address.encode(), b"%d" % replica.port, b"%d" % replica.ack_offset] for replica in online
    ]
    return [b"master", manager.offset, replicas]
