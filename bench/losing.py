"""`grapevine bench losing`: ten million members go at once, and how long other requests wait.

A collection of ten million members is deleted, unlinked, expired, overwritten by SET, renamed onto or
flushed, in a database of its own. Meanwhile GETs of other keys come at even intervals, 10,000 a second over
50 connections, from two seconds before until its memory is free again; the longest of them is what counts.

Nothing waits less than the machine makes it wait. So the longest wait of the quiet seconds before stands
beside it, and for our own engine the processor time of its longest single step, which a busy machine hardly
changes: the same commands without sockets, each slice of the freeing timed by the clock of the thread.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.client import Client, Refused, command
from bench.figures import write_figures
from bench.load import LoadFailed
from bench.probe import Phase, Probe, Running
from bench.servers import Kind, ServerFailed, grapevine_kind, redis_kind, running
from node.commands import all_commands
from node.engine.alloc import keep_pages
from node.engine.engine import Engine
from node.engine.room import install_compiled
from node.engine.session import Session
from node.server import EXPIRE_ENTRIES_PER_SLICE, FREE_ENTRIES_PER_SLICE

MEMBERS: Final = 10_000_000
QUICK_MEMBERS: Final = 20_000
BATCH: Final = 1_000
KEYS: Final = 1_000  # that are asked for meanwhile
RATE_PER_S: Final = 10_000
QUIET_S: Final = 2.0
QUICK_QUIET_S: Final = 0.3
FREED_S_MAX: Final = 180.0
POLL_S: Final = 0.05
CLIENTS_BYTES: Final = 8 << 20  # what a server may take for the connections that ask meanwhile
BIG: Final = b"big"
FAR_MS: Final = b"100000000"
CLOCK_MS: Final = 1_700_000_000_000


def _set(start: int) -> list[bytes]:
    return [command(b"SADD", BIG, *(b"member:%09d" % each for each in range(start, start + BATCH)))]


def _pairs(start: int) -> Iterator[bytes]:
    for each in range(start, start + BATCH):
        yield b"member:%09d" % each
        yield b"value:%04d" % (each % 10_000)


def _hash(start: int) -> list[bytes]:
    return [command(b"HSET", BIG, *_pairs(start))]


def _expiring_hash(start: int) -> list[bytes]:
    names = (b"member:%09d" % each for each in range(start, start + BATCH))
    return [
        command(b"HSET", BIG, *_pairs(start)),
        command(b"HPEXPIRE", BIG, FAR_MS, b"FIELDS", b"%d" % BATCH, *names),
    ]


def _scored(start: int) -> Iterator[bytes]:
    for each in range(start, start + BATCH):
        yield b"%d" % (start + each * 7919 % BATCH)
        yield b"member:%09d" % each


def _zset(start: int) -> list[bytes]:
    return [command(b"ZADD", BIG, *_scored(start))]


def _list(start: int) -> list[bytes]:
    return [command(b"RPUSH", BIG, *(b"member:%09d" % each for each in range(start, start + BATCH)))]


def _stream(start: int) -> list[bytes]:
    return [command(b"XADD", BIG, b"*", b"f", b"member:%09d" % each) for each in range(start, start + BATCH)]


TYPES: Final[dict[str, Callable[[int], list[bytes]]]] = {
    "set": _set,
    "hash": _hash,
    "expiring": _expiring_hash,
    "zset": _zset,
    "list": _list,
    "stream": _stream,
}
# Each is called with `other` there, a small string.
WAYS: Final[dict[str, bytes]] = {
    "DEL": command(b"DEL", BIG),
    "UNLINK": command(b"UNLINK", BIG),
    "expiry": command(b"PEXPIRE", BIG, b"1"),
    "RENAME": command(b"RENAME", b"other", BIG),
    "SET": command(b"SET", BIG, b"x"),
    "FLUSHDB": command(b"FLUSHDB"),
}


@dataclass(frozen=True, slots=True)
class Loss:
    """One collection that one server lost in one way. `quiet` is the phase right before."""

    server: str
    type: str
    way: str
    quiet: Phase
    busy: Phase
    seconds: float  # until its memory was free

    @property
    def longest_us(self) -> float:
        return self.busy.gets.percentiles_us["100"]


@dataclass(frozen=True, slots=True)
class Steps:
    """Processor time of our engine's own steps.

    Attributes:
        command_us: of the command, or the slice that found the key expired.
        longest_us: of the longest of `count` slices of freeing.
    """

    type: str
    way: str
    command_us: float
    longest_us: float
    count: int


def measure(
    kind: Kind, probe: Probe, directory: Path, types: Sequence[str], ways: Sequence[str], *, quick: bool
) -> Iterator[Loss]:
    """Measures one server, type by type. A type that it does not know is left out.

    Raises:
        LoadFailed, ServerFailed, Refused: it did not come about.
    """
    members = QUICK_MEMBERS if quick else MEMBERS
    for type_name in types:
        with running(kind, directory / type_name) as server, Client(server.port) as client:
            if type_name == "expiring" and not client.knows(
                b"HPEXPIRE", b"none", b"1", b"FIELDS", b"1", b"f"
            ):
                continue
            probe.run(server.port, fill=True, keys=KEYS, pipeline=64)
            client.ask([command(b"SELECT", b"1")])
            for way in ways:
                client.ask([command(b"FLUSHDB")])
                empty_bytes = int(client.info("memory")["used_memory"])
                for start in range(0, members, BATCH):
                    client.ask(TYPES[type_name](start))
                client.ask([command(b"SET", b"other", b"x")])
                with probe.start(server.port, rate=RATE_PER_S, keys=KEYS) as ask:
                    yield _lose(server.name, client, ask, type_name, way, empty_bytes, quick=quick)


def _lose(
    server: str, client: Client, ask: Running, type_name: str, way: str, empty_bytes: int, *, quick: bool
) -> Loss:
    full_bytes = int(client.info("memory")["used_memory"])
    quiet_s = QUICK_QUIET_S if quick else QUIET_S
    time.sleep(quiet_s / 2)
    ask.end_phase("warm")
    time.sleep(quiet_s)
    quiet = ask.end_phase("quiet")
    began = time.monotonic()
    client.ask([WAYS[way]])
    done_bytes = empty_bytes + (full_bytes - empty_bytes) // 50 + CLIENTS_BYTES
    while int(client.info("memory")["used_memory"]) > done_bytes:
        if time.monotonic() - began > FREED_S_MAX:
            raise LoadFailed(f"{server}: {type_name} is not freed {FREED_S_MAX:.0f} s after {way}")
        time.sleep(POLL_S)
    seconds = time.monotonic() - began
    time.sleep(quiet_s / 4)  # pages go back to the system after the members have gone
    return Loss(server, type_name, way, quiet, ask.end_phase(way), seconds)


class _Bench:
    """Our engine without sockets; everything it does is timed."""

    def __init__(self) -> None:
        self._engine = Engine(hash_key=b"\x17" * 16, clock_ms=CLOCK_MS)
        install_compiled(self._engine.registry)
        for spec in all_commands(None):  # type: ignore[arg-type]  # no handler of these needs the node
            self._engine.add_command(spec)
        self._session = Session(self._engine)

    def feed(self, words: bytes) -> float:
        """Raises: Refused."""
        replies: list[bytes] = []
        taken_us = _timed(lambda: replies.append(self._session.feed(words)))
        if replies[0].startswith(b"-") or b"\n-" in replies[0]:
            raise Refused(replies[0][:200].decode())
        return taken_us

    def expire(self) -> float:
        keyspace = self._engine.keyspace
        self._engine.set_clock_ms(self._engine.now_ms + 1_000)
        return _timed(lambda: keyspace.expire_some(EXPIRE_ENTRIES_PER_SLICE))

    def free(self) -> list[float]:
        taken: list[float] = []
        more = [True]

        def one() -> None:
            more[0] = self._engine.keyspace.free_some(FREE_ENTRIES_PER_SLICE)

        while more[0]:
            taken.append(_timed(one))
        return taken


def steps(types: Sequence[str], ways: Sequence[str], *, quick: bool) -> Iterator[Steps]:
    """The longest steps inside our engine, without sockets. Makes this process keep pages, as a node does."""
    keep_pages()
    members = QUICK_MEMBERS if quick else MEMBERS
    for type_name in types:
        bench = _Bench()
        for way in ways:
            bench.feed(command(b"FLUSHALL"))
            bench.free()
            for start in range(0, members, BATCH):
                bench.feed(b"".join(TYPES[type_name](start)))
            bench.feed(command(b"SET", b"other", b"x"))
            command_us = bench.feed(WAYS[way])
            if way == "expiry":
                command_us = max(command_us, bench.expire())
            taken = bench.free()
            yield Steps(type_name, way, command_us, max(taken), len(taken))


def _timed(work: Callable[[], object]) -> float:
    """Processor time of this thread, in us."""
    began_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - began_ns) / 1000


def as_json(losses: Sequence[Loss], steps_taken: Sequence[Steps], *, quick: bool) -> dict[str, object]:
    return {
        "members": QUICK_MEMBERS if quick else MEMBERS,
        "rate_per_s": RATE_PER_S,
        "losses": [asdict(each) for each in losses],
        "steps": [asdict(each) for each in steps_taken],
    }


HEAD: Final = (
    f"{'server':10}{'type':10}{'lost by':9}{'free after s':>13}"
    f"{'quiet max ms':>14}{'p99.9 ms':>10}{'max ms':>9}"
)
STEPS_HEAD: Final = (
    f"{'engine':10}{'type':10}{'lost by':9}{'command ms':>13}{'longest slice':>14}{'slices':>10}"
)


def line(loss: Loss) -> str:
    return (
        f"{loss.server:10}{loss.type:10}{loss.way:9}{loss.seconds:13.2f}"
        f"{loss.quiet.gets.percentiles_us['100'] / 1000:14.2f}"
        f"{loss.busy.gets.percentiles_us['99.9'] / 1000:10.2f}{loss.longest_us / 1000:9.2f}"
    )


def steps_line(each: Steps) -> str:
    return (
        f"{'':10}{each.type:10}{each.way:9}{each.command_us / 1000:13.2f}"
        f"{each.longest_us / 1000:14.2f}{each.count:10}"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grapevine bench losing",
        description="How long other requests wait while a collection of 10 million members is lost.",
    )
    parser.add_argument("types", nargs="*", metavar="TYPE", help=f"only these: {', '.join(TYPES)}")
    parser.add_argument(
        "--ways", default=",".join(WAYS), metavar="WAY,...", help="only these (default: %(default)s)"
    )
    parser.add_argument(
        "--engine",
        action="store_true",
        help="only the processor time of our engine's steps: no server, no waiting",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there, as JSON")
    parser.add_argument("--quick", action="store_true", help="20,000 members: a look, not a measurement")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(words)
    types = options.types or list(TYPES)
    unknown = [name for name in types if name not in TYPES]
    if unknown:
        parser.exit(2, f"{parser.prog}: no type {unknown[0]} (choose from {', '.join(TYPES)})\n")
    ways = options.ways.split(",")
    unknown = [name for name in ways if name not in WAYS]
    if unknown:
        parser.exit(2, f"{parser.prog}: no way {unknown[0]!r} (choose from {', '.join(WAYS)})\n")
    losses: list[Loss] = []
    taken: list[Steps] = []
    redis = redis_kind()
    kinds = [] if options.engine else [*([redis] if redis is not None else []), grapevine_kind()]
    try:
        with tempfile.TemporaryDirectory(prefix="grapevine-bench-") as name:
            probe = Probe(Path(name)) if kinds else None
            print(HEAD if kinds else STEPS_HEAD, flush=True)
            for kind in kinds:
                assert probe is not None
                for loss in measure(kind, probe, Path(name) / kind.name, types, ways, quick=options.quick):
                    losses.append(loss)
                    print(line(loss), flush=True)
            if kinds:
                print(f"\n{STEPS_HEAD}", flush=True)
            for each in steps(types, ways, quick=options.quick):
                taken.append(each)
                print(steps_line(each), flush=True)
        if options.out is not None:
            write_figures(options.out, as_json(losses, taken, quick=options.quick), kinds)
    except (LoadFailed, ServerFailed, Refused, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
