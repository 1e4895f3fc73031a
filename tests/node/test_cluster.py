"""Whole nodes as members of a cluster: slots, failover, the return of old primaries, CLUSTER commands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from gossip.register import Change, NoMajority, Refused
from gossip.slots import slot_of
from gossip.topology import SLOTS_REGISTER
from node.engine.reply import CommandError
from tests.node.cluster_parts import fields, lines, members
from tests.node.replication.parts import Client
from tests.waiting import until

pytestmark = pytest.mark.slow


def error(reply: object) -> str:
    assert isinstance(reply, RuntimeError), reply
    return str(reply)


async def test_a_node_alone_takes_slots_and_gives_them_back(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        node = await cluster.add()
        assert error(await node.call("SET", "k", "v")) == "CLUSTERDOWN Hash slot not served"
        assert fields(await node.call("CLUSTER", "INFO"))["cluster_state"] == "fail"
        assert await node.call("CLUSTER", "ADDSLOTS", "1", "2") == b"OK"
        assert await node.call("CLUSTER", "ADDSLOTSRANGE", "0", "0", "3", "16383") == b"OK"
        assert await node.call("SET", "k", "v") == b"OK"
        info = fields(await node.call("CLUSTER", "INFO"))
        assert (info["cluster_state"], info["cluster_slots_assigned"]) == ("ok", "16384")
        assert (info["cluster_size"], info["cluster_known_nodes"]) == ("1", "1")
        slot = str(slot_of(b"k"))
        assert await node.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        assert await node.call("CLUSTER", "GETKEYSINSLOT", slot, "10") == [b"k"]
        assert error(await node.call("CLUSTER", "FLUSHSLOTS")).startswith("ERR DB must be empty")
        assert await node.call("DEL", "k") == 1
        assert await node.call("CLUSTER", "DELSLOTSRANGE", "0", "9") == b"OK"
        assert error(await node.call("GET", "k")).startswith("CLUSTERDOWN")  # full coverage is required
        assert await node.call("CONFIG", "SET", "cluster-require-full-coverage", "no") == b"OK"
        assert await node.call("GET", "k") is None
        (mine,) = lines(await node.call("CLUSTER", "NODES"))
        assert mine[8:] == ["10-16383"]
        assert await node.call("CLUSTER", "FLUSHSLOTS") == b"OK"
        assert fields(await node.call("CLUSTER", "INFO"))["cluster_slots_assigned"] == "0"
        assert await node.call("CLUSTER", "RESET") == b"OK"
        assert node.cluster.election.state == "alone"


async def test_a_restarted_node_still_owns_its_slots(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        node = await cluster.add()
        await node.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        member_id = node.id
        await node.kill()
        await cluster.start(node)
        assert node.id == member_id
        await until(lambda: node.cluster.outlook.ok)
        assert await node.call("SET", "k", "v") == b"OK"
        assert node.cluster.election.shard.epoch == 2, "it came back empty: a new epoch"


async def test_killed_primary_is_replaced_and_follows_when_it_returns(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        old, first, second = await cluster.shard(2)
        for number in range(50):
            assert await old.call("SET", f"k{number}", "v") == b"OK"
        await until(lambda: first.node.replication.offset == second.node.replication.offset > 1000)  # type: ignore[union-attr]
        await old.kill()
        with trio.fail_after(5):
            await until(lambda: cluster.leader() in (first, second))
        new = cluster.leader()
        assert new is not None
        other = first if new is second else second
        assert await new.call("GET", "k49") == b"v"
        assert await new.call("SET", "after", "1") == b"OK"
        await until(lambda: other.cluster.election.shard.primary == new.id and other.node.replication.link_up)  # type: ignore[union-attr]
        account = new.cluster.election.accounts[-1]
        assert (account.outcome, account.old_primary) == ("won", old.cluster.service.id)
        assert (await other.call("ROLE"))[:3] == [b"slave", b"127.0.0.1", new.port]  # type: ignore[index]
        await cluster.start(old)
        await until(lambda: old.node.replication.link_up)  # type: ignore[union-attr]
        assert not old.leads
        async with await trio.open_tcp_stream("127.0.0.1", old.port) as stream:
            client = Client(stream)
            moved = f"MOVED {slot_of(b'after')} 127.0.0.1:{new.port}"
            assert error(await client(b"GET", b"after")) == moved
            assert await client(b"READONLY") == b"OK"
            assert await client(b"GET", b"after") == b"1"
            assert error(await client(b"SET", b"after", b"2")) == moved
        await until(lambda: len(new.cluster.election.shard.in_sync) == 3)


async def test_primary_that_restarts_at_once_does_not_wipe_its_replicas(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        primary, first, second = await cluster.shard(2)
        for number in range(50):
            assert await primary.call("SET", f"k{number}", "v") == b"OK"
        await until(lambda: first.node.replication.offset == second.node.replication.offset > 1000)  # type: ignore[union-attr]
        await primary.kill()
        await cluster.start(primary)
        await until(lambda: cluster.leader() in (first, second))
        new = cluster.leader()
        assert new is not None
        for number in range(50):
            assert await new.call("GET", f"k{number}") == b"v"
        await until(lambda: primary.node.replication.link_up)  # type: ignore[union-attr]
        assert primary.node is not None
        assert primary.node.engine.keyspace.size(0) == 50


async def test_planned_failover_loses_nothing_and_shows_no_error(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        old, heir, _ = await cluster.shard(2)
        written: list[str] = []
        longest_s = 0.0

        async def write(stop: trio.Event) -> None:
            nonlocal longest_s
            at, number = old, 0
            while not stop.is_set():
                async with await trio.open_tcp_stream("127.0.0.1", at.port) as stream:
                    client = Client(stream)
                    while not stop.is_set():
                        began = trio.current_time()
                        reply = await client(b"SET", f"k{number}".encode(), b"v")
                        if isinstance(reply, RuntimeError):
                            assert str(reply).startswith("MOVED "), reply
                            port = int(str(reply).rpartition(":")[2])
                            at = next(member for member in cluster.all if member.port == port)
                            break
                        longest_s = max(longest_s, trio.current_time() - began)
                        written.append(f"k{number}")
                        number += 1

        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, stop)
            await until(lambda: len(written) > 100)
            assert await heir.call("CLUSTER", "FAILOVER") == b"OK"
            await until(lambda: cluster.leader() is heir)
            count = len(written)
            await until(lambda: len(written) > count + 100)
            stop.set()
        print(f"longest write {longest_s * 1000:.0f} ms")
        assert longest_s < 1.0
        assert heir.node is not None
        assert heir.node.engine.keyspace.size(0) == len(written)
        await until(lambda: old.node.replication.link_up)  # type: ignore[union-attr]


async def test_forced_failover_needs_the_voters(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        old, heir, _ = await cluster.shard(2)
        assert (
            error(await old.call("CLUSTER", "FAILOVER"))
            == "ERR You should send CLUSTER FAILOVER to a replica"
        )
        assert error(await heir.call("CLUSTER", "FAILOVER", "NOW")) == "ERR syntax error"
        refused = error(await heir.call("CLUSTER", "FAILOVER", "FORCE"))  # the primary lives and has a lease
        assert refused.startswith("CLUSTERDOWN register 'shard/")
        assert "lease" in refused
        await until(lambda: heir.node.replication.link_up)  # type: ignore[union-attr]
        await old.kill()
        await until(lambda: cluster.leader() is not None)


@pytest.mark.parametrize("forgotten", [False, True], ids=["elected", "reset"])
async def test_a_forced_failover_of_which_nobody_told_in_time_changes_nothing_that_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: bool
) -> None:
    """The votes end as unknown; meanwhile the node leads by what gossip tells, or has left its shard."""
    async with members(tmp_path) as cluster:
        old, replica, _ = await cluster.shard(2)
        assert await old.call("SET", "k", "v") == b"OK"
        await until(lambda: replica.node.replication.offset == old.node.replication.offset)  # type: ignore[union-attr]
        service, propose = replica.cluster.service, replica.cluster.service.propose

        async def unanswered(register: str, change: Change) -> None:
            if forgotten:
                with monkeypatch.context() as patch:
                    patch.setattr(service, "propose", propose)
                    await replica.cluster.reset()
            else:
                old.cluster.service.release_lease()
                await propose(register, change)
                await until(lambda: replica.cluster.election.leads)
            raise NoMajority(register, service.topology.voter_set, (), {}, unknown=True)

        monkeypatch.setattr(service, "propose", unanswered)
        reply = error(await replica.call("CLUSTER", "FAILOVER", "TAKEOVER"))
        assert "unknown whether applied" in reply
        monkeypatch.undo()
        assert replica.node is not None
        assert not replica.node.replication.is_replica
        if not forgotten:
            await until(lambda: replica.cluster.outlook.ok)
            assert await replica.call("SET", "k", "w") == b"OK"
            assert await replica.call("GET", "k") == b"w"


async def test_primary_without_a_majority_stops(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        primary, first, second = await cluster.shard(2)
        assert await primary.call("SET", "k", "v") == b"OK"
        await first.kill()
        await second.kill()

        async def refuses() -> bool:
            reply = await primary.call("SET", "k", "w")
            assert reply == b"OK" or error(reply).startswith("CLUSTERDOWN")
            return reply != b"OK"

        await until(refuses, within_s=3 * primary.cluster.service.config.lease_ms / 1000)
        assert error(await primary.call("GET", "k")).startswith("CLUSTERDOWN")
        assert fields(await primary.call("CLUSTER", "INFO"))["cluster_state"] == "fail"
        refused = error(await primary.call("CLUSTER", "DELSLOTS", "0"))
        assert refused.startswith("CLUSTERDOWN register 'slots': no majority of 3 voters")
        await cluster.start(first)
        await until(lambda: primary.cluster.outlook.ok)
        assert await primary.call("SET", "k", "w") == b"OK"


async def test_slots_move_between_shards(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        left, right = await cluster.add(), await cluster.add()
        await cluster.acquainted()
        await left.call("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        await right.call("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        await until(lambda: left.cluster.outlook.ok and right.cluster.outlook.ok)
        key, slot = "foo", slot_of(b"foo")  # 12182: on the right
        assert await right.call("SET", key, "1") == b"OK"
        assert error(await left.call("GET", key)) == f"MOVED {slot} 127.0.0.1:{right.port}"
        assert error(await right.call("CLUSTER", "SETSLOT", f"{slot}", "NODE", left.id)).startswith(
            "ERR Can't assign hashslot"
        )
        assert await left.call("CLUSTER", "SETSLOT", f"{slot}", "IMPORTING", right.id) == b"OK"
        assert await right.call("CLUSTER", "SETSLOT", f"{slot}", "MIGRATING", left.id) == b"OK"
        assert f"[{slot}->-{left.id}]" in (await right.call("CLUSTER", "NODES")).decode()  # type: ignore[attr-defined]
        assert f"[{slot}-<-{right.id}]" in (await left.call("CLUSTER", "NODES")).decode()  # type: ignore[attr-defined]
        assert await right.call("DEL", key) == 1
        assert error(await right.call("GET", key)) == f"ASK {slot} 127.0.0.1:{left.port}"
        async with await trio.open_tcp_stream("127.0.0.1", left.port) as stream:
            client = Client(stream)
            assert await client(b"ASKING") == b"OK"
            assert await client(b"SET", key.encode(), b"2") == b"OK"
            assert error(await client(b"GET", key.encode())).startswith("MOVED")
        assert await left.call("CLUSTER", "SETSLOT", f"{slot}", "NODE", left.id) == b"OK"
        await until(lambda: right.cluster.topology.slot_owner(slot) == left.cluster.election.shard.id)
        assert await left.call("GET", key) == b"2"
        assert error(await right.call("GET", key)) == f"MOVED {slot} 127.0.0.1:{left.port}"
        assert not left.cluster.importing
        assert not right.cluster.migrating
        await left.call("SET", key, "3")
        assert await right.call("CLUSTER", "SETSLOT", f"{slot}", "NODE", right.id) == b"OK"  # by force
        await until(lambda: left.cluster.topology.slot_owner(slot) == right.cluster.election.shard.id)
        await until(lambda: left.node.engine.keyspace.size(0) == 0)  # type: ignore[union-attr]
        assert await right.call("GET", key) is None
        epoch = left.cluster.election.shard.epoch
        assert await left.call("CLUSTER", "BUMPEPOCH") == b"BUMPED %d" % (max(epoch, 2) + 1)


@pytest.mark.parametrize("outcome", ["decided", "refused", "unknown"])
async def test_nothing_is_lost_in_a_slot_that_is_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """Without MIGRATING before it: from asking the voters until it is known what they decided, the owner
    acknowledges nothing that would go with the slot."""
    async with members(tmp_path) as cluster:
        left, right = await cluster.add(), await cluster.add()
        await cluster.acquainted()
        await left.call("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        await right.call("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        await until(lambda: left.cluster.outlook.ok and right.cluster.outlook.ok)
        slot = slot_of(b"foo")  # 12182: on the right
        service, propose = right.cluster.service, right.cluster.service.propose
        refusals: list[str] = []
        attempts = 0

        async with await trio.open_tcp_stream("127.0.0.1", right.port) as stream:
            client = Client(stream)
            assert await client(b"MULTI") == b"OK"
            assert await client(b"SET", b"foo", b"1") == b"QUEUED"

            async def watched(register: str, change: Change, **how: Any) -> object:
                nonlocal attempts
                if register != SLOTS_REGISTER:
                    return await propose(register, change, **how)
                attempts += 1
                refusals.append(error(await right.call("SET", "foo", "1")))
                refusals.append(error(await right.call("GET", "foo")))
                if attempts == 1:
                    refusals.append(error(await client(b"EXEC")))
                    assert await right.call("SET", "elsewhere{0}", "1") == b"OK", "its other slots are served"
                if outcome == "refused":
                    raise Refused("somebody else was first")
                if outcome == "unknown" and attempts == 1:
                    raise NoMajority(register, service.topology.voter_set, (), {}, unknown=True)
                return await propose(register, change, **how)

            monkeypatch.setattr(service, "propose", watched)
            reply = await right.call("CLUSTER", "SETSLOT", f"{slot}", "NODE", left.id)
            assert reply == b"OK" if outcome == "decided" else isinstance(reply, RuntimeError)
            if outcome == "refused":
                assert await right.call("SET", "foo", "1") == b"OK"
            else:
                await until(lambda: left.cluster.topology.slot_owner(slot) == left.cluster.election.shard.id)
                assert await left.call("SET", "foo", "1") == b"OK"
                await until(lambda: not right.cluster.office.routes.leaving)
                assert error(await right.call("GET", "foo")).startswith("MOVED")
            assert attempts == (2 if outcome == "unknown" else 1)
            text = f"TRYAGAIN Slot {slot} is being given to another shard: the voters are asked"
            assert set(refusals) == {text}


async def test_refusals_name_what_is_wrong(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        primary, replica, _ = await cluster.shard(2)
        unknown = "f" * 40
        for node, words, expected in [
            (primary, ("REPLICATE", unknown), f"ERR Unknown node {unknown}"),
            (primary, ("REPLICATE", primary.id), "ERR Can't replicate myself"),
            (primary, ("REPLICATE", replica.id), "ERR I can only replicate a master, not a replica."),
            (replica, ("REPLICAS", replica.id), "ERR The specified node is not a master"),
            (primary, ("FORGET", primary.id), "ERR I tried hard but I can't forget myself..."),
            (replica, ("FORGET", primary.id), "ERR Can't forget my master!"),
            (primary, ("FORGET", unknown), f"ERR Unknown node {unknown}"),
            (replica, ("ADDSLOTS", "5"), "ERR Slot 5 is already busy"),
            (primary, ("MEET", "127.0.0.1", "99999"), "ERR Invalid node address specified: 127.0.0.1:99999"),
            (primary, ("RESET", "MILD"), "ERR syntax error"),
            (replica, ("SETSLOT", "5", "STABLE"), "ERR You can use SETSLOT only with masters."),
            (primary, ("SETSLOT", "5", "IMPORTING", replica.id), "ERR I'm already the owner of hash slot 5"),
            (primary, ("SETSLOT", "5", "MIGRATING", unknown), f"ERR I don't know about node {unknown}"),
            (primary, ("SETSLOT", "5", "MIGRATING", replica.id), "ERR Target node is not a master"),
            (replica, ("BUMPEPOCH",), "ERR only the primary of a shard can raise its epoch"),
        ]:
            assert error(await node.call("CLUSTER", *words)) == expected
        assert await replica.call("CLUSTER", "FORGET", cluster.all[2].id) == b"OK"
        async with await trio.open_tcp_stream("127.0.0.1", primary.port) as stream:
            client = Client(stream)
            assert await client(b"MULTI") == b"OK"
            assert await client(b"CLUSTER", b"DELSLOTS", b"0") == b"QUEUED"
            (inside,) = await client(b"EXEC")  # type: ignore[misc]
            assert "cannot run inside a transaction" in error(inside)


async def test_a_replica_leaves_with_reset_and_can_join_again(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        primary, replica, _ = await cluster.shard(2)
        assert await primary.call("SET", "k", "v") == b"OK"
        assert await replica.call("CLUSTER", "RESET") == b"OK"
        await until(lambda: len(primary.cluster.election.shard.in_sync) == 2)
        assert replica.node is not None
        assert replica.node.engine.keyspace.size(0) == 0
        assert (await replica.call("ROLE"))[0] == b"master"  # type: ignore[index]
        assert await replica.call("CLUSTER", "REPLICATE", primary.id) == b"OK"
        await until(lambda: len(primary.cluster.election.shard.in_sync) == 3)
        assert replica.node.engine.keyspace.size(0) == 1


async def test_a_node_that_came_to_lead_while_its_command_waited_does_not_leave(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        primary, replica, _ = await cluster.shard(2)
        assert await primary.call("SET", "k", "v") == b"OK"
        elsewhere = await cluster.add()
        await cluster.acquainted()
        for late in (partial(primary.cluster.replicate, elsewhere.id), primary.cluster.reset):
            with pytest.raises(CommandError, match="master"):
                await late()
        assert primary.leads
        assert await primary.call("GET", "k") == b"v"
        election = replica.cluster.election
        election.state = "standing"
        for late in (partial(replica.cluster.replicate, elsewhere.id), replica.cluster.reset):
            with pytest.raises(CommandError, match="the voters are asked"):
                await late()
        assert election.shard.id == primary.cluster.election.shard.id


async def test_two_clusters_with_slots_stay_apart(tmp_path: Path) -> None:
    async with members(tmp_path / "one") as ours, members(tmp_path / "two") as theirs:
        here, there = await ours.add(), await theirs.add()
        for node in (here, there):
            assert await node.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"OK"
        refused = error(await here.call("CLUSTER", "MEET", "127.0.0.1", str(there.port)))
        assert here.cluster.service.cluster_id in refused
        assert there.cluster.service.cluster_id in refused
        assert len(here.cluster.topology.members) == 1


async def test_tables_agree_on_every_node(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        primary, first, second = await cluster.shard(2)
        await until(
            lambda: all(
                m.cluster.topology.members[r.id].offset >= 0 for m in cluster.all for r in (first, second)
            )
        )
        told = [await node.call("CLUSTER", "SLOTS") for node in cluster.all]
        assert told[0] == told[1] == told[2]
        ((begin, end, *endpoints),) = told[0]  # type: ignore[misc]
        assert (begin, end) == (0, 16383)
        assert endpoints[0] == [b"127.0.0.1", primary.port, primary.id.encode(), []]
        assert sorted(each[2] for each in endpoints[1:]) == sorted([first.id.encode(), second.id.encode()])
        for node in cluster.all:
            rows = {words[0]: words for words in lines(await node.call("CLUSTER", "NODES"))}
            assert set(rows) == {member.id for member in cluster.all}
            assert rows[node.id][2].startswith("myself,")
            assert rows[primary.id][1] == f"127.0.0.1:{primary.port}@{primary.port + 10000}"
            assert rows[primary.id][3] == "-"
            assert rows[first.id][3] == rows[second.id][3] == primary.id
            assert all(words[7] == "connected" for words in rows.values())
        (shard,) = await first.call("CLUSTER", "SHARDS")  # type: ignore[misc]
        assert shard[:2] == [b"slots", [0, 16383]]
        roles = [dict(zip(each[::2], each[1::2], strict=True))[b"role"] for each in shard[3]]
        assert roles == [b"master", b"replica", b"replica"]
        assert len(await primary.call("CLUSTER", "REPLICAS", primary.id)) == 2  # type: ignore[arg-type]
        assert await primary.call("CLUSTER", "COUNT-FAILURE-REPORTS", first.id) == 0
        assert len(await primary.call("CLUSTER", "LINKS")) == 2  # type: ignore[arg-type]
        shard_ids = {await node.call("CLUSTER", "MYSHARDID") for node in cluster.all}
        assert shard_ids == {primary.cluster.election.shard.id.encode()}


async def test_a_dead_primary_fails_the_state_and_nobody_elses_slots(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        nodes = [await cluster.add() for _ in range(3)]
        await cluster.acquainted()
        for number, node in enumerate(nodes):
            first, last = 5462 * number, min(16383, 5462 * number + 5461)
            assert await node.call("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == b"OK"
        await until(lambda: all(node.cluster.outlook.ok for node in nodes))
        alive, dead = nodes[0], nodes[2]  # foo: 12182, the last third; bar: 5061, the first
        assert await alive.call("SET", "bar", "1") == b"OK"
        await dead.kill()
        await until(lambda: not alive.cluster.topology.members[dead.cluster.service.id].usable)
        info = fields(await alive.call("CLUSTER", "INFO"))
        assert info["cluster_state"] == "fail"
        slots = [int(info[f"cluster_slots_{name}"]) for name in ("assigned", "ok", "pfail", "fail")]
        assert slots == [16384, 10924, 0, 5460]
        assert await alive.call("GET", "bar") == b"1", "the others serve their slots"
        assert await alive.call("CONFIG", "SET", "cluster-require-full-coverage", "no") == b"OK"
        assert fields(await alive.call("CLUSTER", "INFO"))["cluster_state"] == "ok"


async def test_a_replica_that_cannot_apply_the_stream_is_not_electable_until_mended(tmp_path: Path) -> None:
    async with members(tmp_path) as cluster:
        primary, replica, _ = await cluster.shard(2)
        assert await primary.call("SET", "k", "v") == b"OK"
        assert primary.node is not None
        assert replica.node is not None
        syncs = primary.node.replication.feeder.full_sync_count
        primary.node.engine.effects.append(0, [b"FROMTHEFUTURE", b"k"])
        primary.node.pump.interrupt()
        await until(lambda: primary.node.replication.feeder.full_sync_count >= syncs + 2)  # type: ignore[union-attr]
        await until(lambda: replica.node.replication.link_up and replica.node.replication.complete)  # type: ignore[union-attr]
        await until(lambda: len(primary.cluster.election.shard.in_sync) == 3)
        assert replica.node.engine.keyspace.get(0, b"k") == b"v"
        # Again, at once: it knows less than its primary, and another copy would not help.
        primary.node.engine.effects.append(0, [b"FROMTHEFUTURE", b"k"])
        primary.node.pump.interrupt()
        await until(lambda: primary.cluster.election.shard.in_sync == (primary.id,))
        assert replica.cluster.election.announced_offset == -1
        await primary.kill()
        await until(lambda: not replica.cluster.topology.members[primary.cluster.service.id].usable)
        await until(lambda: "no complete copy" in replica.cluster.election.why_not)
        assert replica.cluster.election.state == "following"
