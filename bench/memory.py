"""Bytes of resident memory per entry, ours beside redis-server: `python -m bench.memory`.

A server is filled with a third of the entries and then with the rest; the slope between the two is what
an entry costs, tables and rounding included and the empty process left out. Each shape has a server of its
own, so that no shape lives in what another left free. One table growth more or less moves the slope by a
few bytes: our tables are 65 to 89 % full, Redis's between 50 and 100 %.
"""

import argparse
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.client import Refused, command
from bench.figures import write_figures
from bench.measure import commit, cpu_ns, machine, resident_bytes
from bench.servers import Kind, Server, ServerFailed, grapevine_kind, redis_kind, running

ENTRIES: Final = 1_000_000  # between the two measurements; half as many are there at the first
BATCH: Final = 500
REPLY_S: Final = 30.0
IDLE_S: Final = 2.0
EMPTY_TARGET_BYTES: Final = 45 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of entry. `words` makes the command that stores entry number n.

    `share`: of ENTRIES this shape uses one in so many, since it is large. `reply_lines`: of each reply.
    """

    name: str
    target_bytes: float
    words: Callable[[int], Sequence[bytes]]
    share: int = 1
    reply_lines: int = 1


def _key(number: int) -> bytes:
    return b"key:%012d" % number


def _member(number: int) -> bytes:
    """16 bytes that do not come in order."""
    return b"%016x" % (number * 0x9E3779B97F4A7C15 & (1 << 64) - 1)


def _session(number: int) -> Sequence[bytes]:
    """Five fields as web applications keep them: 26 bytes of names, some 45 of values."""
    return (
        b"HSET", _key(number), b"user_id", b"%d" % (number + 10_000_000), b"name", b"user%06d" % number,
        b"email", b"u%06d@example.com" % number, b"visits", b"%d" % (number % 100),
        b"seen", b"%d" % (1_700_000_000 + number),
    )  # fmt: skip


def _small_zset(number: int) -> Sequence[bytes]:
    pairs = [word for rank in range(10) for word in (b"%d" % rank, b"m%04d" % ((number + rank) % 10_000))]
    return (b"ZADD", _key(number), *pairs)


def _small_set(number: int) -> Sequence[bytes]:
    return (b"SADD", _key(number), *(b"%d" % (1_000_000 + number * 7 + rank) for rank in range(10)))


def _small_list(number: int) -> Sequence[bytes]:
    return (b"RPUSH", _key(number), *(b"item:%011d" % (number + rank) for rank in range(10)))


SHAPES: Final = (
    Shape("16 B key, 16 B value", 64, lambda number: (b"SET", _key(number), b"value:%010d" % number)),
    Shape("16 B key, 64 B value", 112, lambda number: (b"SET", _key(number), b"value:%058d" % number)),
    Shape(
        "the same with a TTL", 120,
        lambda number: (b"SET", _key(number), b"value:%058d" % number, b"EX", b"86400"),
    ),
    Shape("16 B key, 1 KB value", 1_090, lambda number: (b"SET", _key(number), b"v" * 1_024), share=5),
    Shape("16 B key, integer", 48, lambda number: (b"SET", _key(number), b"%d" % (number + 1_000_000))),
    Shape("hash of 5 small fields", 140, _session, share=5),
    Shape("zset of 10 small members", 130, _small_zset, share=5),
    Shape("set of 10 integers", 90, _small_set, share=5),
    Shape("list of 10 items of 16 B", 230, _small_list, share=5),
    Shape(
        "one zset, 16 B members", 64,
        lambda number: (b"ZADD", b"zset", b"%d" % (number * 7919 % 1_000_003), _member(number)),
    ),
    Shape(
        "one hash, 16 B field and value", 56,
        lambda number: (b"HSET", b"hash", _member(number), b"value:%010d" % number),
    ),
    Shape("one set, 16 B members", 36, lambda number: (b"SADD", b"set", _member(number))),
    Shape("one list, 16 B items", 18.4, lambda number: (b"RPUSH", b"list", _member(number))),
    Shape(
        "one stream, 2 fields", 18.4,
        lambda n: (b"XADD", b"stream", b"*", b"temp", b"%d" % (n % 40), b"wet", b"%d" % (n % 90)),
        reply_lines=2,
    ),
)  # fmt: skip


def requests(shape: Shape, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Pipelines that store entries first to last - 1: how many replies each makes, and its bytes."""
    for start in range(first, last, BATCH):
        end = min(start + BATCH, last)
        yield end - start, b"".join(command(*shape.words(number)) for number in range(start, end))


def fill(servers: Sequence[Server], shape: Shape, first: int, last: int) -> None:
    """Stores entries first to last - 1 in all of the servers.

    Raises:
        Refused: an answer is an error.
    """
    with ExitStack() as stack:
        links = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=REPLY_S))
            for server in servers
        ]
        for count, data in requests(shape, first, last):
            for link in links:
                link.sendall(data)
            for server, link in zip(servers, links, strict=True):
                _take_replies(server, link, count * shape.reply_lines)


def _take_replies(server: Server, link: socket.socket, lines: int) -> None:
    got = b""
    while got.count(b"\n") < lines:
        more = link.recv(1 << 16)
        if not more:
            raise Refused(f"{server.name} closed the connection while it was being filled")
        got += more
        if got.startswith(b"-") or b"\n-" in got:
            error = next(line for line in got.splitlines() if line.startswith(b"-"))
            raise Refused(f"{server.name}: {error[1:].decode('utf-8', 'replace')}")


def slope_bytes(kinds: Sequence[Kind], shape: Shape, directory: Path, entries: int) -> dict[str, float]:
    """Bytes of resident memory that one more entry of this shape costs a server of each kind.

    A server that does not know the command is left out.

    Raises:
        Refused: an answer is another error.
    """
    count = entries // shape.share
    slopes: dict[str, float] = {}
    with ExitStack() as stack:
        servers = []
        for kind in kinds:
            server = stack.enter_context(running(kind, directory / kind.name))
            try:
                fill([server], shape, 0, 1)
            except Refused as refused:
                if "unknown command" not in str(refused):
                    raise
            else:
                servers.append(server)
        fill(servers, shape, 1, count // 2)
        before = [resident_bytes(server.pid) for server in servers]
        fill(servers, shape, count // 2, count // 2 + count)
        for server, at_first in zip(servers, before, strict=True):
            slopes[server.name] = (resident_bytes(server.pid) - at_first) / count
    return slopes


def empty_cost(kind: Kind, directory: Path) -> dict[str, float]:
    """What a server costs that nobody talks to: resident bytes, and the share of a processor."""
    with running(kind, directory) as server:
        time.sleep(IDLE_S / 2)  # what starting costs is over then
        before_ns, began = cpu_ns(server.pid), time.monotonic()
        time.sleep(IDLE_S)
        used_ns = cpu_ns(server.pid) - before_ns
        return {
            "resident_bytes": resident_bytes(server.pid),
            "cpu_share": used_ns / 1e9 / (time.monotonic() - began),
        }


def head(kinds: Sequence[Kind]) -> str:
    return (
        "bytes per entry".ljust(32)
        + "".join(f"{kind.name} {kind.version}".rjust(18) for kind in kinds)
        + "   ratio   target"
    )


def line(shape: Shape, kinds: Sequence[Kind], slopes: dict[str, float]) -> str:
    text = shape.name.ljust(32)
    for kind in kinds:
        text += f"{slopes[kind.name]:18.1f}" if kind.name in slopes else f"{'no such command':>18}"
    both = "grapevine" in slopes and "redis" in slopes
    text += f"{slopes['grapevine'] / slopes['redis']:7.2f}x" if both else f"{'-':>8}"
    return f"{text}{shape.target_bytes:9}"


def measure(kinds: Sequence[Kind], directory: Path, entries: int) -> Iterator[tuple[Shape, dict[str, float]]]:
    """Raises: Refused, ServerFailed."""
    for number, shape in enumerate(SHAPES):
        yield shape, slope_bytes(kinds, shape, directory / str(number), entries)


def as_json(
    rows: Sequence[tuple[Shape, dict[str, float]]], empty: dict[str, dict[str, float]]
) -> dict[str, object]:
    return {
        "empty": empty,
        "empty_target_bytes": EMPTY_TARGET_BYTES,
        "slopes": [
            {"shape": shape.name, "target_bytes": shape.target_bytes, "bytes": slopes}
            for shape, slopes in rows
        ],
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=ENTRIES, help=f"default {ENTRIES:,}")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(words)
    if options.entries < 10 * BATCH:
        parser.error(f"--entries {options.entries}: fewer than {10 * BATCH} tell nothing about a slope")
    kinds = [kind for kind in (grapevine_kind(), redis_kind()) if kind is not None]
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, commit {commit() or 'unknown'}")
    print(head(kinds))
    rows = []
    root = Path(tempfile.mkdtemp(prefix="grapevine-memory-"))
    try:
        for shape, slopes in measure(kinds, root, options.entries):
            rows.append((shape, slopes))
            print(line(shape, kinds, slopes), flush=True)
    except (ServerFailed, Refused) as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if options.json is not None:
        write_figures(options.json, as_json(rows, {}), kinds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
