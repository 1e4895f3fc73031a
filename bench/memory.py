"""Bytes of resident memory per entry, ours beside redis-server: `python -m bench.memory`.

A server is filled to half a million entries and then to a million and a half; the slope between the two
is what an entry costs, tables and rounding included and the empty process left out. Each shape has a server
of its own, so that no shape lives in what another left free. One table growth more or less moves the
slope by a few bytes: our tables are 65 to 89 % full, Redis's between 50 and 100 %.
"""

import argparse
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import commit, machine, resident_bytes
from bench.servers import Kind, Server, ServerFailed, grapevine_kind, redis_kind, running

ENTRIES: Final = 1_000_000  # between the two measurements; half as many are there at the first
BATCH: Final = 500
REPLY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of entry. `words` makes the command that stores entry number n."""

    name: str
    target_bytes: int
    words: Callable[[int], Sequence[bytes]]
    share: int = 1  # of ENTRIES that this shape uses: large values need fewer


def _key(number: int) -> bytes:
    return b"key:%012d" % number


SHAPES: Final = (
    Shape("16 B key, 16 B value", 64, lambda number: (b"SET", _key(number), b"value:%010d" % number)),
    Shape("16 B key, 64 B value", 112, lambda number: (b"SET", _key(number), b"value:%058d" % number)),
    Shape(
        "the same with a TTL", 120,
        lambda number: (b"SET", _key(number), b"value:%058d" % number, b"EX", b"86400"),
    ),
    Shape("16 B key, integer", 48, lambda number: (b"SET", _key(number), b"%d" % (number + 1_000_000))),
    Shape("16 B key, 1 KB value", 1_090, lambda number: (b"SET", _key(number), b"v" * 1_024), share=5),
)  # fmt: skip


def requests(shape: Shape, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Pipelines that store entries first to last - 1: how many replies each makes, and its bytes."""
    for start in range(first, last, BATCH):
        end = min(start + BATCH, last)
        pieces: list[bytes] = []
        for number in range(start, end):
            words = shape.words(number)
            pieces.append(b"*%d\r\n" % len(words))
            pieces += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        yield end - start, b"".join(pieces)


def fill(server: Server, shape: Shape, first: int, last: int) -> None:
    """Stores entries first to last - 1.

    Raises:
        ServerFailed: an answer is not +OK.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=REPLY_S) as link:
        for count, data in requests(shape, first, last):
            link.sendall(data)
            wanted = b"+OK\r\n" * count
            got = b""
            while len(got) < len(wanted):
                more = link.recv(1 << 16)
                if not more:
                    raise ServerFailed(f"{server.name} closed the connection while it was being filled")
                got += more
            if got != wanted:
                raise ServerFailed(f"{server.name} answered {got[:80]!r} to a SET")


def slope_bytes(kind: Kind, shape: Shape, directory: Path, entries: int) -> float:
    """Bytes of resident memory that one more entry of this shape costs a server of this kind."""
    count = entries // shape.share
    with running(kind, directory) as server:
        fill(server, shape, 0, count // 2)
        before = resident_bytes(server.pid)
        fill(server, shape, count // 2, count // 2 + count)
        return (resident_bytes(server.pid) - before) / count


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=ENTRIES, help=f"default {ENTRIES:,}")
    options = parser.parse_args(words)
    if options.entries < 10 * BATCH:
        parser.error(f"--entries {options.entries}: fewer than {10 * BATCH} tell nothing about a slope")
    kinds = [kind for kind in (grapevine_kind(), redis_kind()) if kind is not None]
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, commit {commit() or 'unknown'}")
    print(
        "bytes per entry".ljust(24)
        + "".join(f"{kind.name} {kind.version}".rjust(18) for kind in kinds)
        + "target".rjust(9)
    )
    root = Path(tempfile.mkdtemp(prefix="grapevine-memory-"))
    try:
        for number, shape in enumerate(SHAPES):
            slopes = [
                slope_bytes(kind, shape, root / f"{number}-{kind.name}", options.entries) for kind in kinds
            ]
            print(
                shape.name.ljust(24)
                + "".join(f"{slope:18.1f}" for slope in slopes)
                + f"{shape.target_bytes:9}",
                flush=True,
            )
    except ServerFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
