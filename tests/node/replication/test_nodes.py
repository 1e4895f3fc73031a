"""Nodes that follow each other over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio

from node.commands.table import command
from node.engine.audit import audit
from node.engine.reply import Reply, Status
from node.engine.session import Session
from node.replication.actions import Cause, Report, Target
from node.replication.link import State
from node.replication.report import sync_fields
from node.replication.source import Stage
from tests.node.replication.parts import Client, PartsNode, caught_up, clients, running
from tests.waiting import until


async def fill(client: Client, count: int, value: bytes = b"v" * 100, prefix: bytes = b"key") -> None:
    for number in range(count):
        assert await client(b"SET", b"%s:%d" % (prefix, number), value) == b"OK"


async def test_a_replica_copies_and_then_follows() -> None:
    async with running(2) as (primary, replica), clients(primary, replica) as (to_primary, to_replica):
        await fill(to_primary, 300)
        await to_primary(b"SET", b"mortal", b"1", b"PX", b"1000000")
        await to_primary(b"SELECT", b"3")
        await to_primary(b"SET", b"elsewhere", b"2")
        assert await to_replica(b"REPLICAOF", b"127.0.0.1", b"%d" % primary.port) == b"OK"
        await until(lambda: replica.replication.link_up)
        await caught_up(primary, replica)
        await to_primary(b"DEL", b"elsewhere")
        await to_primary(b"SELECT", b"0")
        await to_primary(b"INCR", b"counter")
        await caught_up(primary, replica)
        assert await to_replica(b"GET", b"counter") == b"1"
        refused = await to_replica(b"SET", b"x", b"y")
        assert str(refused) == "READONLY You can't write against a read only replica."
        assert (await to_replica(b"ROLE"))[:4] == [b"slave", b"127.0.0.1", primary.port, b"connected"]  # type: ignore[index]
        again = await to_replica(b"REPLICAOF", b"127.0.0.1", b"%d" % primary.port)
        assert again == b"OK Already connected to specified master"


@pytest.mark.slow
async def test_two_replicas_at_once_and_writes_during_the_sync() -> None:
    async with running(3) as (primary, first, second), clients(primary) as (client,):
        await fill(client, 2000, b"x" * 1000)
        for replica in (first, second):
            replica.replication.follow("127.0.0.1", primary.port)
        number = 0
        while not (first.replication.link_up and second.replication.link_up):
            await client(b"SET", b"key:%d" % (number % 2500), b"during %d" % number)
            await client(b"DEL", b"key:%d" % ((number * 7) % 2500))
            number += 1
        await caught_up(primary, first, second)
        await until(
            lambda: all(r.stage is Stage.ONLINE for r in primary.replication.feeder.source.attached())
        )
        await until(lambda: primary.engine.effects.capacity_bytes == 1 << 20)
        assert number > 0


def feeds_reach(primary: PartsNode, count: int) -> bool:
    return len(primary.pump.feeds) == count


async def test_the_first_acknowledgement_starts_the_stream() -> None:
    async with running(6) as (primary, *replicas):
        for number, replica in enumerate(replicas, start=1):
            settings = replace(replica.replication.settings, ack_period_ms=3_600_000)
            replica.replication.follower.link.settings = settings
            await replica.follow(primary)
            await until(partial(feeds_reach, primary, number))


async def test_a_short_break_costs_only_what_was_missed() -> None:
    async with running(2) as (primary, replica), clients(primary) as (client,):
        await fill(client, 50)
        await replica.follow(primary)
        await client(b"SELECT", b"5")
        await client(b"SET", b"in", b"five")
        await caught_up(primary, replica)
        for round_number in range(3):
            replica.cut_link()
            await client(b"SET", b"missed", b"%d" % round_number)
            await until(lambda: replica.replication.link_up)
            await caught_up(primary, replica)
        feeder = primary.replication.feeder
        assert (feeder.full_sync_count, feeder.partial_sync_count) == (1, 3)
        assert replica.engine.keyspace.get(5, b"missed") == b"2"


@pytest.mark.slow
async def test_a_break_longer_than_the_backlog_costs_a_full_sync() -> None:
    async with running(2, "repl-backlog-size=16kb") as (primary, replica), clients(primary) as (client,):
        await replica.follow(primary)
        await until(lambda: len(primary.pump.feeds) == 1)
        replica.replication.stop_following()
        await fill(client, 40, bytes(1000))
        assert replica.engine.keyspace.size(0) == 0
        await replica.follow(primary)
        await caught_up(primary, replica)
        feeder = primary.replication.feeder
        assert (feeder.full_sync_count, feeder.partial_sync_count) == (2, 0)
        assert feeder.refused_partial_count == 1
        assert list(sync_fields(primary.replication)) == [
            ("sync_full", 2), ("sync_partial_ok", 0), ("sync_partial_err", 1)
        ]  # fmt: skip


async def test_a_command_that_fails_after_a_change_costs_a_full_sync() -> None:
    def breaks(session: Session, args: list[bytes]) -> Reply:
        session.engine.keyspace.set(0, args[1], b"half")
        raise MemoryError("not enough")

    async with running(2) as (primary, replica), clients(primary) as (client,):
        primary.engine.add_command(
            command("breaks", 2, "write", group="test", summary="-", since="1.0.0", handler=breaks)
        )
        await replica.follow(primary)
        assert "OOM" in str(await client(b"BREAKS", b"k"))
        primary.broken.clear()
        await until(lambda: primary.replication.feeder.full_sync_count == 2 and replica.replication.link_up)
        await client(b"SET", b"after", b"1")
        await caught_up(primary, replica)
        assert replica.engine.keyspace.get(0, b"k") == b"half"


async def test_a_command_that_fails_on_a_replica_costs_it_a_full_sync() -> None:
    def breaks(session: Session, args: list[bytes]) -> Reply:
        session.engine.keyspace.set(0, args[1], b"half")
        if session.engine is replica.engine:
            raise MemoryError("not enough")
        session.mark_changed()
        return Status(b"OK")

    async with running(2) as (primary, replica), clients(primary) as (client,):
        reports: list[Report] = []
        started: list[bool] = []
        replica.replication.on_link_broken = lambda _target, report: reports.append(report)
        for node in (primary, replica):
            node.engine.add_command(
                command("breaks", 2, "write", group="test", summary="-", since="1.0.0", handler=breaks)
            )
        await replica.follow(primary)
        replica.replication.on_sync_started = lambda: started.append(replica.replication.complete)
        assert await client(b"BREAKS", b"k") == b"OK"
        await until(lambda: primary.replication.feeder.full_sync_count == 2 and replica.replication.link_up)
        await client(b"SET", b"after", b"1")
        await caught_up(primary, replica)
        assert [str(error) for error in replica.broken] == ["not enough"]
        replica.broken.clear()
        assert started[0] is False
        (report,) = reports
        assert report.cause is Cause.DAMAGED
        assert "broke 'breaks', so this replica needs a new full copy: not enough" in report.text


async def test_a_promoted_replica_continues_the_history() -> None:
    async with running(3) as (primary, heir, other), clients(primary, heir) as (to_primary, to_heir):
        await fill(to_primary, 100)
        await heir.follow(primary)
        await other.follow(primary)
        await caught_up(primary, heir, other)
        broken: list[Report] = []
        other.replication.on_link_broken = lambda _target, report: broken.append(report)
        primary.kill()
        await until(lambda: Cause.REFUSED in [report.cause for report in broken])
        assert broken[0].cause is Cause.RESET
        heir.replication.become_primary()
        await other.follow(heir)
        assert await to_heir(b"SET", b"new", b"reign") == b"OK"
        await caught_up(heir, other)
        feeder = heir.replication.feeder
        assert (feeder.full_sync_count, feeder.partial_sync_count) == (0, 1)
        assert other.replication.history.id == heir.replication.history.id
        assert other.replication.history.second_id == heir.replication.history.second_id != ""


async def test_the_tail_of_an_old_primary_is_discarded() -> None:
    async with running(2) as (old, new), clients(old, new) as (to_old, to_new):
        await fill(to_old, 20)
        await new.follow(old)
        await caught_up(old, new)
        new.replication.become_primary()
        await to_old(b"SET", b"tail", b"never acknowledged elsewhere")
        await to_new(b"SET", b"truth", b"1")
        await old.follow(new)
        await caught_up(new, old)
        assert await to_old(b"GET", b"tail") is None
        assert new.replication.feeder.full_sync_count == 1


async def test_an_old_primary_without_a_tail_goes_on_without_a_full_sync() -> None:
    async with running(2) as (old, new), clients(old, new) as (to_old, to_new):
        await fill(to_old, 20)
        await new.follow(old)
        await caught_up(old, new)
        new.replication.become_primary()
        await until(lambda: not list(old.replication.feeder.source.attached()))
        await to_new(b"SET", b"truth", b"1")
        await old.follow(new)
        await caught_up(new, old)
        assert new.replication.feeder.full_sync_count == 0


async def test_a_transaction_that_makes_a_replica_leaves_no_half_of_it_behind() -> None:
    async with running(2) as (old, new), clients(old, new) as (client, other):
        await new.follow(old)
        for words in ((b"MULTI",), (b"SET", b"a", b"1"), (b"REPLICAOF", b"127.0.0.1", b"%d" % new.port)):
            await client(*words)
        assert await client(b"EXEC") == [b"OK", b"OK"]
        await until(lambda: new.replication.offset == old.replication.offset)
        assert await other(b"REPLICAOF", b"NO", b"ONE") == b"OK"
        assert await other(b"SET", b"b", b"2") == b"OK"
        await until(lambda: old.replication.link_up)
        await caught_up(new, old)
        assert new.replication.feeder.full_sync_count == 0, "they share all that was written"
        assert await client(b"MGET", b"a", b"b") == [b"1", b"2"]


async def test_limits_for_clients_are_not_for_the_stream() -> None:
    """A command that is too long for a client here would come again after each break of the link."""
    async with running(2) as (primary, replica), clients(primary) as (client,):
        replica.pump.query_buffer_limit_bytes = 1 << 20
        await replica.follow(primary)
        assert await client(b"SET", b"a", b"v" * (4 << 20)) == b"OK"
        await caught_up(primary, replica)
        assert primary.replication.feeder.full_sync_count == 1


async def test_replicas_of_replicas() -> None:
    async with running(3) as (top, middle, leaf), clients(top) as (client,):
        await fill(client, 50)
        await middle.follow(top)
        await leaf.follow(middle)
        await client(b"SET", b"a", b"1")
        await caught_up(top, middle, leaf)
        middle.cut_link()
        await client(b"SET", b"a", b"2")
        await until(lambda: middle.replication.link_up)
        await caught_up(top, middle, leaf)
        assert leaf.replication.history == top.replication.history
        assert middle.replication.feeder.full_sync_count == 1


async def test_a_replica_of_a_replica_knows_the_database_that_the_stream_is_in() -> None:
    async with running(3) as (top, middle, leaf), clients(top) as (client,):
        await middle.follow(top)
        assert await client(b"SELECT", b"3") == b"OK"
        assert await client(b"SET", b"a", b"1") == b"OK"
        await caught_up(top, middle)
        await leaf.follow(middle)
        assert await client(b"SET", b"a", b"2") == b"OK", "with no SELECT before it in the stream"
        await caught_up(top, middle, leaf)
        assert leaf.engine.keyspace.get(3, b"a") == b"2"
        assert not leaf.engine.keyspace.exists(0, b"a")


async def test_a_replica_without_a_link_gives_no_data_away() -> None:
    async with running(2) as (node, asker), clients(node) as (client,):
        node.replication.follow("127.0.0.1", 1)  # nobody listens there
        await client(b"REPLCONF", b"capa", b"eof")
        refused = await client(b"PSYNC", b"?", b"-1")
        assert str(refused).startswith("NOMASTERLINK")
        reports: list[Report] = []
        asker.replication.on_link_broken = lambda _target, report: reports.append(report)
        asker.replication.follow("127.0.0.1", node.port)
        await until(lambda: bool(reports))
        assert reports[0].cause is Cause.NOT_READY


async def test_wait_counts_replicas_that_have_it() -> None:
    async with running(3) as (primary, first, second), clients(primary) as (client,):
        assert await client(b"WAIT", b"0", b"0") == 0
        await first.follow(primary)
        await second.follow(primary)
        await until(lambda: len(primary.pump.feeds) == 2)
        await client(b"SET", b"a", b"1")
        with trio.fail_after(5):  # asked at once, not at the next second
            assert await client(b"WAIT", b"2", b"0") == 2
        await client(b"SET", b"a", b"2")
        assert await client(b"WAIT", b"3", b"50") == 2
        assert await client(b"WAITAOF", b"0", b"1", b"20") == [0, 0]
        assert "appendonly is disabled" in str(await client(b"WAITAOF", b"1", b"0", b"0"))
        async with clients(first) as (to_replica,):
            assert "WAIT cannot be used with replica" in str(await to_replica(b"WAIT", b"1", b"1"))


async def test_a_client_that_leaves_while_it_waits_is_forgotten() -> None:
    async with running(1) as (primary,):
        async with clients(primary) as (client,):
            await client.send(b"WAIT", b"1", b"0")
            await until(lambda: any(session.blocked for session in primary.pump.sessions.values()))
        await until(lambda: not primary.pump.sessions)
        assert primary.replication.feeder._waiters == []


@pytest.mark.slow
async def test_a_burst_larger_than_the_backlog_is_kept_for_a_slow_replica() -> None:
    async with running(2, "repl-backlog-size=16kb") as (primary, replica), clients(primary) as (client,):
        await replica.follow(primary)
        await until(lambda: len(primary.pump.feeds) == 1)
        pipeline = b"".join(
            b"*3\r\n$3\r\nSET\r\n$8\r\nkey:%04d\r\n$5000\r\n%s\r\n" % (number, bytes(5000))
            for number in range(3000)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.stream.send_all, pipeline)
            for _ in range(3000):
                assert await client.reply() == b"OK"
        await caught_up(primary, replica)
        feeder = primary.replication.feeder
        assert (feeder.full_sync_count, feeder.partial_sync_count) == (1, 0)
        await until(lambda: primary.engine.effects.capacity_bytes == 16 << 10)


@pytest.mark.slow
async def test_a_stalled_replica_is_dropped_and_costs_the_window_at_most() -> None:
    settings = ("repl-backlog-size=16kb", "client-output-buffer-limit=replica 200kb 0 0")
    async with running(1, *settings) as (primary,), clients(primary, primary) as (client, stalled):
        await fill(client, 300, bytes(10_000))
        await stalled(b"REPLCONF", b"capa", b"eof")
        await stalled.send(b"PSYNC", b"?", b"-1")
        assert (await stalled.line()).startswith(b"+FULLRESYNC")
        source = primary.replication.feeder.source
        assert [replica.stage for replica in source.attached()] == [Stage.SENDING]
        await fill(client, 300, bytes(10_000), b"more")  # nobody reads: the ring moves on
        await until(lambda: not list(source.attached()))
        assert primary.engine.effects.capacity_bytes <= 200 << 10
        await until(lambda: primary.engine.effects.capacity_bytes == 16 << 10)


@asynccontextmanager
async def half_a_sync(replica: PartsNode) -> AsyncIterator[None]:
    """A primary that sends the beginning of a snapshot, and is gone at the end of the block."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        replica.replication.follow("127.0.0.1", listener.socket.getsockname()[1])
        stream = await listener.accept()
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"+PONG\r\n+OK\r\n+OK\r\n-ERR what\r\n")
            await stream.receive_some()
            await stream.send_all(b"+FULLRESYNC " + b"a" * 40 + b" 100\r\n$EOF:" + b"m" * 40 + b"\r\n")
            await stream.send_all(b"REDIS0009\xfe\x00\x00\x01k\x01v\x00\x05half")
            await until(lambda: replica.engine.keyspace.exists(0, b"k"))
            yield
        await until(lambda: replica.replication.link_state is not State.LOADING)


async def test_a_full_sync_that_is_cut_off_leaves_nothing_electable() -> None:
    async with running(1) as (replica,), clients(replica) as (client,):
        await client(b"SET", b"old", b"data")
        started: list[bool] = []
        replica.replication.on_sync_started = lambda: started.append(True)
        async with half_a_sync(replica):
            assert str(await client(b"GET", b"k")).startswith("LOADING")
        assert started == [True]
        assert not replica.replication.complete
        assert not replica.replication.in_sync
        assert str(await client(b"GET", b"k")).startswith("MASTERDOWN")
        assert replica.engine.keyspace.size(0) == 0
        replica.replication.become_primary()
        assert await client(b"GET", b"k") is None


async def test_a_full_sync_that_is_cut_off_leaves_the_old_data_where_that_was_kept() -> None:
    async with (
        running(3) as (primary, replica, sibling),
        clients(primary, replica) as (to_primary, to_replica),
    ):
        await to_primary(b"SET", b"old", b"data")
        await replica.follow(primary)
        await caught_up(primary, replica)
        manager = replica.replication
        before = (manager.history, manager.offset)
        started: list[bool] = []
        manager.on_sync_started = lambda: started.append(True)
        assert await to_replica(b"CONFIG", b"SET", b"repl-diskless-load", b"swapdb") == b"OK"
        async with half_a_sync(replica):
            assert str(await to_replica(b"GET", b"old")).startswith("LOADING")
            assert b"grapevine_old_data_kept:1" in bytes(await to_replica(b"INFO", b"replication"))
            assert manager.complete
            assert not manager.in_sync
        assert not started
        assert (manager.history, manager.offset) == before
        assert await to_replica(b"GET", b"old") == b"data"
        assert await to_replica(b"GET", b"k") is None
        # It goes on with its primary from where it stood, and is one itself if asked.
        await to_primary(b"SET", b"more", b"1")
        full_syncs = primary.replication.feeder.full_sync_count
        await replica.follow(primary)
        await caught_up(primary, replica)
        assert await to_replica(b"GET", b"more") == b"1"
        assert primary.replication.feeder.full_sync_count == full_syncs
        async with half_a_sync(replica):
            manager.become_primary()
        assert await to_replica(b"MGET", b"old", b"more", b"k") == [b"data", b"1", None]
        await sibling.follow(replica)
        await caught_up(replica, sibling)
        assert sibling.engine.keyspace.size(0) == 2


async def test_the_new_data_takes_the_place_of_what_was_kept() -> None:
    async with running(2) as (primary, replica), clients(primary, replica) as (to_primary, to_replica):
        await fill(to_primary, 300, bytes(1_000))
        await fill(to_replica, 200, bytes(1_000))
        await to_replica(b"SET", b"mine", b"1")
        replica.engine.effects.activate()
        assert await to_replica(b"CONFIG", b"SET", b"repl-diskless-load", b"swapdb") == b"OK"
        await replica.follow(primary)
        await caught_up(primary, replica)
        assert await to_replica(b"DBSIZE") == 300
        assert replica.replication.complete
        await until(lambda: not replica.engine.keyspace.free_some(1_000))
        assert audit(replica.engine.keyspace) == []


async def test_promotion_in_the_middle_of_a_full_sync_leaves_an_empty_primary_that_works() -> None:
    async with running(2) as (primary, replica), clients(primary, replica) as (to_primary, to_replica):
        await fill(to_primary, 500, bytes(20_000))
        replica.replication.follow("127.0.0.1", primary.port)
        await until(lambda: replica.replication.link_state is State.LOADING)
        replica.replication.become_primary()
        assert await to_replica(b"SET", b"mine", b"1") == b"OK"
        await until(lambda: not list(primary.replication.feeder.source.attached()))
        assert await to_replica(b"DBSIZE") == 1
        assert replica.replication.complete


async def test_limits_for_clients_are_not_for_a_full_sync() -> None:
    async with running(2) as (primary, replica), clients(primary) as (client,):
        primary.pump.output_hard_limit_bytes = 1024
        primary.pump.idle_timeout_s = 0.05
        await fill(client, 300, bytes(20_000))
        await replica.follow(primary)
        await trio.sleep(0.2)  # several beats, each of which would close an idle client
        await caught_up(primary, replica)
        assert primary.replication.feeder.full_sync_count == 1


def in_shard(node: PartsNode, member: str, epoch: int) -> None:
    node.replication.identify(member_id=member * 40, shard_id="5" * 40, epoch=epoch)


async def test_epochs_are_checked_by_both_sides() -> None:
    async with running(2) as (primary, replica):
        in_shard(primary, "a", 4)
        in_shard(replica, "b", 5)
        reports: list[Report] = []

        def note(_target: Target, report: Report) -> None:
            reports.append(report)

        replica.replication.on_link_broken = note
        replica.replication.follow("127.0.0.1", primary.port, epoch=5, member_id="a" * 40, shard_id="5" * 40)
        await until(lambda: bool(reports))
        assert reports[0].cause is Cause.OUTDATED
        assert "it must not take data from here" in reports[0].text
        in_shard(primary, "a", 5)
        await until(lambda: replica.replication.link_up)


async def test_a_primary_that_restarted_empty_does_not_empty_its_replica() -> None:
    async with running(3) as (primary, replica, reborn), clients(primary) as (client,):
        for node in (primary, reborn):
            in_shard(node, "a", 5)
        in_shard(replica, "b", 5)
        await fill(client, 10)
        wanted = {"epoch": 5, "member_id": "a" * 40, "shard_id": "5" * 40}
        replica.replication.follow("127.0.0.1", primary.port, **wanted)  # type: ignore[arg-type]
        await until(lambda: replica.replication.link_up)
        await caught_up(primary, replica)
        reports: list[Report] = []
        replica.replication.on_link_broken = lambda _target, report: reports.append(report)
        primary.kill()
        replica.replication.follow("127.0.0.1", reborn.port, **wanted)  # type: ignore[arg-type]
        await until(lambda: Cause.HISTORY_LOST in [report.cause for report in reports])
        assert replica.engine.keyspace.size(0) == 10
        assert replica.replication.complete


async def test_drain_waits_for_what_replicas_lack() -> None:
    async with running(2) as (primary, replica), clients(primary) as (client,):
        await replica.follow(primary)
        await until(lambda: len(primary.pump.feeds) == 1)
        await fill(client, 100)
        with trio.fail_after(5):
            await primary.replication.drain()
        assert replica.replication.offset == primary.replication.offset
