"""A million keys that expire in the same second: what other requests notice.

A million small keys are stored with one and the same expiry (PXAT), beside 100,000 that stay. GETs of those
that stay come at even intervals, 10,000 a second over 50 connections; their p99.9 from the moment of expiry
until the last of the million is gone is compared with that of the seconds before.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.client import Client
from bench.load import LoadFailed
from bench.probe import Phase, Probe
from bench.servers import Kind, running

EXPIRING: Final = 1_000_000
QUICK_EXPIRING: Final = 20_000
STAYING: Final = 100_000
RATE_PER_S: Final = 10_000
VALUE_BYTES: Final = 64
QUIET_S: Final = 3.0
QUICK_QUIET_S: Final = 0.3
REPEATS: Final = 2
SLACKS: Final = (2, 6, 20)  # the expiry is set so many times as far ahead as storing should take
STORM_S_MAX: Final = 60.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Storm:
    server: str
    quiet: Phase
    storm: Phase
    seconds: float  # from the moment of expiry until the last key was gone

    @property
    def ratio(self) -> float:
        return self.storm.gets.percentiles_us["99.9"] / self.quiet.gets.percentiles_us["99.9"]


def measure(kind: Kind, probe: Probe, directory: Path, *, quick: bool) -> Storm:
    """Raises: LoadFailed, ServerFailed, Refused."""
    expiring = QUICK_EXPIRING if quick else EXPIRING
    quiet_s = QUICK_QUIET_S if quick else QUIET_S
    with running(kind, directory) as server, Client(server.port) as client:
        # Stored far ahead of their expiry and then given the one moment, however long storing takes.
        probe.run(server.port, fill=True, keys=STAYING, pipeline=64, connections=4, value_bytes=VALUE_BYTES)
        began = time.monotonic()
        fill = {"first_key": STAYING, "pipeline": 64, "connections": 4, "value_bytes": VALUE_BYTES}
        pilot = min(expiring, 50_000)
        probe.run(server.port, fill=True, keys=pilot, **fill)
        fill_s = (time.monotonic() - began) * expiring / pilot
        for slack in SLACKS:
            moment_s = time.time() + slack * fill_s + quiet_s + 1.0
            probe.run(server.port, fill=True, keys=expiring, expire_at_ms=int(moment_s * 1000), **fill)
            left_s = moment_s - time.time()
            if left_s > quiet_s:
                break
        else:
            raise LoadFailed(f"{kind.name}: storing took longer than {SLACKS[-1]} times what was foreseen")
        with probe.start(server.port, rate=RATE_PER_S, keys=STAYING, value_bytes=VALUE_BYTES) as ask:
            time.sleep(max(0.0, left_s - quiet_s))
            ask.end_phase("warm")
            time.sleep(max(0.0, moment_s - time.time() - 0.01))
            quiet = ask.end_phase("quiet")
            while client.integer(b"DBSIZE") > STAYING:
                if time.time() > moment_s + STORM_S_MAX:
                    raise LoadFailed(f"{kind.name}: keys are left {STORM_S_MAX:.0f} s after they expired")
                time.sleep(POLL_S)
            seconds = time.time() - moment_s
            return Storm(server.name, quiet, ask.end_phase("storm"), seconds)


def as_json(storms: list[Storm]) -> dict[str, object]:
    return {
        "rate_per_s": RATE_PER_S,
        "expiring": EXPIRING,
        "storms": [{**asdict(each), "ratio": each.ratio} for each in storms],
    }


HEAD: Final = (
    f"{'server':10}{'gone after s':>14}{'quiet p99.9 us':>16}{'p99.9 us':>10}{'max us':>10}{'ratio':>8}"
)


def line(storm: Storm) -> str:
    gets = storm.storm.gets.percentiles_us
    return (
        f"{storm.server:10}{storm.seconds:14.2f}{storm.quiet.gets.percentiles_us['99.9']:16.0f}"
        f"{gets['99.9']:10.0f}{gets['100']:10.0f}{storm.ratio:7.2f}x"
    )
