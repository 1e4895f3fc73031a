"""chaos/topology.py: the replies of several servers about a cluster, and what must not pass for one."""

import pytest

from chaos.resp import ErrorReply
from chaos.topology import (
    Address,
    BadView,
    SlotMap,
    SlotRange,
    moved_target,
    parse_address,
    parse_info,
    parse_nodes,
    parse_slots,
    uncovered,
    whole_number,
)

ASKED = Address("127.0.0.1", 7000)


def test_slots_sorted_and_hosts_filled_in() -> None:
    reply = [
        [100, 16383, [b"10.0.0.2", 7001, b"id2", []], [None, 7004, b"id4"]],
        [0, 99, [b"", 7000, b"id1"]],
    ]
    ranges = parse_slots(reply, ASKED)
    assert ranges == (
        SlotRange(0, 99, Address("127.0.0.1", 7000), ()),
        SlotRange(100, 16383, Address("10.0.0.2", 7001), (Address("127.0.0.1", 7004),)),
    )
    assert uncovered(ranges) == 0
    assert uncovered(ranges[:1]) == 16384 - 100


@pytest.mark.parametrize(
    "reply",
    [
        ErrorReply("ERR This instance has cluster support disabled"),
        b"text",
        [[0, 1]],
        [[5, 4, [b"h", 1, b"id"]]],
        [[0, 16384, [b"h", 1, b"id"]]],
        [[0, 1, [b"h", 0, b"id"]]],
        [[0, 1, b"h"]],
    ],
)
def test_slots_refused(reply: object) -> None:
    with pytest.raises(BadView):
        parse_slots(reply, ASKED)  # type: ignore[arg-type]


NODES = b"""\
aaa 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-99 200 [300->-bbb]
bbb 127.0.0.1:7001@17001,host.name,shard-id=1 master,fail - 5 6 2 disconnected 100-199
ccc 127.0.0.1:7002@17002 slave aaa 5 6 1 connected
ddd :0@0 master,noaddr - 5 6 1 disconnected
eee :7005@17005 master,fail? - 5 6 1 connected
"""


def test_nodes() -> None:
    first, second, third, last = parse_nodes(NODES, ASKED)
    assert (first.id, first.slot_count, first.first_slot, first.primary_id) == ("aaa", 101, 0, "")
    assert second.address == Address("127.0.0.1", 7001)
    assert (second.failed, second.link) == (True, "disconnected")
    assert (third.primary_id, third.slot_count, third.first_slot) == ("aaa", 0, -1)
    assert last.address == Address("127.0.0.1", 7005)
    assert last.failed


@pytest.mark.parametrize(
    "reply", [ErrorReply("ERR x"), None, b"a b c\n", b"a h:1@2 master - 0 0 1 connected x-y"]
)
def test_nodes_refused(reply: object) -> None:
    with pytest.raises(BadView):
        parse_nodes(reply, ASKED)  # type: ignore[arg-type]


def test_info() -> None:
    info = parse_info(
        b"# Server\r\nprocess_id:42\r\nexecutable:/a:b\r\n\r\n# Replication\r\nrole:master\r\n", ASKED
    )
    assert info == {"process_id": "42", "executable": "/a:b", "role": "master"}
    assert whole_number(info, "process_id", ASKED) == 42
    with pytest.raises(BadView, match="process_idx"):
        whole_number(info, "process_idx", ASKED)
    with pytest.raises(BadView):
        whole_number(info, "role", ASKED)


@pytest.mark.parametrize(
    ("text", "address"),
    [("h:1", Address("h", 1)), ("::1:7000", Address("::1", 7000)), ("[::1]:7000", Address("::1", 7000))],
)
def test_address(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["h", "h:", "h:x", "h:0", "h:65536", ""])
def test_address_refused(text: str) -> None:
    with pytest.raises(BadView):
        parse_address(text)


def test_redirection() -> None:
    assert moved_target("MOVED 7 10.0.0.1:99", ASKED) == (7, Address("10.0.0.1", 99))
    assert moved_target("ASK 7 :99", ASKED) == (7, Address("127.0.0.1", 99))
    for text in ("MOVED", "MOVED x h:1", "MOVED 16384 h:1", "ERR 7 h:1", "MOVED 7 h"):
        with pytest.raises(BadView):
            moved_target(text, ASKED)


def test_slot_map_learns_and_forgets() -> None:
    slots = SlotMap()
    assert slots.owner(0) is None
    one, two, three = Address("a", 1), Address("b", 2), Address("c", 3)
    slots.learn([SlotRange(0, 9, one, (two,)), SlotRange(10, 16383, two, ())])
    assert (slots.owner(9), slots.owner(10)) == (one, two)
    assert slots.known == [one, two]
    slots.moved(9, three)
    assert (slots.owner(8), slots.owner(9)) == (one, three)
    assert slots.known == [one, two, three]
    slots.learn([SlotRange(0, 5, one, ())])
    assert (slots.owner(5), slots.owner(9), slots.known) == (one, None, [one])
