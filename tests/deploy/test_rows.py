"""deploy/observe.py and deploy/rows.py: from the members' answers to a table."""

from chaos.resp import Reply
from chaos.topology import Address, parse_info, parse_nodes, parse_slots
from deploy.observe import NodeView, parse_view
from deploy.rows import build_rows, slot_text

A, B, C = (Address("127.0.0.1", port) for port in (7000, 7001, 7002))
IDS = {A: "a" * 40, B: "b" * 40, C: "c" * 40}
SLOTS: list[Reply] = [
    [0, 99, [b"127.0.0.1", 7000, b"a" * 40], [b"127.0.0.1", 7002, b"c" * 40]],
    [100, 8191, [b"127.0.0.1", 7000, b"a" * 40]],
    [8192, 16383, [b"127.0.0.1", 7001, b"b" * 40]],
]


def nodes_text(myself: Address) -> bytes:
    def flags(address: Address, role: str) -> str:
        return f"myself,{role}" if address == myself else role

    return (
        f"{IDS[C]} 127.0.0.1:7002@17002 {flags(C, 'slave')} {IDS[A]} 0 0 1 connected\n"
        f"{IDS[B]} 127.0.0.1:7001@17001 {flags(B, 'master')} - 0 0 2 connected 8192-16383\n"
        f"{IDS[A]} 127.0.0.1:7000@17000 {flags(A, 'master')} - 0 0 1 connected 0-8191\n"
    ).encode()


def view(address: Address, *, info: str = "", state: str = "ok") -> NodeView:
    role = "slave" if address == C else "master"
    text = f"# Server\r\nprocess_id:{address.port}\r\nrole:{role}\r\nmaster_link_status:up\r\n{info}"
    return parse_view(
        address,
        parse_info(text.encode(), address),
        parse_info(f"cluster_state:{state}\r\n".encode(), address),
        parse_slots(SLOTS, address),
        parse_nodes(nodes_text(address), address),
    )


def test_a_member_tells_who_it_is() -> None:
    replicas = "slave0:ip=::1,port=7002,state=online,offset=1,lag=0\r\nslave1:ip=::1,state=wait_bgsave\r\n"
    seen = view(A, info=replicas)
    assert (seen.id, seen.pid, seen.role, seen.primary_id) == (IDS[A], 7000, "primary", "")
    assert seen.replicas_online == 1
    assert seen.slots_served == 16_384
    assert seen.slots_of(A) == ((0, 8191),)
    assert seen.known_ids == frozenset(IDS.values())
    assert seen.serving
    assert view(C).primary_id == IDS[A]
    assert view(C).role == "replica"


def test_rows_go_by_shard_with_the_primary_first() -> None:
    rows = build_rows({C: view(C), B: view(B), A: view(A)})
    assert [(row.node, row.role, row.shard, row.slots, row.pid, row.state) for row in rows] == [
        ("node-7000", "primary", 1, "0-8191", 7000, "ok"),
        ("node-7002", "replica", 1, "", 7002, "ok"),
        ("node-7001", "primary", 2, "8192-16383", 7001, "ok"),
    ]


def test_one_that_does_not_answer_keeps_its_place_and_says_why() -> None:
    rows = build_rows({A: view(A), B: view(B), C: "127.0.0.1:7002: Connection refused"})
    assert (rows[1].node, rows[1].role, rows[1].shard, rows[1].id) == ("node-7002", "unknown", 1, IDS[C])
    assert rows[1].state == "127.0.0.1:7002: Connection refused"


def test_troubles_are_named() -> None:
    states = {
        view(C, info="master_link_status:down\r\n"): "no link to its primary",
        view(A, info="loading:1\r\n"): "loading",
        view(A, state="fail"): "not serving",
    }
    for seen, state in states.items():
        assert build_rows({seen.address: seen})[0].state == state


def test_a_node_of_no_cluster_is_one_row() -> None:
    info = parse_info(b"process_id:9\r\nrole:master\r\ncluster_enabled:0\r\n", A)
    (row,) = build_rows({A: parse_view(A, info, None, (), ())})
    assert (row.role, row.shard, row.state) == ("primary", 0, "stand-alone")


def test_slots_read_as_clients_know_them() -> None:
    assert slot_text([(0, 99), (200, 200), (300, 16383)]) == "0-99 200 300-16383"
