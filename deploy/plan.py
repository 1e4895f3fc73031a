"""What a local cluster consists of: which processes, on which ports, in which directories, with which slots.

Pure arithmetic: nothing here looks at the machine. Shards of one cluster are numbered from 0 here and from 1
on screen. Primaries get the first ports and the replicas follow row by row, so that the ports of a shard are
easy to tell (3 shards with a replica each from 7000):

    shard      1      2      3
    primary  7000   7001   7002
    replica  7003   7004   7005

These are the roles of the first start only. After a failover the cluster itself knows better than this plan,
and nothing in the launcher tries to restore it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.ports import BUS_OFFSET, LOCAL_HOST
from gossip.slots import SLOT_COUNT

PORT_MAX = 65_535
SHARDS_MAX = 500
REPLICAS_MAX = 5

Kind = Literal["node", "router"]


class PlanError(ValueError):
    """The wished-for cluster cannot exist; the text names the parameter and what to do."""


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process of the cluster. `shard` is -1 for a router; `primary` is the role at the first start."""

    name: str
    kind: Kind
    port: int
    shard: int = -1
    primary: bool = False


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """`shards` x (1 + `replicas`) nodes from `port` on and, unless `router_port` is 0, a router.

    Attributes:
        settings: `name=value` for every process, as with --set. zones: the processes are spread over these,
            the copies of a shard over different ones while there are enough.
    """

    shards: int
    replicas: int
    port: int
    router_port: int
    directory: Path
    settings: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for setting in self.settings:
            if "=" not in setting.strip("="):
                raise PlanError(f"--set {setting}: write it as name=value")
        if len(dict.fromkeys(self.zones)) != len(self.zones) or "" in self.zones:
            raise PlanError(f"--zones {','.join(self.zones)}: different names, separated by commas")
        if not 1 <= self.shards <= SHARDS_MAX:
            raise PlanError(f"--shards {self.shards}: choose 1 to {SHARDS_MAX}")
        if not 0 <= self.replicas <= REPLICAS_MAX:
            raise PlanError(f"--replicas {self.replicas}: choose 0 to {REPLICAS_MAX}")
        highest = PORT_MAX - BUS_OFFSET - self.node_count + 1
        if not 1 <= self.port <= highest:
            raise PlanError(
                f"--port {self.port}: choose 1 to {highest} ({self.node_count} nodes, each with its bus on "
                f"its port + {BUS_OFFSET})"
            )
        if not 0 <= self.router_port <= PORT_MAX - BUS_OFFSET:
            raise PlanError(f"--router-port {self.router_port}: choose 1 to {PORT_MAX - BUS_OFFSET}")
        if self.router_port in self.node_ports:
            raise PlanError(f"--router-port {self.router_port}: a node of this cluster has that port")
        if self.router_port and is_beside_bus(self.router_port, self.node_ports):
            raise PlanError(
                f"--router-port {self.router_port}: it and a node's port lie {BUS_OFFSET} apart, where each "
                "has the bus of the one below"
            )

    @property
    def node_count(self) -> int:
        return self.shards * (1 + self.replicas)

    @property
    def node_ports(self) -> range:
        return range(self.port, self.port + self.node_count)

    def nodes(self) -> Iterator[ProcessPlan]:
        for index, port in enumerate(self.node_ports):
            yield ProcessPlan(f"node-{port}", "node", port, index % self.shards, index < self.shards)

    def router(self) -> ProcessPlan | None:
        if self.router_port == 0:
            return None
        return ProcessPlan(f"router-{self.router_port}", "router", self.router_port)

    def processes(self) -> Iterator[ProcessPlan]:
        yield from self.nodes()
        router = self.router()
        if router is not None:
            yield router

    def primary_port(self, shard: int) -> int:
        return self.port + shard

    def zone_of(self, process: ProcessPlan) -> str:
        """The process's zone, '' without any. The n-th copy of a shard is n zones on from its primary."""
        if not self.zones:
            return ""
        index = process.port - self.port if process.kind == "node" else self.node_count
        copy, shard = divmod(index, self.shards)
        return self.zones[(shard + copy) % len(self.zones)]

    def slot_range(self, shard: int) -> tuple[int, int]:
        """First and last slot of a shard: contiguous, sizes differ by one at most."""
        return (shard * SLOT_COUNT // self.shards, (shard + 1) * SLOT_COUNT // self.shards - 1)

    def process_directory(self, process: ProcessPlan) -> Path:
        return self.directory / process.name


def is_beside_bus(router_port: int, node_ports: range) -> bool:
    """Whether the router would have a node's bus port, or a node the router's."""
    return router_port - BUS_OFFSET in node_ports or router_port + BUS_OFFSET in node_ports


def node_arguments(plan: ClusterPlan, process: ProcessPlan) -> list[str]:
    """What the `grapevine` command is told for this process: the words after `grapevine`.

    Everybody joins the first node and nobody else. With several seeds, a router that starts quickly could
    join a node that is still alone, and that node, no longer alone, could not join the others any more. At a
    later start the seeds hardly matter: the state files name all members.
    """
    words = [process.kind, "--port", str(process.port), "--dir", str(plan.process_directory(process))]
    if process.kind == "node":
        words.append("--cluster")
    if process.port != plan.port:
        words += ["--join", f"{LOCAL_HOST}:{plan.port}"]
    for setting in plan.settings:
        words += ["--set", setting]
    if zone := plan.zone_of(process):
        words += ["--set", f"zone={zone}"]
    return words
