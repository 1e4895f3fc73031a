"""write-durability quorum, with whole nodes: what is acknowledged is on every copy that counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.engine.reply import NO_REPLY
from tests.node.cluster_parts import Member, fields, members
from tests.node.replication.parts import Client
from tests.waiting import until

pytestmark = pytest.mark.slow

QUORUM = ("write-durability=quorum", "write-quorum-timeout-ms=300")


def error(reply: object) -> str:
    assert isinstance(reply, RuntimeError), reply
    return str(reply)


async def accepting(primary: Member) -> None:
    """Its shard is decided to work by quorum, and enough copies are there."""
    await until(lambda: dict(primary.cluster.info_fields())["grapevine_write_durability"] == "quorum")
    await until(lambda: primary.node is not None and primary.node.engine.write_refusal is None)


def stop_applying(replica: Member) -> None:
    """The replica's process goes on and talks to everybody; only its copy stands still."""
    assert replica.node is not None
    session = replica.node.replication.follower.session
    assert session is not None
    session.block()


async def test_only_the_cluster_can_promise_it(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        node = await cluster.add()
        assert await node.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"OK"
        assert await node.call("SET", "k", "v") == b"OK"
        assert await node.call("CONFIG", "SET", "write-durability", "quorum") == b"OK"
        await until(lambda: node.cluster.election.shard.quorum)
        refused = error(await node.call("SET", "k", "w"))
        assert refused.startswith("NOREPLICAS not applied: shard ")
        assert "1 of 2 copies" in refused
        assert await node.call("GET", "k") == b"v"
        assert await node.call("CONFIG", "SET", "write-quorum", "1") == b"OK"
        assert await node.call("SET", "k", "w") == b"OK"
        assert await node.call("CONFIG", "SET", "write-durability", "async", "write-quorum", "2") == b"OK"
        await until(lambda: not node.cluster.election.shard.quorum)
        assert await node.call("SET", "k", "x") == b"OK"


async def test_an_acknowledged_write_is_on_every_member(tmp_path: Path) -> None:
    async with members(tmp_path, *QUORUM) as cluster:
        primary, first, second = await cluster.shard(2)
        await accepting(primary)
        for number in range(30):
            assert await primary.call("SET", f"k{number}", "v") == b"OK"
            for replica in (first, second):
                assert replica.node is not None
                assert replica.node.engine.keyspace.get(0, f"k{number}".encode()) == b"v"
        info = fields((await primary.call("INFO", "cluster")).partition(b"\r\n")[2])  # type: ignore[attr-defined]
        assert info["grapevine_write_durability"] == "quorum"
        assert int(info["grapevine_committed_offset"]) > 1000


async def test_a_slow_replica_is_left_out_and_its_return_is_noticed(tmp_path: Path) -> None:
    async with members(tmp_path, *QUORUM) as cluster:
        primary, slow, other = await cluster.shard(2)
        await accepting(primary)
        stop_applying(slow)
        async with await trio.open_tcp_stream("127.0.0.1", primary.port) as stream:
            client = Client(stream)
            began = trio.current_time()
            assert await client(b"SET", b"k", b"v") == b"OK"
            held_s = trio.current_time() - began
        assert 0.2 < held_s < 2
        await until(lambda: set(primary.cluster.election.shard.in_sync) == {primary.id, other.id})
        assert slow.node is not None
        slow.node.replication.follower.session.unblock(NO_REPLY)  # type: ignore[union-attr]
        await until(lambda: len(primary.cluster.election.shard.in_sync) == 3)
        assert slow.node.engine.keyspace.get(0, b"k") == b"v"


async def test_without_a_quorum_held_replies_end_and_writes_are_refused(tmp_path: Path) -> None:
    async with members(tmp_path, *QUORUM) as cluster:
        primary, replica = await cluster.add(), await cluster.add()
        await cluster.acquainted()
        assert await primary.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"OK"
        await until(lambda: replica.cluster.topology.slots_assigned() == 16384)
        assert await replica.call("CLUSTER", "REPLICATE", primary.id) == b"OK"
        await accepting(primary)
        assert await primary.call("SET", "k", "v") == b"OK"
        stop_applying(replica)
        async with await trio.open_tcp_stream("127.0.0.1", primary.port) as stream:
            client = Client(stream)
            for words in ((b"SET", b"k", b"w"), (b"PING",), (b"GET", b"k"), (b"PING",)):
                await client.send(*words)
            unknown = error(await client.reply())
            assert unknown.startswith("UNKNOWN applied here, and whether it stays is unknown: ")
            assert replica.id[:8] in unknown
            assert await client.reply() == b"PONG"
            assert error(await client.reply()).startswith(
                "TRYAGAIN not answered: what was read is not confirmed"
            )
            assert await client.reply() == b"PONG"
            assert error(await client(b"SET", b"k", b"x")).startswith("NOREPLICAS not applied: ")
            assert set(primary.cluster.election.shard.in_sync) == {primary.id, replica.id}
            assert replica.node is not None
            replica.node.replication.follower.session.unblock(NO_REPLY)  # type: ignore[union-attr]
            await until(lambda: primary.node is not None and primary.node.engine.write_refusal is None)
            assert await client(b"GET", b"k") == b"w"
            assert await client(b"SET", b"k", b"y") == b"OK"


async def test_what_was_not_acknowledged_was_never_read(tmp_path: Path) -> None:
    """A write that no replica has: nobody reads it, its client is told nothing good, and it is gone."""
    async with members(tmp_path, *QUORUM) as cluster:
        primary, first, second = await cluster.shard(2)
        await accepting(primary)
        assert await primary.call("SET", "k", "old") == b"OK"
        for replica in (first, second):
            stop_applying(replica)
        async with (
            await trio.open_tcp_stream("127.0.0.1", primary.port) as one,
            await trio.open_tcp_stream("127.0.0.1", primary.port) as two,
        ):
            writer, reader = Client(one), Client(two)
            await writer.send(b"SET", b"k", b"new")
            assert primary.node is not None
            engine = primary.node.engine
            await until(lambda: engine.keyspace.get(0, b"k") == b"new")
            await reader.send(b"GET", b"k")
            await until(lambda: engine.gate.waiting_count == 2)
            await primary.kill()
            for client in (writer, reader):
                with pytest.raises(trio.BrokenResourceError):
                    await client.reply()
        await until(lambda: cluster.leader() in (first, second))
        new = cluster.leader()
        assert new is not None
        assert await new.call("GET", "k") == b"old"
        await accepting(new)
        assert await new.call("SET", "k", "newer") == b"OK"


async def test_who_is_not_in_the_set_is_never_elected(tmp_path: Path) -> None:
    async with members(tmp_path, *QUORUM) as cluster:
        primary, slow, other = await cluster.shard(2)
        await accepting(primary)
        stop_applying(slow)
        assert await primary.call("SET", "k", "v") == b"OK"
        await until(lambda: slow.id not in slow.cluster.election.shard.in_sync)
        await other.kill()
        await until(lambda: not primary.cluster.topology.members[other.id].usable)
        refused = error(await slow.call("CLUSTER", "FAILOVER", "FORCE"))
        assert "is not in the in-sync set" in refused
        assert "TAKEOVER" in refused
        assert primary.leads
        assert await primary.call("GET", "k") == b"v"


async def test_a_planned_failover_keeps_the_whole_set(tmp_path: Path) -> None:
    async with members(tmp_path, *QUORUM) as cluster:
        old, heir, other = await cluster.shard(2)
        await accepting(old)
        assert await old.call("SET", "k", "v") == b"OK"
        assert await heir.call("CLUSTER", "FAILOVER") == b"OK"
        await until(lambda: cluster.leader() is heir)
        assert set(heir.cluster.election.shard.in_sync) == {old.id, heir.id, other.id}
        await accepting(heir)
        assert await heir.call("GET", "k") == b"v"
        assert await heir.call("SET", "k", "w") == b"OK"


async def test_a_shard_without_any_copy_serves_again_when_a_person_takes_over(tmp_path: Path) -> None:
    """Its replica is gone for good, its primary comes back empty and cannot know that nobody has anything."""
    async with members(tmp_path, *QUORUM) as cluster:
        primary, replica = await cluster.shard(1)
        new, *_ = [await cluster.add() for _ in range(3)]
        await cluster.acquainted()
        await until(lambda: len(primary.cluster.topology.voter_set.voters) == 5)
        await accepting(primary)
        assert await primary.call("SET", "k", "v") == b"OK"
        await replica.kill()
        await until(lambda: not primary.cluster.topology.members[replica.id].usable)
        await primary.kill()
        await cluster.start(primary)
        await until(lambda: primary.cluster.election.state == "returning")
        await until(lambda: "may have it" in primary.cluster.election.why_not)
        assert await new.call("CLUSTER", "REPLICATE", primary.id) == b"OK"
        await until(lambda: new.cluster.election.state == "following")
        assert "complete copy" in error(await new.call("CLUSTER", "FAILOVER", "FORCE"))
        assert await new.call("CLUSTER", "FAILOVER", "TAKEOVER") == b"OK"
        await until(lambda: new.leads)
        assert await new.call("GET", "k") is None
        await until(lambda: set(new.cluster.election.shard.in_sync) == {new.id, primary.id})
        await accepting(new)
        assert await new.call("SET", "k", "new") == b"OK"


async def test_nobody_takes_over_with_nothing_while_another_has_the_data(tmp_path: Path) -> None:
    async with members(tmp_path, *QUORUM) as cluster:
        primary, replica = await cluster.shard(1)
        await accepting(primary)
        replica.cluster.replication.differs("the test says so")
        refused = error(await replica.call("CLUSTER", "FAILOVER", "TAKEOVER"))
        assert refused == f"ERR this node holds no complete copy of its shard's data; {primary.id} does"
        assert primary.leads
