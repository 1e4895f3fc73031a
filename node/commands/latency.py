"""LATENCY: events above latency-monitor-threshold, and how long each command takes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, cast

from node.commands.help import answer_help
from node.commands.table import command
from node.commands.words import shown
from node.context import node_of
from node.engine.reply import CommandError, Reply, Verbatim
from node.observer import SAMPLES_KEPT, LatencyMonitor, Series, histogram_us

if TYPE_CHECKING:
    from node.engine.registry import Command
    from node.engine.session import Session

_BAR: Final = 50  # characters of the longest bar of a graph


def latest(session: Session, _args: list[bytes]) -> Reply:
    """LATENCY LATEST: name, time and duration of the last sample, worst duration, of each event."""
    return [
        [name.encode(), *series.samples[-1], series.worst_ms]
        for name, series in _monitor(session).events.items()
    ]


def history(session: Session, args: list[bytes]) -> Reply:
    """LATENCY HISTORY event: its samples, oldest first."""
    series = _monitor(session).events.get(shown(args[2]))
    return [] if series is None else [list(sample) for sample in series.samples]


def reset(session: Session, args: list[bytes]) -> Reply:
    """LATENCY RESET [event ...]: how many were forgotten."""
    return _monitor(session).reset(map(shown, args[2:]))


def graph(session: Session, args: list[bytes]) -> Reply:
    """LATENCY GRAPH event: a bar for each sample."""
    series = _monitor(session).events.get(shown(args[2]))
    if series is None:
        raise CommandError(f"ERR No samples available for event '{shown(args[2])}'")
    now_s = node_of(session).clock_us() // 1_000_000
    return Verbatim(b"txt", "".join(f"{line}\n" for line in _drawn(args[2], series, now_s)).encode())


def doctor(session: Session, _args: list[bytes]) -> Reply:
    """LATENCY DOCTOR: what was seen, in sentences, and what to look at."""
    lines = list(_advice(_monitor(session)))
    return Verbatim(b"txt", "".join(f"{line}\n" for line in lines).encode())


def histogram(session: Session, args: list[bytes]) -> Reply:
    """LATENCY HISTOGRAM [command ...]: counts by duration, of those that were called."""
    engine = session.engine
    if len(args) > 2:
        named = [engine.registry.get(shown(name)) for name in args[2:]]
        wanted = chain.from_iterable(_family(each) for each in named if each is not None)
    else:
        wanted = chain.from_iterable(_family(each) for each in engine.registry.commands())
    found: dict[bytes, Reply] = {}
    for each in wanted:
        pairs = histogram_us(each, engine.ticks_per_us)
        if pairs:
            found[each.name.encode()] = {
                b"calls": pairs[-1][1],
                b"histogram_usec": cast("Reply", dict(pairs)),
            }
    return found


def _monitor(session: Session) -> LatencyMonitor:
    return node_of(session).observer.latency


def _family(each: Command) -> Iterator[Command]:
    """A command; of a container its subcommands."""
    yield from each.children.values() if each.children is not None else (each,)


def _drawn(name: bytes, series: Series, now_s: int) -> Iterator[str]:
    durations_ms = [duration_ms for _, duration_ms in series.samples]
    highest_ms = max(durations_ms)
    yield f"{shown(name)}: {min(durations_ms)} to {highest_ms} ms, worst ever {series.worst_ms} ms"
    for unix_s, duration_ms in series.samples:
        bar = "#" * max(1, round(_BAR * duration_ms / highest_ms))
        yield f"{max(0, now_s - unix_s):>7} s ago {duration_ms:>7} ms {bar}"


def _advice(monitor: LatencyMonitor) -> Iterator[str]:
    if not monitor.threshold_ms and not monitor.events:
        yield (
            "Latency monitoring is off. CONFIG SET latency-monitor-threshold <ms> turns it on; take the"
            " longest delay your users do not mind."
        )
        return
    if not monitor.events:
        yield f"Nothing took {monitor.threshold_ms} ms or longer since the last reset."
        return
    for name, series in monitor.events.items():
        durations_ms = [duration_ms for _, duration_ms in series.samples]
        yield (
            f"{name}: {len(durations_ms)} slow seconds kept (of at most {SAMPLES_KEPT}), mean"
            f" {sum(durations_ms) / len(durations_ms):.0f} ms, worst ever {series.worst_ms} ms."
        )
    if "command" in monitor.events:
        yield "SLOWLOG GET names the calls. Split large ones: SCAN instead of KEYS, fewer keys a call."
    if "expire-cycle" in monitor.events:
        yield (
            "A slice of active expiry was slow though it looks at a few hundred keys: large values take long"
            " to free, or the processor was busy with something else."
        )
    if "turn" in monitor.events:
        yield (
            "All clients waited for that long between two looks at them. What took the time is another event"
            " here, one large value, or a processor that others had."
        )
    if "eviction-cycle" in monitor.events:
        yield (
            "Making room for a command was slow: maxmemory is reached faster than keys can go. Write less at"
            " a time, or raise maxmemory."
        )
    if "fast-command" in monitor.events:
        yield (
            "Commands of constant cost were slow, so something else held the process up: look for swapping"
            " (INFO memory), a busy processor, or a virtual machine that was paused."
        )


_latency = partial(command, group="server", since="2.8.13")
_ADMIN: Final = "admin noscript loading stale"
_SPECIAL: Final = "nondeterministic_output request_policy:all_nodes response_policy:special"

COMMANDS = (
    _latency(
        "latency", -2, "",
        complexity="Depends on the subcommand",
        summary="Container of commands about delays.",
        subcommands=(
            _latency(
                "latency|doctor", 2, _ADMIN,
                handler=doctor, tips=_SPECIAL, summary="Says in sentences what was slow and what to look at.",
            ),
            _latency(
                "latency|graph", 3, _ADMIN,
                handler=graph, tips=_SPECIAL, arguments="event:string",
                summary="Draws the samples of an event.",
            ),
            _latency(
                "latency|help", 2, "loading stale",
                handler=answer_help, summary="Lists the subcommands.",
            ),
            _latency(
                "latency|histogram", -2, _ADMIN,
                handler=histogram, since="7.0.0", tips=_SPECIAL, arguments="[command:string...]",
                complexity="O(N) in the number of commands with calls",
                summary="Answers how many calls of a command took how long.",
            ),
            _latency(
                "latency|history", 3, _ADMIN,
                handler=history, tips=_SPECIAL, arguments="event:string",
                summary="Answers the samples of an event.",
            ),
            _latency(
                "latency|latest", 2, _ADMIN,
                handler=latest, tips=_SPECIAL, summary="Answers the newest sample of every event.",
            ),
            _latency(
                "latency|reset", -2, _ADMIN,
                handler=reset, tips="request_policy:all_nodes response_policy:all_succeeded",
                arguments="[event:string...]",
                summary="Forgets the samples of some events, or of all.",
            ),
        ),
    ),
)  # fmt: skip
