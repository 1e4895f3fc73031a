"""The composition root of one cache process: what is made, in which order, and how it ends.

    config -> directory lock -> engine, commands -> sockets bound -> pump, replication, cluster -> ready

Everything runs under one nursery of `Node.run`; it ends in the opposite order, each step with a
deadline: no new clients, the cluster is told, replicas get what they lack, connections close.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import random
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import trio

from gossip.beat import IDLE_BEAT_MS, next_beat_ms
from gossip.config import GossipConfig
from gossip.service import BUS_PORT_OFFSET, SelfMeta, Service
from gossip.state import StateDirectory, StateError
from node.chores import Chores
from node.cluster import ClusterNode
from node.commands import all_commands
from node.config import Config, ConfigError
from node.context import InfoSection
from node.driving import drive_pump
from node.engine.alloc import keep_pages
from node.engine.engine import Engine
from node.engine.pump import Pump, boottime_ms
from node.engine.reply import CommandError
from node.engine.room import install_compiled
from node.engine.session import Session
from node.gossip_keys import PARAMETER, follow_keys, load_keyring, reload_on_hangup
from node.info import Meter
from node.observer import Observer
from node.replication import quota, report
from node.replication.manager import ReplicationManager
from node.replication.wire import Sockets
from node.serving import (
    StartError,
    follow_config,
    listening,
    log_broken_command,
    log_to_stderr,
    stop_on_signals,
)
from node.version import GRAPEVINE_VERSION

log = logging.getLogger("grapevine.node")

STOP_DEADLINE_S = 5.0


class Node:
    """One cache process, stand-alone or a member of a cluster. Implements node.context.NodeContext."""

    def __init__(self, config: Config, seeds: str = "", replica_of: str = "") -> None:
        """
        Args:
            config: complete and checked.
            seeds: `host:port,...`, client ports of members to join; cluster mode only.
            replica_of: a shard's id (cluster mode), or `host:port` of a primary; empty: follow nobody.

        Raises:
            StartError: seeds or replica_of cannot be understood.
        """
        self.config = config
        self._seeds = seeds
        self._replica_of = replica_of

        self.started_ms = boottime_ms()
        self.run_id = secrets.token_hex(20)
        self.engine = Engine(
            cluster=config.flag("cluster-enabled"),
            databases=config.integer("databases"),
            hash_key=secrets.token_bytes(16),
            clock_ms=time.time_ns() // 1_000_000,
        )
        self.engine.on_python_error = log_broken_command
        self.engine.bind_context(self)
        self.pump = Pump(self.engine, max_clients=config.integer("maxclients"))
        self.pump.on_close = self._on_close
        self._wire = Sockets(self.pump)
        self.replication = ReplicationManager(
            self.engine, self.pump, self._wire, config, random.Random(secrets.randbits(64))
        )
        self._close_listeners: list[Callable[[Session], None]] = [self.replication.on_close]
        self.active_expiry = True
        self.meter = Meter(self.engine, self.started_ms)
        self.observer = Observer(self.engine, self.clock_us)
        self.observer.follow(self.config)
        self.chores = Chores(
            self.engine,
            now_ms=self.started_ms,
            work_us=lambda: time.thread_time_ns() // 1_000,
            clock_us=lambda: time.monotonic_ns() // 1_000,
            expiring=lambda: self.active_expiry,
            hear=self.observer.hear_cycle,
        )
        self._chores_due = trio.Event()
        self.info_sections: Mapping[str, InfoSection] = {
            "replication": lambda: report.info_fields(self.replication, boottime_ms()),
            "syncs": lambda: report.sync_fields(self.replication),
        }
        self.service: Service | None = None
        self.cluster: ClusterNode | None = None
        self._stop = trio.Event()
        self._stop_now = False
        follow_config(config, self.engine, self.pump)
        for name in ("min-replicas-to-write", "min-replicas-max-lag"):
            config.on_change(name, lambda _: self._count_replicas())
        try:
            config.on_change("write-durability", self._check_durability)
        except ValueError as error:
            raise StartError(f"write-durability: {error}") from error
        install_compiled(self.engine.registry)
        for spec in all_commands():
            self.engine.add_command(spec)

    # ----------------------------------------------------------------------------------- for commands

    def stop(self, *, now: bool = False) -> None:
        """Begins the ordered end of the process. `now`: without waiting for replicas."""
        self._stop_now = self._stop_now or now
        self._stop.set()

    @property
    def is_replica(self) -> bool:
        return self.replication.is_replica

    def clock_us(self) -> int:
        """Unix time in microseconds."""
        return time.time_ns() // 1000

    def _on_close(self, session: Session) -> None:
        for listener in self._close_listeners:
            listener(session)

    def _check_durability(self, wanted: object) -> None:
        if wanted == "quorum" and not self.engine.cluster:
            raise ValueError("'quorum' needs a cluster: its voters decide whose acknowledgement counts")

    def _count_replicas(self) -> None:
        """min-replicas-to-write: looked at on every beat, so up to 1 / hz late."""
        self.engine.write_refusal = quota.refusal(
            self.replication.feeder.source.attached(),
            self.config.integer("min-replicas-to-write"),
            self.config.integer("min-replicas-max-lag"),
            boottime_ms(),
        )
        if self.engine.write_refusal is None and self.cluster is not None:
            self.engine.write_refusal = self.cluster.durability.write_refusal

    # ---------------------------------------------------------------------------------------- running

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until `stop`; reports the client port once everything is bound and ready.

        Raises:
            StartError: an address or port cannot be bound.
        """
        async with contextlib.AsyncExitStack() as stack:
            if not self.engine.cluster:  # a member's directory is locked by its gossip service
                stack.enter_context(contextlib.closing(StateDirectory(Path(self.config.text("dir")))))
            listeners = stack.enter_context(listening(self.config))
            self.replication.port = listeners[0].getsockname()[1]
            nursery = await stack.enter_async_context(trio.open_nursery())
            await nursery.start(drive_pump, self.pump)
            nursery.start_soon(self._beat)
            nursery.start_soon(self._do_chores)
            nursery.start_soon(self._wire.run, self.replication.follower)
            await nursery.start(self.replication.run)
            port = int(listeners[0].getsockname()[1])
            if self.engine.cluster:
                await self._join_cluster(nursery, port)
            elif self._replica_of:
                self.replication.follow(*_address(self._replica_of, "--replica-of"))
            for listener in listeners:
                self.pump.listen(listener.fileno())
            task_status.started(port)
            await self._stop.wait()
            await self._shut_down(listeners)
            nursery.cancel_scope.cancel()

    async def _join_cluster(self, nursery: trio.Nursery, port: int) -> None:
        """Becomes a member: gossip and votes first, then whoever turns decisions into deeds."""
        config = self.config
        bind = (config.text("bind").split() or ["127.0.0.1"])[0]
        bus_port = config.integer("cluster-port") or port + BUS_PORT_OFFSET
        if bus_port > 65535:
            raise StartError(f"port {port} leaves no room for the bus at {bus_port}: set cluster-port")
        gossip_config = GossipConfig(
            probe_interval_ms=config.integer("probe-interval-ms"),
            probe_timeout_ms=config.integer("probe-timeout-ms"),
            lease_ms=config.integer("lease-ms"),
            beat_ms=IDLE_BEAT_MS,
        )
        me = SelfMeta(
            host=config.text("cluster-announce-ip") or bind,
            port=config.integer("cluster-announce-port") or port,
            bus_port=config.integer("cluster-announce-bus-port") or bus_port,
            bind=bind,
            kind="node",
            zone=config.text("zone"),
            software=GRAPEVINE_VERSION,
        )
        seeds = [_address(seed, "--join") for seed in self._seeds.split(",") if seed]
        try:
            keyring = load_keyring(config.text(PARAMETER))
        except ValueError as error:
            raise StartError(str(error)) from error
        dice = random.Random(secrets.randbits(64))
        service = Service(gossip_config, me, Path(config.text("dir")), dice, join=seeds, keyring=keyring)
        self.service = service
        follow_keys(config, service)
        await nursery.start(reload_on_hangup, config, service)
        try:
            await nursery.start(service.run)
        except OSError as error:
            raise StartError(str(error)) from error
        cluster = ClusterNode(
            self.engine, self.replication, service, config, random.Random(secrets.randbits(64))
        )
        self.cluster = cluster
        cluster.durability.on_refusal = self._count_replicas
        self.info_sections = {**self.info_sections, "cluster": cluster.info_fields}
        await nursery.start(cluster.run)
        if self._replica_of:
            nursery.start_soon(_enlist, cluster, service, self._replica_of)

    async def _shut_down(self, listeners: Sequence[socket.socket]) -> None:
        for listener in listeners:
            self.pump.unlisten(listener.fileno())
        with trio.move_on_after(0 if self._stop_now else STOP_DEADLINE_S):
            await self.replication.drain()
        self.pump.close_all()

    async def _beat(self) -> None:
        """What is looked at `hz` times a second, and who does the chores is told to."""
        commands = -1
        while True:
            now_ms = boottime_ms()
            period_ms = max(1, 1000 // self.config.integer("hz"))
            if commands == (commands := self.engine.statistics()["commands"]) and not self.chores.more:
                period_ms = max(period_ms, IDLE_BEAT_MS)
            due_ms = next_beat_ms(now_ms, period_ms)
            await trio.sleep((due_ms - now_ms) / 1000)
            self.pump.tick()
            self.meter.sample(self.engine.monotonic_now_ms)
            turns = self.pump.take_turns()
            self.meter.add_turns(*turns)
            self.meter.add_step(self.chores.take_longest_us())
            self.meter.add_sleeps(*self.pump.take_sleeps())
            self.observer.hear_cycle("turn", turns[2])
            self._count_replicas()
            self.chores.look()
            self._chores_due.set()

    async def _do_chores(self) -> None:
        """From beat to beat: steps and rests until nothing is left to do."""
        while True:
            await self._chores_due.wait()
            self._chores_due = trio.Event()
            while True:
                rest_ms = self.chores.rest_ms(boottime_ms())
                if rest_ms > 0:
                    await trio.sleep(rest_ms / 1000)
                elif self.chores.step():
                    await trio.lowlevel.checkpoint()
                else:
                    break


async def _enlist(cluster: ClusterNode, service: Service, wanted: str) -> None:
    """--replica-of: joins a shard, named by its id or its primary's client address, once it is there."""
    topology = service.topology
    while not topology.members[service.id].shard_id:
        shard = topology.shards.get(wanted)
        primary = shard.primary if shard is not None else ""
        if shard is None and ":" in wanted:
            host, port = _address(wanted, "--replica-of")
            primary = next(
                (each.id for each in topology.members.values() if (each.host, each.port) == (host, port)), ""
            )
        if primary:
            try:
                await cluster.replicate(primary)
            except CommandError as error:
                log.warning("cannot replicate %s yet: %s", wanted, error.text.decode("utf-8", "replace"))
            else:
                return
        topology = await service.wait_changed(topology.version)


def _address(text: str, flag: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise StartError(f"{flag} {text}: write it as host:port")
    return host.strip("[]"), int(port)


async def serve(node: Node) -> None:
    """Runs a node until a signal or SHUTDOWN stops it."""
    async with trio.open_nursery() as nursery:
        await nursery.start(stop_on_signals, lambda hurry: node.stop(now=hurry))
        port = await nursery.start(_run_and_cancel, node, nursery.cancel_scope)
        # What is alive now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        log.info("ready: port %d, process %d", port, os.getpid())


async def _run_and_cancel(
    node: Node, scope: trio.CancelScope, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    await node.run(task_status=task_status)
    scope.cancel()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grapevine node",
        description="One cache process. Without --cluster it is a stand-alone server.",
    )
    parser.add_argument("--port", type=int, help="port for clients (the bus is 10000 above it)")
    parser.add_argument("--bind", help="addresses to listen on, separated by blanks (default 127.0.0.1)")
    parser.add_argument("--dir", help="directory of everything the node writes (default: here)")
    parser.add_argument("--cluster", action="store_true", help="be a member of a cluster")
    parser.add_argument("--join", default="", metavar="HOST:PORT,...", help="client ports of members to join")
    parser.add_argument(
        "--replica-of", default="", metavar="SHARD|HOST:PORT", help="follow a shard's primary, or any primary"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="parameters, one `name value` a line")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="one parameter; wins over the file"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


def load_config(arguments: argparse.Namespace) -> Config:
    """The configuration of a command line: file first, then flags, then --set.

    Raises:
        ConfigError: the first thing that is wrong, with its parameter and place.
        StartError: flags that contradict each other.
    """
    settings = []
    for name in ("port", "bind", "dir"):
        value = getattr(arguments, name)
        if value is not None:
            settings.append(f"{name}={value}")
    if arguments.cluster:
        settings.append("cluster-enabled=yes")
    config = Config.load(arguments.config, [*settings, *arguments.set])
    if arguments.join and not config.flag("cluster-enabled"):
        raise StartError("--join needs --cluster: only members of a cluster join one")
    return config


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one node; returns the exit status: 0 stopped as told, 1 could not start."""
    arguments = _parser().parse_args(argv)
    log_to_stderr(arguments.log_level)
    keep_pages()
    try:
        config = load_config(arguments)
        _run(Node(config, arguments.join, arguments.replica_of))
    except (ConfigError, StartError, StateError) as error:
        print(f"grapevine node: {error}", file=sys.stderr)
        return 1
    return 0


def _run(node: Node) -> None:
    # trio wraps what ends its tasks in groups; what a user can mend comes out as itself.
    try:
        trio.run(serve, node)
    except* (StartError, StateError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
