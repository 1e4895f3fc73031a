"""`grapevine bench losing`: ten million members go at once, and how long other requests wait.

A collection of ten million members is deleted, unlinked, expired, overwritten by SET, renamed onto or
flushed, in a database of its own. Meanwhile GETs of other keys come at even intervals, 10,000 a second over
50 connections, from two seconds before until its memory is free again, and then for as long once more.

The longest of them is what counts, but nothing waits less than the machine makes it wait. So beside it stand

    before, after     the longest wait of the two seconds before, and of as long a time afterwards, when
                      nothing is lost
    turn              the longest time between two looks at the clients, by the clock (INFO, ours only)
    step              processor time of the longest step of freeing (INFO, ours only): a busy machine hardly
                      changes it
    queued, before    how much of the time the server could have run and did not get a processor (the kernel's
                      schedstat), while members were lost and before: what a wait owes to others
    stolen            how much of the time the hypervisor took from the machine's processors

A wait that is the server's own shows in `turn`, and as processor time in `step` or in the command. One that
shows in `turn` only, with `queued` above 0, is one for the processor.

With --real-time server and load have a real-time priority, and witnesses note when the machine itself stood
still (stillness.py):

    still          how often, and the longest time, while members were lost
    own            the longest wait while members were lost, and before and after, that no standstill touched;
                   1.0: none was as long as a millisecond

A machine may keep requests waiting for longer than 2 ms although nothing is lost, and then the longest wait
of one loss tells little. With --rounds each is measured several times, and the last lines tell how often
somebody waited for longer than 2 ms, while members were lost and in all the time before and after.

At the end the same without sockets: processor time of the command and of each step.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.client import Client, Refused, command
from bench.figures import write_figures
from bench.load import LoadFailed
from bench.probe import Phase, Probe, Running
from bench.servers import Kind, Server, ServerFailed, grapevine_kind, redis_kind, running
from bench.stillness import LONG_US, WITNESS_US, hurry
from node.chores import Chores
from node.commands import all_commands
from node.engine.alloc import keep_pages
from node.engine.engine import Engine
from node.engine.room import install_compiled
from node.engine.session import Session

MEMBERS: Final = 10_000_000
QUICK_MEMBERS: Final = 20_000
BATCH: Final = 1_000
KEYS: Final = 1_000  # that are asked for meanwhile
RATE_PER_S: Final = 10_000
QUIET_S: Final = 2.0
QUICK_QUIET_S: Final = 0.3
FREED_S_MAX: Final = 180.0
AFTER_S_MAX: Final = 20.0
POLL_S: Final = 0.05
CLIENTS_BYTES: Final = 8 << 20  # what a server may take for the connections that ask meanwhile
BIG: Final = b"big"
FAR_MS: Final = b"100000000"
CLOCK_MS: Final = 1_700_000_000_000


# The words of a thousand members, with a mark where their thousand's number goes: to make ten million words
# one by one would take longer than the server needs to keep them.
MARK: Final = b"######"


def _names() -> Iterator[bytes]:
    for each in range(BATCH):
        yield b"member:%b%03d" % (MARK, each)


def _pairs() -> Iterator[bytes]:
    for each, name in enumerate(_names()):
        yield name
        yield b"value:%04d" % each


def _scored() -> Iterator[bytes]:
    for each, name in enumerate(_names()):
        yield b"%b%03d" % (MARK, each * 7919 % BATCH)
        yield name


TYPES: Final[dict[str, list[bytes]]] = {
    "set": [command(b"SADD", BIG, *_names())],
    "hash": [command(b"HSET", BIG, *_pairs())],
    "expiring": [
        command(b"HSET", BIG, *_pairs()),
        command(b"HPEXPIRE", BIG, FAR_MS, b"FIELDS", b"%d" % BATCH, *_names()),
    ],
    "zset": [command(b"ZADD", BIG, *_scored())],
    "list": [command(b"RPUSH", BIG, *_names())],
    "stream": [command(b"XADD", BIG, b"*", b"f", name) for name in _names()],
}


def batches(type_name: str, members: int) -> Iterator[list[bytes]]:
    """Commands that fill `big` with so many members (thousands), a thousand at a time."""
    for number in range(members // BATCH):
        yield [words.replace(MARK, b"%06d" % number) for words in TYPES[type_name]]


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
class Kernel:
    """What the kernel says of a time: shares of it, 0 to 1."""

    queued: float  # the server's thread could have run and waited for a processor
    stolen: float  # of all processors, by the hypervisor


@dataclass(frozen=True, slots=True)
class Loss:
    """One collection that one server lost in one way.

    Attributes:
        quiet, after: nothing was lost, right before and right after.
        seconds: until its memory was free.
        turn_us, step_us: longest turn by the clock, longest step of freeing by processor time; None: it does
            not tell.
    """

    server: str
    type: str
    way: str
    quiet: Phase
    busy: Phase
    after: Phase
    seconds: float
    kernel: Kernel
    kernel_quiet: Kernel
    turn_us: int | None
    step_us: int | None

    @property
    def longest_us(self) -> float:
        return self.busy.gets.percentiles_us["100"]


class _Stopwatch:
    """The kernel's counters of one process's first thread and of the machine, from one look to the next."""

    def __init__(self, pid: int) -> None:
        self._schedstat = Path(f"/proc/{pid}/schedstat")
        self._before = self._look()

    def _look(self) -> tuple[float, float, float]:
        queued_s = int(self._schedstat.read_text().split()[1]) / 1e9
        stolen_s = int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), queued_s, stolen_s / (os.cpu_count() or 1)

    def lap(self) -> Kernel:
        """Since the look before."""
        now = self._look()
        seconds, queued_s, stolen_s = (new - old for new, old in zip(now, self._before, strict=True))
        self._before = now
        return Kernel(queued_s / max(seconds, 1e-9), stolen_s / max(seconds, 1e-9))


@dataclass(frozen=True, slots=True)
class Steps:
    """Processor time of our engine's own steps.

    Attributes:
        command_us: of the command.
        longest_us: of the longest of `count` steps of freeing; the one that found the key expired is one.
        total_ms: of all of them.
    """

    type: str
    way: str
    command_us: float
    longest_us: float
    count: int
    total_ms: float


def measure(
    kind: Kind,
    probe: Probe,
    directory: Path,
    types: Sequence[str],
    ways: Sequence[str],
    *,
    rounds: int = 1,
    quick: bool,
    real_time: bool,
) -> Iterator[Loss]:
    """Measures one server, type by type, each way `rounds` times. A type that it does not know is left out.

    Raises:
        LoadFailed, ServerFailed, Refused: it did not come about.
        PermissionError: no real-time priority is to be had.
    """
    witnesses = {"witness_us": WITNESS_US} if real_time else {}
    members = QUICK_MEMBERS if quick else MEMBERS
    for type_name in types:
        with running(kind, directory / type_name) as server, Client(server.port) as client:
            if type_name == "expiring" and not client.knows(
                b"HPEXPIRE", b"none", b"1", b"FIELDS", b"1", b"f"
            ):
                continue
            probe.run(server.port, fill=True, keys=KEYS, pipeline=64)
            client.ask([command(b"SELECT", b"1")])
            for way in [each for each in ways for _ in range(rounds)]:
                client.ask([command(b"FLUSHDB")])
                empty_bytes = int(client.info("memory")["used_memory"])
                for commands in batches(type_name, members):
                    client.ask(commands)
                client.ask([command(b"SET", b"other", b"x")])
                with probe.start(server.port, rate=RATE_PER_S, keys=KEYS, **witnesses) as ask:
                    yield _lose(
                        server, client, ask, type_name, way, empty_bytes, quick=quick, real_time=real_time
                    )


def _lose(
    server: Server,
    client: Client,
    ask: Running,
    type_name: str,
    way: str,
    empty_bytes: int,
    *,
    quick: bool,
    real_time: bool,
) -> Loss:
    full_bytes = int(client.info("memory")["used_memory"])
    quiet_s = QUICK_QUIET_S if quick else QUIET_S
    time.sleep(quiet_s)
    ask.end_phase("warm")
    if real_time:  # not before: the witnesses are there now, on every processor
        hurry(ask.process_id, 0)
        hurry(server.pid, 1)
    watch = _Stopwatch(server.pid)
    time.sleep(quiet_s)
    quiet, kernel_quiet = ask.end_phase("quiet"), watch.lap()
    client.ask([command(b"CONFIG", b"RESETSTAT")])
    began = time.monotonic()
    client.ask([WAYS[way]])
    done_bytes = empty_bytes + (full_bytes - empty_bytes) // 50 + CLIENTS_BYTES
    while int(client.info("memory")["used_memory"]) > done_bytes:
        if time.monotonic() - began > FREED_S_MAX:
            raise LoadFailed(f"{server.name}: {type_name} is not freed {FREED_S_MAX:.0f} s after {way}")
        time.sleep(POLL_S)
    seconds = time.monotonic() - began
    time.sleep(quiet_s / 4)  # pages go back to the system after the members have gone
    busy, kernel, told = ask.end_phase(way), watch.lap(), client.info("stats")
    time.sleep(min(busy.seconds, AFTER_S_MAX))
    turn, step = (told.get(f"grapevine_longest_{what}_usec") for what in ("turn", "step"))
    return Loss(
        server.name, type_name, way, quiet, busy, ask.end_phase("after"), seconds, kernel, kernel_quiet,
        None if turn is None else int(turn), None if step is None else int(step),
    )  # fmt: skip


class _Bench:
    """Our engine without sockets; everything it does is timed."""

    def __init__(self) -> None:
        self._engine = Engine(hash_key=b"\x17" * 16, clock_ms=CLOCK_MS)
        install_compiled(self._engine.registry)
        for spec in all_commands():
            self._engine.add_command(spec)
        self._session = Session(self._engine)
        self._chores = Chores(
            self._engine,
            now_ms=0,
            work_us=lambda: time.thread_time_ns() // 1_000,
            clock_us=lambda: time.monotonic_ns() // 1_000,
        )

    def feed(self, words: bytes) -> float:
        """Processor time, in us. Raises: Refused."""
        began_ns = time.thread_time_ns()
        replies = self._session.feed(words)
        taken_us = (time.thread_time_ns() - began_ns) / 1000
        if replies.startswith(b"-") or b"\n-" in replies:
            raise Refused(replies[:200].decode())
        return taken_us

    def expire(self) -> None:
        self._engine.set_clock_ms(self._engine.now_ms + 1_000)

    def free(self) -> list[int]:
        """Processor time of each step, in us."""
        taken: list[int] = []
        more = True
        while more:
            more = self._chores.step()
            taken.append(self._chores.take_longest_us())
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
            for commands in batches(type_name, members):
                bench.feed(b"".join(commands))
            bench.feed(command(b"SET", b"other", b"x"))
            command_us = bench.feed(WAYS[way])
            if way == "expiry":
                bench.expire()
            taken = bench.free()
            yield Steps(type_name, way, command_us, max(taken), len(taken), sum(taken) / 1000)


def as_json(losses: Sequence[Loss], steps_taken: Sequence[Steps], *, quick: bool) -> dict[str, object]:
    return {
        "members": QUICK_MEMBERS if quick else MEMBERS,
        "rate_per_s": RATE_PER_S,
        "losses": [asdict(each) for each in losses],
        "steps": [asdict(each) for each in steps_taken],
    }


HEAD: Final = (
    f"{'server':10}{'type':9}{'lost by':8}{'free s':>7}{'before ms':>10}{'p99.9 ms':>9}{'max ms':>8}"
    f"{'after ms':>9}{'turn ms':>8}{'step ms':>8}{'queued':>8}{'before':>8}{'stolen':>8}"
)
STILL_HEAD: Final = f"{'still':>8}{'ms':>7}{'own ms':>8}{'before':>8}{'after':>7}"
STEPS_HEAD: Final = (
    f"{'engine':10}{'type':9}{'lost by':8}{'command ms':>17}{'longest':>10}{'steps':>8}{'in all':>9}"
)


def line(loss: Loss) -> str:
    turn, step = ("-" if us is None else f"{us / 1000:.2f}" for us in (loss.turn_us, loss.step_us))
    return (
        f"{loss.server:10}{loss.type:9}{loss.way:8}{loss.seconds:7.1f}"
        f"{loss.quiet.gets.percentiles_us['100'] / 1000:10.2f}"
        f"{loss.busy.gets.percentiles_us['99.9'] / 1000:9.2f}{loss.longest_us / 1000:8.2f}"
        f"{loss.after.gets.percentiles_us['100'] / 1000:9.2f}{turn:>8}{step:>8}"
        f"{loss.kernel.queued:8.1%}{loss.kernel_quiet.queued:8.1%}{loss.kernel.stolen:8.1%}" + _still(loss)
    )


def _still(loss: Loss) -> str:
    quiet, busy, after = (phase.stillness for phase in (loss.quiet, loss.busy, loss.after))
    if quiet is None or busy is None or after is None:
        return ""
    return (
        f"{busy.count:8}{busy.longest_us / 1000:7.2f}"
        f"{busy.own_us / 1000:8.2f}{quiet.own_us / 1000:8.2f}{after.own_us / 1000:7.2f}"
    )


def jams_line(server: str, losses: Sequence[Loss]) -> str:
    """How often somebody waited too long while one server lost, beside the time in which it lost nothing."""

    def told(phases: Sequence[Phase]) -> str:
        seconds = sum(phase.seconds for phase in phases)
        seen = [phase.stillness for phase in phases if phase.stillness is not None]
        return (
            f"{sum(each.jams for each in seen)} times in {seconds:.0f} s"
            f" ({sum(each.own_jams for each in seen)} that no standstill touched)"
        )

    mine = [each for each in losses if each.server == server]
    nothing = [phase for each in mine for phase in (each.quiet, each.after)]
    return (
        f"{server}: somebody waited longer than {LONG_US / 1000:.0f} ms"
        f" {told([each.busy for each in mine])} of losing, {told(nothing)} of losing nothing"
    )


def steps_line(each: Steps) -> str:
    return (
        f"{'':10}{each.type:9}{each.way:8}{each.command_us / 1000:17.2f}"
        f"{each.longest_us / 1000:10.2f}{each.count:8}{each.total_ms:9.0f}"
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
        "--only",
        choices=("redis", "grapevine", "engine"),
        help="one server, or the processor time of our engine's steps without one (default: all three)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there, as JSON")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="server and load at a real-time priority, and who notes when the machine stood still",
    )
    parser.add_argument(
        "--rounds", type=int, default=1, metavar="N", help="each N times (default: %(default)s)"
    )
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
    if options.rounds < 1:
        parser.exit(2, f"{parser.prog}: --rounds is {options.rounds}, at least 1 is needed\n")
    losses: list[Loss] = []
    taken: list[Steps] = []
    found = [redis_kind(), grapevine_kind()]
    kinds = [each for each in found if each is not None and options.only in (None, each.name)]
    try:
        with tempfile.TemporaryDirectory(prefix="grapevine-bench-") as name:
            probe = Probe(Path(name)) if kinds else None
            if kinds:
                print(HEAD + (STILL_HEAD if options.real_time else ""), flush=True)
            for kind in kinds:
                assert probe is not None
                for loss in measure(
                    kind, probe, Path(name) / kind.name, types, ways,
                    rounds=options.rounds, quick=options.quick, real_time=options.real_time,
                ):  # fmt: skip
                    losses.append(loss)
                    print(line(loss), flush=True)
            if options.real_time:
                for kind in kinds:
                    print(jams_line(kind.name, losses), flush=True)
            if options.only in (None, "engine"):
                print(("\n" if kinds else "") + STEPS_HEAD, flush=True)
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
