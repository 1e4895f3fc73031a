"""What membership costs and how fast it is, from 10 to thousands of members, under virtual time.

    python -m bench.membership run --sizes 10,100,1000 --out docs/results/membership.json
    python -m bench.membership plot --out docs/results/membership.json --figures docs/results

Per size and share of lost packets: bytes a second that one member sends in a quiet cluster; how long a change
takes to reach everybody; how long until everybody holds a frozen member dead, whom nobody misses in
particular (a primary is noticed sooner, since its lease requests stop); and how often somebody is accused who
is well. Real cores, every packet encoded for its size; the network delays by 1 to 3 ms.

5,000 members hold 25 million entries about each other: 5 GB and some minutes of one core.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.plots import lines
from chaos.sim.membership import CLUSTER, Network, member_id, meta_of
from gossip.exchange import half
from gossip.members import Status
from gossip.messages import Codec

LOSSES: Final = (0.01, 0.1)
STEP_MS: Final = 10
VOTERS: Final = 5
QUIET_MS: Final = {10: 1_200_000, 100: 240_000, 1_000: 30_000, 5_000: 5_000}
TRIALS: Final = {10: 15, 100: 9, 1_000: 3, 5_000: 1}
LIMIT_MS: Final = 30_000
REST_MS: Final = 2_000  # after a trial, so that everybody's opinion of its own health recovers


@dataclass(frozen=True, slots=True)
class Figures:
    """One size under one share of loss. Times in ms of simulated time, medians of the trials, and the worst.

    Attributes:
        bytes_per_s, packets_per_s: datagrams that one member sends in a quiet cluster; the median, and the
            most of any. exchange_bytes_per_s: what its state exchanges over TCP come to.
        false_suspicions: accusations of members that are well, per member and hour; each was denied.
        false_deaths: members held dead by anybody although they are well.
    """

    members: int
    loss: float
    bytes_per_s: float
    bytes_per_s_max: float
    packets_per_s: float
    exchange_bytes_per_s: float
    spread_ms: float
    spread_ms_max: float
    detect_ms: float
    detect_ms_max: float
    false_suspicions: float
    false_deaths: int
    quiet_ms: int
    cpu_s: float


def nearest(table: dict[int, int], size: int) -> int:
    return table[min(table, key=lambda known: abs(known - size))]


def measure(net: Network, size: int, loss: float) -> Figures:
    """Everything about one network under one loss; it stays as it was, but for a few incarnations."""
    began_s = time.process_time()
    net.loss = loss
    net.run(2_000)
    quiet_ms = nearest(QUIET_MS, size)
    net.measure = True
    net.sights.clear()
    stations = list(net.stations.values())
    before = [(station.packets, station.bytes, station.core.incarnation) for station in stations]
    net.run(quiet_ms)
    sent = [station.bytes - was[1] for station, was in zip(stations, before, strict=True)]
    packets = [station.packets - was[0] for station, was in zip(stations, before, strict=True)]
    denied = sum(station.core.incarnation - was[2] for station, was in zip(stations, before, strict=True))
    wronged = len({sight.member for sight in net.deaths()})
    net.measure = False
    trials = nearest(TRIALS, size)
    spread = [spread_ms(net, VOTERS + trial % (size - VOTERS), f"s{trial}/{loss}") for trial in range(trials)]
    detect = [detect_ms(net, VOTERS + (trial + 1) % (size - VOTERS)) for trial in range(trials)]
    seconds = quiet_ms / 1_000
    return Figures(
        members=size,
        loss=loss,
        bytes_per_s=median(sent) / seconds,
        bytes_per_s_max=max(sent) / seconds,
        packets_per_s=median(packets) / seconds,
        exchange_bytes_per_s=exchange_bytes_per_s(net),
        spread_ms=median(spread),
        spread_ms_max=max(spread),
        detect_ms=median(detect),
        detect_ms_max=max(detect),
        false_suspicions=denied / (size * seconds / 3_600),
        false_deaths=wronged,
        quiet_ms=quiet_ms,
        cpu_s=round(time.process_time() - began_s, 1),
    )


def exchange_bytes_per_s(net: Network) -> float:
    """Each member asks somebody once a pause and is asked once: two halves."""
    core, codec = net.stations[0].core, Codec(CLUSTER)
    chunks = half(core.records(), ())
    size_bytes = sum(len(codec.encode(core.envelope(chunk))) for chunk in chunks)
    pause_ms = median(core.exchange_pause_ms() for _ in range(99))
    return 2_000 * size_bytes / pause_ms


def until_all(net: Network, numbers: list[int], knows: Callable[[int], bool]) -> int:
    """How long until all of these know; looked at every few ms. Raises TimeoutError."""
    began_ms = net.now_ms
    while numbers:
        if net.now_ms - began_ms > LIMIT_MS:
            raise TimeoutError(f"{len(numbers)} members do not know after {LIMIT_MS} ms")
        net.run(STEP_MS)
        numbers = [number for number in numbers if not knows(number)]
    return net.now_ms - began_ms


def spread_ms(net: Network, speaker: int, shard_id: str) -> int:
    """A member changes what it tells about itself."""
    net.stations[speaker].core.update_self(meta_of(speaker, shard_id), net.now_ms)
    net.act(speaker)
    subject = member_id(speaker)

    def knows(number: int) -> bool:
        listed = net.stations[number].core.members.get(subject)
        return listed is not None and listed.meta.shard_id == shard_id

    return until_all(net, [number for number in net.stations if number != speaker], knows)


def detect_ms(net: Network, victim: int) -> int:
    """A member freezes; afterwards it comes back and everybody sees it again."""
    others = [number for number in net.stations if number != victim]
    net.freeze(victim, LIMIT_MS)
    took_ms = until_all(net, others, lambda number: net.status(number, victim) is Status.DEAD)
    net.thaw(victim)
    until_all(net, others, lambda number: net.status(number, victim) is Status.ALIVE)
    net.run(REST_MS)
    return took_ms


def run(sizes: Sequence[int], seed: int, out: Path) -> None:
    """Measures and writes after each, keeping what the file has about other sizes."""
    for size in sizes:
        net = Network(size, seed, voters=VOTERS)
        net.introduce_everybody()
        for loss in LOSSES:
            figures = measure(net, size, loss)
            known = json.loads(out.read_text()) if out.exists() else []
            rows = [row for row in known if (row["members"], row["loss"]) != (size, loss)]
            rows.append(asdict(figures))
            rows.sort(key=lambda row: (row["members"], row["loss"]))
            out.write_text(json.dumps(rows, indent=1) + "\n")
            print(figures, flush=True)


def table(rows: list[dict[str, float]]) -> str:
    """As Markdown."""
    lines = [
        "| members | loss | bytes/s of a member (most of any) | packets/s | exchanges, bytes/s "
        "| a change everywhere, ms (worst) | a frozen member dead everywhere, ms (worst) "
        "| false suspicions per member-hour | false deaths |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['members']:,} | {row['loss']:.0%} | {row['bytes_per_s']:.0f} ({row['bytes_per_s_max']:.0f}) "
        f"| {row['packets_per_s']:.1f} | {row['exchange_bytes_per_s']:.0f} "
        f"| {row['spread_ms']:.0f} ({row['spread_ms_max']:.0f}) "
        f"| {row['detect_ms']:.0f} ({row['detect_ms_max']:.0f}) | {row['false_suspicions']:.2f} "
        f"| {row['false_deaths']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def plot(rows: list[dict[str, float]], directory: Path) -> None:
    """A picture for each figure, over the number of members."""
    pictures = (
        ("bytes_per_s", "Sent by one member", "bytes/s"),
        ("spread_ms", "A change known everywhere", "ms"),
        ("detect_ms", "A frozen member dead everywhere", "ms"),
        ("false_suspicions", "False suspicions of a member", "1/h"),
    )
    points = [f"{size:,.0f} members" for size in sorted({row["members"] for row in rows})]
    for name, title, unit in pictures:
        series = {
            f"{loss:.0%} of the packets lost": [row[name] for row in rows if row["loss"] == loss]
            for loss in LOSSES
        }
        picture = directory / f"membership-{name.replace('_', '-')}.svg"
        picture.write_text(lines(title, points, series, unit))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.membership", description=__doc__)
    parser.add_argument("what", choices=("run", "plot"))
    parser.add_argument("--sizes", default="10,100,1000", metavar="N,...", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results/membership.json"))
    parser.add_argument("--figures", type=Path, default=Path("docs/results"), help="directory (%(default)s)")
    options = parser.parse_args(argv)
    if options.what == "run":
        gc.disable()  # nothing here goes in circles, and to look through millions of entries takes minutes
        run([int(size) for size in options.sizes.split(",")], options.seed, options.out)
    else:
        rows = json.loads(options.out.read_text())
        plot(rows, options.figures)
        print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
