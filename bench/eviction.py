"""Hit ratios of eviction policies, ours beside redis-server: `python -m bench.eviction`.

A look-aside client: GET, and SET after a miss. The same requests in the same order go to every policy.
maxmemory is set so that a server holds a given number of this workload's entries (measured by filling it
with so many first), so policies are compared and not the bytes an entry takes. With libcachesim installed
(PyPI), its exact S3-FIFO, W-TinyLFU and LRU stand beside ours; they hold exactly that many entries.
"""

import argparse
import importlib
import importlib.util
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from bench.client import Client, Refused, command
from bench.figures import write_figures
from bench.measure import commit, machine
from bench.servers import Kind, ServerFailed, grapevine_kind, redis_kind, running

OBJECTS: Final = 100_000
REQUESTS: Final = 200_000
SEED: Final = 7
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


def _key(number: int) -> bytes:
    return b"key:%010d" % number


def hit_ratio(kind: Kind, directory: Path, policy: str, entries: int, trace: Sequence[int]) -> float:
    """Share of GETs that found their key."""
    with running(kind, directory) as server:
        client = Client(server.port)
        try:
            for start in range(0, entries, BATCH):
                client.ask(
                    [
                        command(b"SET", _key(10**9 + n), VALUE)
                        for n in range(start, min(start + BATCH, entries))
                    ]
                )
            limit = int(client.info("memory")["used_memory"])
            client.ask([command(b"FLUSHALL", b"SYNC")])
            client.ask(
                [
                    command(b"CONFIG", b"SET", b"maxmemory-policy", policy.encode()),
                    command(b"CONFIG", b"SET", b"maxmemory", b"%d" % limit),
                ]
            )
            hits = 0
            for start in range(0, len(trace), BATCH):
                batch = trace[start : start + BATCH]
                found = client.ask([command(b"GET", _key(number)) for number in batch])
                hits += sum(value is not None for value in found)
                missed = [number for number, value in zip(batch, found, strict=True) if value is None]
                if missed:
                    client.ask([command(b"SET", _key(number), VALUE) for number in dict.fromkeys(missed)])
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


def head() -> str:
    return " " * 24 + "".join(title.rjust(15) for title, _, _ in columns())


def line(name: str, row: dict[str, float]) -> str:
    return name.ljust(24) + "".join(f"{ratio:15.4f}" for ratio in row.values())


def measure(directory: Path, requests: int, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Case by case: its name, and the hit ratio by column.

    Raises:
        ServerFailed, Refused: a server did not do its work.
    """
    chosen = list(columns())
    exact = any(kind is None for _, kind, _ in chosen)
    simulator = importlib.import_module("libcachesim") if exact else None
    for workload, draw in WORKLOADS.items():
        trace = draw(random.Random(seed), requests)
        for share in SHARES:
            entries = int(OBJECTS * share)
            row: dict[str, float] = {}
            for number, (title, kind, policy) in enumerate(chosen):
                if kind is None:
                    row[title] = exact_ratio(simulator, policy, entries, trace)
                else:
                    row[title] = hit_ratio(kind, directory / str(number), policy, entries, trace)
            yield f"{workload}, {share:.0%}", row


def means(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Of each column over all cases."""
    titles = next(iter(rows.values()))
    return {title: sum(row[title] for row in rows.values()) / len(rows) for title in titles}


def as_json(rows: dict[str, dict[str, float]], requests: int) -> dict[str, object]:
    return {"objects": OBJECTS, "requests": requests, "hit_ratios": rows, "means": means(rows)}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.eviction", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"of each run; default {REQUESTS:,}")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(words)
    facts = machine()
    print(
        f"{facts['cpu']}, commit {commit() or 'unknown'}; {OBJECTS:,} objects, {options.requests:,} requests"
    )
    print(head())
    rows: dict[str, dict[str, float]] = {}
    root = Path(tempfile.mkdtemp(prefix="grapevine-eviction-"))
    try:
        for name, row in measure(root, options.requests, options.seed):
            rows[name] = row
            print(line(name, row), flush=True)
        print(line("mean", means(rows)))
    except (ServerFailed, Refused) as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if options.json is not None:
        kinds = [kind for kind in (grapevine_kind(), redis_kind()) if kind is not None]
        write_figures(options.json, as_json(rows, options.requests), kinds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
