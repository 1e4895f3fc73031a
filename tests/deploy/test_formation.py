"""deploy/formation.py, driven with views as a cluster would give them, up to a whole model cluster."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.topology import Address, NodeLine, SlotRange
from deploy.formation import RESEND_MS, Command, Formation
from deploy.observe import NodeView
from deploy.plan import ClusterPlan

PLAN = ClusterPlan(2, 1, 7000, 6379, Path("/somewhere"))
PORTS = (7000, 7001, 7002, 7003)


def at(port: int) -> Address:
    return Address("127.0.0.1", port)


def member_id(port: int) -> str:
    return f"{port:040x}"


class ModelCluster:
    """What members would say, with the commands that were carried out."""

    def __init__(self) -> None:
        self.answering: set[int] = set()
        self.acquainted = False
        self.slots: dict[int, tuple[int, int]] = {}
        self.primary_of: dict[int, int] = {}
        self.link_up = False
        self.loading: set[int] = set()
        self.serving = False
        self.counted = True  # primaries count their replicas as online

    def view(self, port: int) -> NodeView:
        known = [*PORTS, 6379] if self.acquainted else [port]
        primary = self.primary_of.get(port)
        return NodeView(
            address=at(port),
            cluster=True,
            id=member_id(port),
            pid=port,
            role="router" if port == 6379 else "primary" if primary is None else "replica",
            primary_id="" if primary is None else member_id(primary),
            serving=self.serving,
            loading=port in self.loading,
            link_up=primary is None or self.link_up,
            replicas_online=list(self.primary_of.values()).count(port)
            if self.link_up and self.counted
            else 0,
            memory_bytes=0,
            uptime_s=0,
            version="0.1.0",
            routers=(),
            lines=tuple(
                NodeLine(member_id(each), at(each), frozenset(), "", "connected", 0, -1) for each in known
            ),
            ranges=tuple(
                SlotRange(first, last, at(owner), ()) for owner, (first, last) in sorted(self.slots.items())
            ),
        )

    def views(self) -> dict[int, NodeView]:
        return {port: self.view(port) for port in self.answering}

    def carry_out(self, command: Command) -> None:
        match command.words:
            case ("CLUSTER", "ADDSLOTSRANGE", first, last):
                assert command.port not in self.slots, "slots were handed out twice"
                self.slots[command.port] = (int(first), int(last))
            case ("CLUSTER", "REPLICATE", primary_id):
                primary = int(primary_id, 16)
                assert primary in self.slots, "a node was told to follow one without slots"
                self.primary_of[command.port] = primary
            case _:
                pytest.fail(f"not a command for a formation: {command}")


def grown() -> ModelCluster:
    """A cluster that serves."""
    cluster = ModelCluster()
    cluster.answering = {*PORTS, 6379}
    cluster.acquainted = cluster.link_up = cluster.serving = True
    cluster.slots = {7000: (0, 8191), 7001: (8192, 16383)}
    cluster.primary_of = {7002: 7000, 7003: 7001}
    return cluster


def test_a_first_start_goes_step_by_step_to_ready() -> None:
    cluster, formation = ModelCluster(), Formation(PLAN, assign=True)
    silent = formation.next(cluster.views(), 0)
    assert silent.waiting_for == "node-7000, node-7001, node-7002 and 2 more to answer"
    cluster.answering = {*PORTS, 6379}
    assert "to meet the others" in formation.next(cluster.views(), 10).waiting_for
    cluster.acquainted = True

    step = formation.next(cluster.views(), 20)
    assert step.commands == (
        Command(7000, ("CLUSTER", "ADDSLOTSRANGE", "0", "8191")),
        Command(7001, ("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")),
    )
    for command in step.commands:
        cluster.carry_out(command)

    step = formation.next(cluster.views(), 30)
    assert step.commands == (
        Command(7002, ("CLUSTER", "REPLICATE", member_id(7000))),
        Command(7003, ("CLUSTER", "REPLICATE", member_id(7001))),
    )
    for command in step.commands:
        cluster.carry_out(command)

    assert formation.next(cluster.views(), 40).waiting_for == "node-7002, node-7003 to be in sync"
    cluster.link_up = True
    assert formation.next(cluster.views(), 50).waiting_for == "node-7000 to serve"
    cluster.serving = True
    step = formation.next(cluster.views(), 60)
    assert step.ready
    assert step.commands == ()


def test_a_command_without_effect_is_sent_again_but_not_at_once() -> None:
    cluster, formation = ModelCluster(), Formation(PLAN, assign=True)
    cluster.answering = {*PORTS, 6379}
    cluster.acquainted = True
    sent = formation.next(cluster.views(), 1_000).commands
    assert len(sent) == 2
    assert formation.next(cluster.views(), 1_000 + RESEND_MS - 1).commands == ()
    assert formation.next(cluster.views(), 1_000 + RESEND_MS).commands == sent


def test_only_what_is_missing_is_handed_out_after_a_launcher_that_died_half_way() -> None:
    cluster = grown()
    del cluster.slots[7001]
    del cluster.primary_of[7003]
    step = Formation(PLAN, assign=True).next(cluster.views(), 0)
    assert [command.port for command in step.commands] == [7001]


def test_a_formed_cluster_is_never_told_anything() -> None:
    cluster = grown()
    # after a failover 7002 is the primary of what was 7000's
    cluster.slots = {7002: (0, 8191), 7001: (8192, 16383)}
    cluster.primary_of = {7000: 7002, 7003: 7001}
    assert Formation(PLAN, assign=False).next(cluster.views(), 0).ready
    cluster.slots.pop(7001)
    step = Formation(PLAN, assign=False).next(cluster.views(), 0)
    assert step.commands == ()
    assert not step.ready


@pytest.mark.parametrize(
    ("harm", "waiting_for"),
    [
        (lambda cluster: cluster.answering.discard(6379), "router-6379 to answer"),
        (lambda cluster: cluster.loading.add(7001), "node-7001 to load data"),
        (lambda cluster: cluster.slots.pop(7000), "node-7000 to learn who serves which slot"),
        (lambda cluster: setattr(cluster, "link_up", False), "node-7002, node-7003 to be in sync"),
        (lambda cluster: cluster.primary_of.pop(7003), "node-7003 to take a part"),
        (
            lambda cluster: setattr(cluster, "counted", False),
            "2 of 2 replicas to be counted in sync by their primary",
        ),
        (lambda cluster: setattr(cluster, "serving", False), "node-7000 to serve"),
    ],
)
def test_a_restarted_cluster_is_not_ready_while_anything_is_missing(
    harm: Callable[[ModelCluster], object], waiting_for: str
) -> None:
    cluster = grown()
    assert Formation(PLAN, assign=False).next(cluster.views(), 0).ready
    harm(cluster)
    assert Formation(PLAN, assign=False).next(cluster.views(), 0).waiting_for == waiting_for


def test_a_member_that_knows_too_few_others_holds_everything_up() -> None:
    views = grown().views()
    views[7003] = replace(views[7003], lines=views[7003].lines[:2])
    assert Formation(PLAN, assign=False).next(views, 0).waiting_for == "node-7003 to meet the others"
