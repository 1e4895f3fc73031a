"""Hit ratios of eviction policies, ours beside redis-server: `python -m bench.eviction`.

A look-aside client: GET, and SET after a miss. The same requests in the same order go to every policy.
maxmemory is set so that a server holds a given number of this workload's entries (measured by filling it
with so many first), so policies are compared and not the bytes an entry takes. With libcachesim installed
(PyPI), its exact S3-FIFO, W-TinyLFU and LRU stand beside ours; they hold exactly that many entries.
"""

import argparse
import importlib
import importlib.util
import json
import random
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from bench.measure import commit, machine
from bench.servers import Kind, ServerFailed, grapevine_kind, redis_kind, running

OBJECTS: Final = 100_000
REQUESTS: Final = 300_000
BATCH: Final = 10  # GETs that travel together; their misses are SET in the next batch
SHARES: Final = (0.01, 0.1)
VALUE: Final = b"v" * 500  # so large that a server's own buffers hardly count against 1,000 entries
REDIS_POLICIES: Final = ("allkeys-lru", "allkeys-lfu")
OUR_POLICIES: Final = ("allkeys-lru", "allkeys-lfu", "allkeys-s3fifo")
EXACT: Final = ("LRU", "S3FIFO", "WTinyLFU")


def zipf(dice: random.Random, exponent: float, count: int, shift: int = 0) -> list[int]:
    """Draws of objects whose popularity falls with rank**exponent; ranks are scattered over the keys."""
    weights = list(accumulate(1 / (rank + 1) ** exponent for rank in range(OBJECTS)))
    names = list(range(OBJECTS))
    dice.shuffle(names)
    return [names[rank] + shift for rank in dice.choices(range(OBJECTS), cum_weights=weights, k=count)]


def with_scans(dice: random.Random, requests: int) -> list[int]:
    """Zipf 1.0, and ten times a scan over keys that nobody asks for again: a third of all requests."""
    drawn = zipf(dice, 1.0, requests)
    scan = requests // 30
    fresh = 10 * OBJECTS
    for number in range(10):
        start = number * requests // 10 + requests // 20
        drawn[start : start + scan] = range(fresh, fresh + scan)
        fresh += scan
    return drawn


def shifting(dice: random.Random, requests: int) -> list[int]:
    """Zipf 1.0 whose favourites are others ten times on the way."""
    drawn: list[int] = []
    for number in range(10):
        drawn += zipf(dice, 1.0, requests // 10, shift=number * OBJECTS // 10)
    return drawn


WORKLOADS: Final[dict[str, Callable[[random.Random, int], list[int]]]] = {
    "zipf 0.8": lambda dice, requests: zipf(dice, 0.8, requests),
    "zipf 1.0": lambda dice, requests: zipf(dice, 1.0, requests),
    "zipf 1.2": lambda dice, requests: zipf(dice, 1.2, requests),
    "zipf 1.0 + scans": with_scans,
    "shifting": shifting,
}


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _key(number: int) -> bytes:
    return b"key:%010d" % number


class Client:
    """One blocking connection that pipelines."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._replies = self._socket.makefile("rb")

    def ask(self, commands: Sequence[bytes]) -> list[bytes | None]:
        """Sends commands together; replies that are no bulk strings come as their line."""
        self._socket.sendall(b"".join(commands))
        return [self._reply() for _ in commands]

    def _reply(self) -> bytes | None:
        line = self._replies.readline()
        if line[:1] == b"$":
            size = int(line[1:])
            return None if size < 0 else self._replies.read(size + 2)[:-2]
        if line[:1] == b"-" or not line:
            raise ServerFailed(f"the server answers {line.decode('ascii', 'replace').strip() or 'nothing'}")
        return line.strip()

    def used_bytes(self) -> int:
        text = self.ask([_command(b"INFO", b"memory")])[0] or b""
        fields = dict(line.split(b":", 1) for line in text.splitlines() if b":" in line)
        return int(fields[b"used_memory"])

    def close(self) -> None:
        self._replies.close()
        self._socket.close()


def hit_ratio(kind: Kind, directory: Path, policy: str, entries: int, trace: Sequence[int]) -> float:
    """Share of GETs that found their key."""
    with running(kind, directory) as server:
        client = Client(server.port)
        try:
            for start in range(0, entries, BATCH):
                client.ask(
                    [
                        _command(b"SET", _key(10**9 + n), VALUE)
                        for n in range(start, min(start + BATCH, entries))
                    ]
                )
            limit = client.used_bytes()
            client.ask([_command(b"FLUSHALL", b"SYNC")])
            client.ask(
                [
                    _command(b"CONFIG", b"SET", b"maxmemory-policy", policy.encode()),
                    _command(b"CONFIG", b"SET", b"maxmemory", b"%d" % limit),
                ]
            )
            hits = 0
            for start in range(0, len(trace), BATCH):
                batch = trace[start : start + BATCH]
                found = client.ask([_command(b"GET", _key(number)) for number in batch])
                hits += sum(value is not None for value in found)
                missed = [number for number, value in zip(batch, found, strict=True) if value is None]
                if missed:
                    client.ask([_command(b"SET", _key(number), VALUE) for number in dict.fromkeys(missed)])
            return hits / len(trace)
        finally:
            client.close()


def exact_ratio(simulator: Any, name: str, entries: int, trace: Sequence[int]) -> float:
    """The same with a cache of libcachesim that holds exactly so many entries."""
    cache = getattr(simulator, name)(cache_size=entries)
    request = simulator.Request()
    request.obj_size = 1
    hits = 0
    for number in trace:
        request.obj_id = number
        hits += cache.get(request)
    return hits / len(trace)


def columns() -> Iterator[tuple[str, Kind | None, str]]:
    """(title, server, policy) of every column; no server: libcachesim's."""
    redis = redis_kind()
    if redis is not None:
        for policy in REDIS_POLICIES:
            yield f"redis {policy[8:]}", redis, policy
    ours = grapevine_kind()
    for policy in OUR_POLICIES:
        yield f"ours {policy[8:]}", ours, policy
    if importlib.util.find_spec("libcachesim") is not None:
        for name in EXACT:
            yield f"exact {name.lower()}", None, name


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.eviction", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"of each run; default {REQUESTS:,}")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(words)
    chosen = list(columns())
    exact = any(kind is None for _, kind, _ in chosen)
    simulator = importlib.import_module("libcachesim") if exact else None
    facts = machine()
    print(
        f"{facts['cpu']}, commit {commit() or 'unknown'}; {OBJECTS:,} objects, {options.requests:,} requests"
    )
    print("workload".ljust(18) + "cache".rjust(6) + "".join(title.rjust(15) for title, _, _ in chosen))
    figures: dict[str, dict[str, float]] = {}
    root = Path(tempfile.mkdtemp(prefix="grapevine-eviction-"))
    try:
        for workload, draw in WORKLOADS.items():
            trace = draw(random.Random(options.seed), options.requests)
            for share in SHARES:
                entries = int(OBJECTS * share)
                row: dict[str, float] = {}
                for number, (title, kind, policy) in enumerate(chosen):
                    if kind is None:
                        row[title] = exact_ratio(simulator, policy, entries, trace)
                    else:
                        row[title] = hit_ratio(kind, root / str(number), policy, entries, trace)
                figures[f"{workload}, {share:.0%}"] = row
                print(
                    workload.ljust(18)
                    + f"{share:.0%}".rjust(6)
                    + "".join(f"{row[t]:15.4f}" for t, _, _ in chosen),
                    flush=True,
                )
        means = {title: sum(row[title] for row in figures.values()) / len(figures) for title, _, _ in chosen}
        print("mean".ljust(24) + "".join(f"{means[title]:15.4f}" for title, _, _ in chosen))
    except ServerFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if options.json is not None:
        options.json.write_text(
            json.dumps({"machine": facts, "commit": commit(), "hit_ratios": figures}, indent=1)
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
