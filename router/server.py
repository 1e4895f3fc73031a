"""The composition root of a router: an engine without slots, a pump, and a seat in gossip.

    options -> directory lock, gossip -> engine, commands -> sockets bound -> pump -> ready

A router is a member like any other, of kind `router`: it hears every change within the time gossip needs,
it votes (a good witness: it holds no data and dies with no shard), and it serves clients with the very engine
and pump of a node. It owns no slot, so the engine redirects each keyed command, in C, by the table
of owners that `_follow_topology` keeps true.
"""

import argparse
import logging
import random
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import trio

from gossip.beat import IDLE_BEAT_MS, next_beat_ms
from gossip.config import GossipConfig
from gossip.service import BUS_PORT_OFFSET, SelfMeta, Service
from gossip.slots import SLOT_COUNT
from gossip.state import StateError
from node.cluster_member import ClusterMember
from node.commands import all_commands
from node.config import Config, ConfigError
from node.context import InfoSection
from node.driving import drive_pump
from node.engine.engine import Engine
from node.engine.pump import Pump, boottime_ms
from node.engine.room import install_compiled
from node.errands import Errands
from node.gossip_keys import PARAMETER, follow_keys, load_keyring, reload_on_hangup
from node.info import Meter
from node.observer import Observer
from node.outlook import Outlook
from node.serving import (
    StartError,
    follow_config,
    listening,
    log_broken_command,
    log_to_stderr,
    stop_on_signals,
)
from node.version import GRAPEVINE_VERSION
from router.commands import router_commands
from router.routes import routes_of

log = logging.getLogger("grapevine.router")

PORT_MAX: Final = 65_535
WILDCARDS: Final = ("0.0.0.0", "::", "*")


class Router:
    """One router process. Implements node.context.ProcessContext."""

    active_expiry = False  # there is nothing to expire

    def __init__(self, config: Config, service: Service) -> None:
        """
        Args:
            config: complete and checked, cluster-enabled.
            service: made but not running; `run` runs it.
        """
        self.config = config
        self.service = service
        self.cluster = ClusterMember(
            service,
            Outlook(service, full_coverage=config.flag("cluster-require-full-coverage")),
            Errands(),
        )
        self.started_ms = boottime_ms()
        self.run_id = secrets.token_hex(20)
        self.engine = Engine(
            cluster=True,
            databases=1,
            hash_key=secrets.token_bytes(16),
            clock_ms=time.time_ns() // 1_000_000,
        )
        self.engine.on_python_error = log_broken_command
        self.engine.bind_context(self)
        self.pump = Pump(self.engine, max_clients=config.integer("maxclients"))
        self.meter = Meter(self.engine, self.started_ms)
        self.observer = Observer(self.engine, self.clock_us)
        self.observer.follow(self.config)
        self.info_sections: dict[str, InfoSection] = {
            "replication": self._info_replication,
            "cluster": self._info_cluster,
        }
        self._stop = trio.Event()
        follow_config(config, self.engine, self.pump)
        install_compiled(self.engine.registry)
        for spec in router_commands(all_commands()):
            self.engine.add_command(spec)

    # ------------------------------------------------------------------------------------- for commands

    @property
    def is_replica(self) -> bool:
        return False

    def clock_us(self) -> int:
        return time.time_ns() // 1_000

    def stop(self, *, now: bool = False) -> None:
        del now  # there is nothing to wait for in either case
        self._stop.set()

    def _info_replication(self) -> Iterable[tuple[str, object]]:
        yield "role", "router"
        yield "connected_slaves", 0
        yield "master_repl_offset", 0

    def _info_cluster(self) -> Iterable[tuple[str, object]]:
        topology = self.service.topology
        yield "grapevine_kind", "router"
        yield "cluster_shards", len(topology.shards)
        yield "cluster_slots_assigned", topology.slots_assigned()
        yield "cluster_slots_unassigned", SLOT_COUNT - topology.slots_assigned()
        yield "cluster_topology_version", topology.version
        yield from self.cluster.gossip_fields()

    # ---------------------------------------------------------------------------------------- running

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until `stop`; reports the client port once everything is bound and ready.

        Raises:
            StartError: an address or port cannot be bound.
            OSError: the bus port cannot be bound.
            StateError: the state file cannot be written.
        """
        with listening(self.config) as listeners:
            async with trio.open_nursery() as nursery:
                await nursery.start(stop_on_signals, lambda hurry: self.stop(now=hurry))
                await nursery.start(reload_on_hangup, self.config, self.service)
                await nursery.start(self.service.run)
                await nursery.start(self.cluster.run)
                self._install_routes()
                nursery.start_soon(self._follow_topology)
                nursery.start_soon(self._tick)
                await nursery.start(drive_pump, self.pump)
                for listener in listeners:
                    self.pump.listen(listener.fileno())
                task_status.started(listeners[0].getsockname()[1])
                await self._stop.wait()
                for listener in listeners:
                    self.pump.unlisten(listener.fileno())
                self.pump.close_all()
                nursery.cancel_scope.cancel("stopped")

    def _install_routes(self) -> int:
        """Brings the engine up to the newest topology; returns its version."""
        topology = self.service.topology
        routes_of(topology).install(self.engine)
        return topology.version

    async def _follow_topology(self) -> None:
        while True:
            await self.service.wait_changed(self._install_routes())

    async def _tick(self) -> None:
        """Looks for idle clients and samples what INFO's rates are made of."""
        while True:
            now_ms = boottime_ms()
            await trio.sleep((next_beat_ms(now_ms, IDLE_BEAT_MS) - now_ms) / 1000)
            self.pump.tick()
            self.meter.sample(self.engine.monotonic_now_ms)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grapevine router",
        description="Runs a router: it tells clients of a cluster where their keys are, and votes when the "
        "cluster decides. It holds no data.",
    )
    parser.add_argument("--port", type=int, default=6379, metavar="P", help="client port (%(default)s)")
    parser.add_argument(
        "--join", default="", metavar="HOST:PORT,...",
        help="client addresses of members of the cluster; needed at the first start only",
    )  # fmt: skip
    parser.add_argument(
        "--dir", type=Path, default=Path(), metavar="DIR", help="keeps what it must not forget (%(default)s)"
    )
    parser.add_argument("--bind", default="127.0.0.1", metavar="A", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter, as for a node"
    )
    return parser


def parse_seeds(text: str) -> list[tuple[str, int]]:
    """`host:port,host:port` as pairs; IPv6 hosts may stand in brackets.

    Raises:
        ConfigError: a part that is no address.
    """
    seeds = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        host, _, port = part.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) <= PORT_MAX:
            raise ConfigError(f"--join {part}: write it as host:port, with the client port of a member")
        seeds.append((host.removeprefix("[").removesuffix("]"), int(port)))
    return seeds


def make_router(options: argparse.Namespace) -> Router:
    """A router from the command line; holds its directory from now on.

    Raises:
        ConfigError: an option or parameter that cannot be used.
        StateError: the directory or the state file cannot be used.
    """
    if not 0 < options.port <= PORT_MAX - BUS_PORT_OFFSET:
        most = PORT_MAX - BUS_PORT_OFFSET
        raise ConfigError(f"--port {options.port}: choose 1 to {most} (the bus is at + {BUS_PORT_OFFSET})")
    config = Config.load(
        None, [f"port={options.port}", f"bind={options.bind}", "cluster-enabled=yes", *options.set]
    )
    bind = (config.text("bind").split() or ["127.0.0.1"])[0]
    announced = config.text("cluster-announce-ip") or bind
    if announced in WILDCARDS:
        raise ConfigError(
            f"--bind {bind}: nobody can be told to come to every address; "
            "say which one with --set cluster-announce-ip=A"
        )
    me = SelfMeta(
        host=announced,
        port=config.integer("port"),
        kind="router",
        zone=config.text("zone"),
        software=GRAPEVINE_VERSION,
        bind=bind,
    )
    rng = random.Random(secrets.randbits(64))
    gossip_config = GossipConfig(
        probe_interval_ms=config.integer("probe-interval-ms"),
        probe_timeout_ms=config.integer("probe-timeout-ms"),
        lease_ms=config.integer("lease-ms"),  # the primaries whose leases it grants count with the same
        beat_ms=IDLE_BEAT_MS,
    )
    try:
        keyring = load_keyring(config.text(PARAMETER))
    except ValueError as error:
        raise StartError(str(error)) from error
    service = Service(gossip_config, me, options.dir, rng, join=parse_seeds(options.join), keyring=keyring)
    follow_keys(config, service)
    return Router(config, service)


def main(argv: Sequence[str]) -> int:
    """Runs a router until a signal; the exit status. Errors of the user are one line on standard error."""
    options = build_parser().parse_args(argv)
    log_to_stderr()
    try:
        router = make_router(options)
    except (ConfigError, StartError, StateError) as error:
        return _fail(error)
    failures: list[BaseException] = []
    try:
        trio.run(router.run)
    except* (StartError, StateError, OSError) as group:
        failures += group.exceptions
    return _fail(failures[0]) if failures else 0


def _fail(error: BaseException) -> int:
    sys.stderr.write(f"grapevine router: {error}\n")
    return 1
