"""What a snapshot costs the clients: p99.9 of GET while a data set is dumped, and while a replica takes it.

1 GB of data in a million values that do not compress; 10,000 requests a second at even intervals, a tenth of
them SETs, over 50 connections. First nobody disturbs, then a BGSAVE runs, then nobody, then a full sync to
a reader that throws it away as fast as it comes. The ratio of the disturbed to the quiet p99.9 is what
counts, and the memory that the snapshot needs beyond the data: growth of the peak of resident memory, and
for a server that forks also the pages that were copied (`rdb_last_cow_size`).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.client import Client, Refused, command
from bench.load import LoadFailed
from bench.measure import peak_resident_bytes, reset_peak_resident, resident_bytes
from bench.probe import Phase, Probe, Running
from bench.servers import Kind, Server, ServerFailed, running

VALUE_BYTES: Final = 1000
ENTRIES: Final = 1_000_000
QUICK_ENTRIES: Final = 20_000
RATE_PER_S: Final = 10_000
QUIET_S: Final = 4.0
QUICK_QUIET_S: Final = 0.3
DISTURBED_S_MAX: Final = 90.0
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Pause:
    """One disturbance of one server. `quiet` is the phase right before."""

    server: str
    what: str
    quiet: Phase
    disturbed: Phase
    seconds: float
    extra_bytes: int
    data_bytes: int

    @property
    def ratio(self) -> float:
        """Disturbed to quiet p99.9 of GET."""
        return self.disturbed.gets.percentiles_us["99.9"] / self.quiet.gets.percentiles_us["99.9"]

    @property
    def extra_share(self) -> float:
        return self.extra_bytes / self.data_bytes


def measure(kind: Kind, probe: Probe, directory: Path, *, quick: bool) -> tuple[list[Pause], list[str]]:
    """Measures one server; returns what was measured, and what the server cannot do.

    Raises:
        LoadFailed, ServerFailed, Refused: it did not come about.
    """
    entries = QUICK_ENTRIES if quick else ENTRIES
    quiet_s = QUICK_QUIET_S if quick else QUIET_S
    found: list[Pause] = []
    missing: list[str] = []
    with running(kind, directory) as server, Client(server.port) as client:
        if kind.name == "redis":
            client.ask([command(b"CONFIG", b"SET", b"repl-diskless-sync-delay", b"0")])
        load = {"keys": entries, "value_bytes": VALUE_BYTES}
        probe.run(server.port, fill=True, pipeline=64, connections=4, **load)
        with probe.start(server.port, rate=RATE_PER_S, sets=10, **load) as ask:
            time.sleep(quiet_s / 4)
            ask.end_phase("warm")
            for what, act in (("snapshot", _snapshot), ("full sync", _full_sync)):
                try:
                    found.append(_disturb(server, client, ask, what, act, quiet_s))
                except Refused as refused:
                    if "unknown command" not in str(refused):
                        raise
                    missing.append(what)
    return found, missing


def _disturb(
    server: Server,
    client: Client,
    ask: Running,
    what: str,
    act: Callable[[Server, Client], int],
    quiet_s: float,
) -> Pause:
    data_bytes = resident_bytes(server.pid)
    reset_peak_resident(server.pid)
    time.sleep(quiet_s)
    quiet = ask.end_phase("quiet")
    before = peak_resident_bytes(server.pid)
    began = time.monotonic()
    copied_bytes = act(server, client)
    seconds = time.monotonic() - began
    disturbed = ask.end_phase(what)
    extra_bytes = max(0, peak_resident_bytes(server.pid) - before) + copied_bytes
    return Pause(server.name, what, quiet, disturbed, seconds, extra_bytes, data_bytes)


def _snapshot(_server: Server, client: Client) -> int:
    """BGSAVE, to its end; returns the bytes that were copied for it."""
    client.ask([command(b"BGSAVE")])
    ends = time.monotonic() + DISTURBED_S_MAX
    while True:
        time.sleep(POLL_S)
        info = client.info("persistence")
        if info.get("rdb_bgsave_in_progress") == "0":
            break
        if time.monotonic() > ends:
            raise LoadFailed(f"a snapshot did not end within {DISTURBED_S_MAX:.0f} s")
    if info.get("rdb_last_bgsave_status") != "ok":
        raise ServerFailed(f"BGSAVE ended {info.get('rdb_last_bgsave_status')}")
    return int(info.get("rdb_last_cow_size", 0))


def _full_sync(server: Server, client: Client) -> int:
    with Client(server.port) as replica:
        done: list[int | Exception] = []

        def take() -> None:
            try:
                done.append(replica.full_sync())
            except (Refused, OSError) as error:
                done.append(error)

        reader = threading.Thread(target=take, daemon=True)
        reader.start()
        reader.join(DISTURBED_S_MAX)
        if not done:
            raise LoadFailed(f"a full sync did not end within {DISTURBED_S_MAX:.0f} s")
        if isinstance(done[0], Exception):
            raise LoadFailed(f"a full sync failed: {done[0]}")
    return int(client.info("persistence").get("rdb_last_cow_size", 0))


def as_json(pauses: list[Pause], missing: dict[str, list[str]]) -> dict[str, object]:
    return {
        "rate_per_s": RATE_PER_S,
        "value_bytes": VALUE_BYTES,
        "pauses": [{**asdict(each), "ratio": each.ratio, "extra_share": each.extra_share} for each in pauses],
        "missing": missing,
    }


HEAD: Final = (
    f"{'server':10}{'during':10}{'seconds':>8}{'quiet p99.9 us':>16}{'p99.9 us':>10}{'max us':>10}"
    f"{'ratio':>8}{'extra memory':>14}"
)


def line(pause: Pause) -> str:
    gets = pause.disturbed.gets.percentiles_us
    return (
        f"{pause.server:10}{pause.what:10}{pause.seconds:8.1f}"
        f"{pause.quiet.gets.percentiles_us['99.9']:16.0f}{gets['99.9']:10.0f}{gets['100']:10.0f}"
        f"{pause.ratio:7.2f}x{pause.extra_share:13.1%}"
    )
