"""From processes to a cluster: which command goes to whom next, and is everything ready? A core without I/O.

The launcher looks at every process a few times a second and hands in what it saw; the answer is what to send
now and what is being waited for. Everything is derived from what was seen, nothing from what was sent before:
a command that got lost or came too early is simply due again, and a launcher that died in the middle can be
followed by another one. (A script of steps would have to know which of them had happened.)

A first start goes through these conditions; each is about all the processes at once:

    answering -> acquainted -> slots assigned -> replicas following -> serving and in sync

Once that was reached the cluster is *formed*, and a later start only waits: which node is a primary and which
replica follows whom is in the nodes' own state files, and after a failover it is not what the plan says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chaos.ports import LOCAL_HOST
from chaos.topology import Address
from deploy.observe import NodeView, covers_all_slots
from deploy.plan import ClusterPlan, ProcessPlan

# A command is not sent again before its effect can have come round: registers are decided in tens of
# milliseconds.
RESEND_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Command:
    """A command for the node on `port` of this machine."""

    port: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What to send now, what is being waited for ('' when ready)."""

    commands: tuple[Command, ...]
    waiting_for: str

    @property
    def ready(self) -> bool:
        return not self.waiting_for


class Formation:
    """Leads the processes of `plan` to a serving cluster.

    Args:
        assign: hand out slots and replicas as planned; False when the cluster was formed before.
    """

    def __init__(self, plan: ClusterPlan, *, assign: bool) -> None:
        self._plan = plan
        self._assign = assign
        self._sent_ms: dict[Command, int] = {}

    def next(self, views: Mapping[int, NodeView], now_ms: int) -> Step:
        """Judges one look at the processes.

        Args:
            views: by port; a process that does not answer is missing.
            now_ms: a clock that never falls.
        """
        plan = self._plan
        silent = [each.name for each in plan.processes() if each.port not in views]
        if silent:
            return Step((), f"{_some(silent)} to answer")
        loading = [each.name for each in plan.nodes() if views[each.port].loading]
        if loading and not self._assign:
            return Step((), f"{_some(loading)} to load data")
        ids = {views[each.port].id for each in plan.nodes()}
        lonely = [each.name for each in plan.processes() if not ids <= views[each.port].known_ids]
        if lonely:
            return Step((), f"{_some(lonely)} to meet the others")
        if self._assign:
            step = self._assignment(views, now_ms)
            if step is not None:
                return step
        return Step((), self._unready(views))

    def _assignment(self, views: Mapping[int, NodeView], now_ms: int) -> Step | None:
        """Commands for nodes that have no part yet; None when all have one."""
        due: list[Command] = []
        waiting: list[str] = []
        for process in self._plan.nodes():
            view = views[process.port]
            primary = views[self._plan.primary_port(process.shard)]
            if process.primary:
                first, last = self._plan.slot_range(process.shard)
                if not view.slots_of(_address(process.port)) and not _served(view, first, last):
                    due.append(Command(process.port, ("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))))
                    waiting.append(f"{process.name} to own slots {first}-{last}")
            elif view.role == "primary" and not view.slots_of(_address(process.port)):
                # A node can follow a primary only when it has heard that this one owns slots.
                if view.slots_of(_address(self._plan.primary_port(process.shard))):
                    due.append(Command(process.port, ("CLUSTER", "REPLICATE", primary.id)))
                waiting.append(f"{process.name} to follow node-{self._plan.primary_port(process.shard)}")
        if not waiting:
            return None
        fresh = [each for each in due if now_ms - self._sent_ms.get(each, -RESEND_MS) >= RESEND_MS]
        self._sent_ms.update(dict.fromkeys(fresh, now_ms))
        return Step(tuple(fresh), _some(waiting))

    def _unready(self, views: Mapping[int, NodeView]) -> str:
        """What still separates the cluster from serving everything with every replica in sync."""
        plan = self._plan
        for process in plan.processes():
            if not covers_all_slots(views[process.port]):
                return f"{process.name} to learn who serves which slot"
        replicas = [each for each in plan.nodes() if views[each.port].role == "replica"]
        behind = [each.name for each in replicas if not views[each.port].link_up or views[each.port].loading]
        if behind:
            return f"{_some(behind)} to be in sync"
        idle = [
            each.name for each in plan.nodes()
            if each not in replicas and not views[each.port].slots_of(_address(each.port))
        ]  # fmt: skip
        if idle:
            return f"{_some(idle)} to take a part"
        online = sum(views[each.port].replicas_online for each in plan.nodes())
        if online < len(replicas):
            return (
                f"{len(replicas) - online} of {len(replicas)} replicas to be counted in sync by their primary"
            )
        for process in plan.processes():
            if not views[process.port].serving:
                return f"{process.name} to serve"
        return ""


def _address(port: int) -> Address:
    return Address(LOCAL_HOST, port)


def _served(view: NodeView, first: int, last: int) -> bool:
    """Whether any of these slots has an owner already."""
    return any(each.first <= last and first <= each.last for each in view.ranges)


def _some(names: list[str]) -> str:
    """A list that stays readable with 500 shards."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def planned_role(process: ProcessPlan) -> str:
    return "router" if process.kind == "router" else "primary" if process.primary else "replica"
