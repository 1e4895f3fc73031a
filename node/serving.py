"""What every process with a client port does alike: bind, follow the configuration, log.

Used by the composition roots of a node and of a router. Nothing here knows which of them it serves.
"""

import errno
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import trio

from node.config import Config
from node.engine.engine import Engine
from node.engine.pump import Pump
from node.parameters import COLLECTION_LIMITS

log = logging.getLogger("grapevine.node")

# Descriptors that are not clients: listeners, epoll, gossip, links, files. What Redis sets aside is 32;
# gossip talks to many members at once.
OWN_DESCRIPTORS: Final = 96


class StartError(Exception):
    """The process cannot start; the text says which parameter, file or port, and what to do."""


@contextmanager
def listening(config: Config) -> Iterator[list[socket.socket]]:
    """Listening sockets on every address of `bind`, all on the same port; closed with the block.

    Raises:
        StartError: an address cannot be bound.
    """
    port = config.integer("port")
    opened: list[socket.socket] = []
    try:
        for address in config.text("bind").split() or ["127.0.0.1"]:
            opened.append(_listen(address, port, config.integer("tcp-backlog")))
            port = port or opened[0].getsockname()[1]
        yield opened
    finally:
        for listener in opened:
            listener.close()


def _listen(address: str, port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind((address, port))
        listener.listen(backlog or 511)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        hint = " (something listens there already; choose another --port)" if taken else ""
        raise StartError(f"cannot listen on {address}:{port}: {error.strerror}{hint}") from error
    return listener


def follow_config(config: Config, engine: Engine, pump: Pump) -> None:
    """Parameters that act on the engine or the pump: now, and whenever CONFIG SET changes them."""

    def output_limits(_value: object) -> None:
        normal = config.output_limits()["normal"]
        pump.output_hard_limit_bytes = normal.hard_bytes
        pump.output_soft_limit_bytes = normal.soft_bytes
        pump.output_soft_limit_s = normal.soft_s

    def clients(_value: object) -> None:
        wanted = config.integer("maxclients")
        if wanted > pump.max_clients and allow_clients(wanted) < wanted:
            raise ValueError(
                "The operating system is not able to handle the specified number of clients, try with"
                f" {allow_clients(wanted)}"
            )
        pump.max_clients = wanted

    def follow(name: str, target: object, attribute: str) -> None:
        config.on_change(name, lambda _: setattr(target, attribute, config.integer(name)))

    config.on_change(
        "proto-max-bulk-len", lambda _: engine.set_limits(bulk_len_max=config.integer("proto-max-bulk-len"))
    )
    config.on_change("client-output-buffer-limit", output_limits)
    pump.max_clients = allow_clients(config.integer("maxclients"))
    if pump.max_clients < config.integer("maxclients"):
        log.warning(
            "maxclients %d is more than the system allows: %d clients are accepted; raise the limit on open"
            " files (ulimit -n)",
            config.integer("maxclients"),
            pump.max_clients,
        )
    config.on_change("maxclients", clients, now=False)
    follow("timeout", pump, "idle_timeout_s")
    follow("tcp-keepalive", pump, "keepalive_s")
    follow("client-query-buffer-limit", pump, "query_buffer_limit_bytes")
    follow("look-before-sleep-us", pump, "look_us_max")
    evictor = engine.evictor
    config.on_change("maxmemory", lambda _: evictor.set_limit(config.integer("maxmemory")))
    config.on_change("maxmemory-policy", lambda _: evictor.set_policy(config.text("maxmemory-policy")))
    config.on_change("maxmemory-samples", lambda _: evictor.set_samples(config.integer("maxmemory-samples")))
    for name in ("lfu-log-factor", "lfu-decay-time"):
        config.on_change(
            name,
            lambda _: evictor.set_frequency(
                config.integer("lfu-log-factor"), config.integer("lfu-decay-time")
            ),
        )
    limit_collections(engine, config)
    config.on_change(
        "cluster-allow-reads-when-down",
        lambda _: setattr(engine, "reads_when_down", config.flag("cluster-allow-reads-when-down")),
    )


def limit_collections(engine: Engine, config: Config) -> None:
    """Lets the parameters decide up to which size a collection stays small."""

    def apply(name: str, _value: object) -> None:
        engine.keyspace.set_collection_limit(name, config.integer(name))

    for name in COLLECTION_LIMITS:
        config.on_change(name, partial(apply, name))


def allow_clients(wanted: int) -> int:
    """Raises this process's limit on open files as far as `wanted` clients need and the system allows.

    Returns:
        How many clients there is room for, at most `wanted`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + OWN_DESCRIPTORS
    if soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if raised > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
                soft = raised
            except (ValueError, OSError) as error:  # some containers refuse what getrlimit promised
                log.warning("the limit on open files stays at %d: %s", soft, error)
    return max(1, min(wanted, soft - OWN_DESCRIPTORS))


def log_broken_command(error: BaseException) -> None:
    """For engine.on_python_error: a handler raised something that is a bug of ours."""
    log.error("a command broke: %s", error, exc_info=error)


def log_to_stderr(level: str = "info") -> None:
    """One line an event; whoever started the process decides where standard error goes."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname).1s %(name)s: %(message)s", stream=sys.stderr
    )


async def stop_on_signals(
    stop: Callable[[bool], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Calls `stop(now)` at each SIGTERM and SIGINT; `now` from the second on. Started: they are caught."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        hurry = False
        async for number in signals:
            log.info("%s: stopping%s", signal.Signals(number).name, " now" if hurry else "")
            stop(hurry)
            hurry = True
