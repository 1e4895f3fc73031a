"""What a whole cluster costs when nothing happens, and what its clients feel when something does.

3 shards with a replica each, started by `grapevine up` as a user would: how long that takes, what every
member costs while nobody asks for anything, and then the rounds of `grapevine chaos`: a primary killed,
frozen, handed over. The same rounds hit a cluster of redis-server processes, with its own default of 15 s
before a member counts as dead, and with 1 s.
"""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import trio

from bench.measure import cpu_ns, resident_bytes, voluntary_switches
from bench.servers import ServerFailed
from chaos.client import Outcome
from chaos.peers import PeerOptions, redis_cluster
from chaos.ports import free_ports
from chaos.scenarios.hurt_primary import Fault, Plan, Result, run
from chaos.scenarios.watch import Patience
from chaos.topology import Address
from deploy.record import read_record
from deploy.spawn import child_environment, grapevine_argv

START_S: Final = 120.0
IDLE_S: Final = 30.0
SETTLE_S: Final = 3.0  # the last words of its forming
SEED: Final = 20
# A writer notices that a frozen server is silent after so long, twice when it then asks that one for the map:
# with 250 ms the worst of 20 rounds was 1,589 ms, with 100 ms 1,257 ms.
OP_TIMEOUT_MS: Final = 100.0
MEMBERS: Final = 6


@dataclass(frozen=True, slots=True)
class Idle:
    """A process of the cluster while nobody asked for anything."""

    name: str
    cpu_share: float  # of one core
    wakes_per_s: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Outage:
    """The rounds of one fault against one cluster."""

    server: str
    fault: str
    rounds: int
    gap_median_ms: float
    gap_worst_ms: float
    elsewhere_worst_ms: float
    acknowledged: int
    refused: int
    unknown: int
    missing: int


@contextmanager
def grapevine_cluster(directory: Path) -> Iterator[tuple[int, float]]:
    """The port of its first node and how many seconds `grapevine up` took; ended with the block.

    Raises:
        ServerFailed: it does not come up; the text is what the launcher says.
    """
    ports = free_ports(MEMBERS + 1)  # the last is the router's
    first, router = ports[0], ports[-1]
    words = ["up", "--detach", "--port", str(first), "--router-port", str(router), "--dir", str(directory)]
    began = time.monotonic()
    try:
        _grapevine(words)
        yield first, time.monotonic() - began
    finally:
        _grapevine(["down", "--dir", str(directory)])


def _grapevine(words: Sequence[str]) -> None:
    done = subprocess.run(
        grapevine_argv(words),
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    if done.returncode:
        raise ServerFailed(f"grapevine {words[0]}: {(done.stderr or done.stdout).strip()}")


def idle(directory: Path, seconds: float) -> list[Idle]:
    """What each process that `grapevine up` started there costs, over so many seconds."""
    record = read_record(directory)
    assert record is not None, "up has written it"
    pids = {each.name: each.key.pid for each in record.started}
    time.sleep(SETTLE_S if seconds >= SETTLE_S else 0)
    before = {name: (cpu_ns(pid), voluntary_switches(pid)) for name, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    passed_s = time.monotonic() - began
    return [
        Idle(
            name,
            (cpu_ns(pid) - before[name][0]) / 1e9 / passed_s,
            (voluntary_switches(pid) - before[name][1]) / passed_s,
            resident_bytes(pid),
        )
        for name, pid in pids.items()
    ]


def hurt(server: str, plan: Plan, peer: PeerOptions | None) -> Outage:
    """The rounds of one plan, against the cluster at plan.entry or, with `peer`, a throw-away one.

    Raises:
        ServerFailed: not all rounds could be made, or what was acknowledged could not be read back.
    """
    result = trio.run(_run, plan, peer)
    if result.ended_early or result.unread:
        raise ServerFailed(f"{server}, {plan.fault.value}: {result.ended_early or result.unread}")
    gaps = [each.victim_gap.length_ms for each in result.rounds]

    def count(outcome: Outcome) -> int:
        return sum(each.counts[outcome] for each in result.rounds)

    return Outage(
        server,
        plan.fault.value,
        len(gaps),
        median(gaps),
        max(gaps),
        max(each.other_gap.length_ms for each in result.rounds),
        result.acknowledged,
        count(Outcome.NOT_APPLIED),
        count(Outcome.UNKNOWN),
        len(result.losses),
    )


async def _run(plan: Plan, peer: PeerOptions | None) -> Result:
    async with AsyncExitStack() as stack:
        if peer is not None:
            directory = stack.enter_context(TemporaryDirectory(prefix="grapevine-bench-peer-"))
            addresses = await stack.enter_async_context(redis_cluster(Path(directory), peer))
            plan = replace(plan, entry=addresses[0])
        return await run(plan, lambda _: None)


def ours(port: int, quick: bool) -> Iterator[Outage]:
    for fault in Fault:
        plan = Plan(
            Address("127.0.0.1", port),
            fault,
            rounds=1 if quick else 20,
            seed=SEED,
            op_timeout_ms=OP_TIMEOUT_MS,
        )
        yield hurt("grapevine", plan, None)


def theirs(quick: bool) -> Iterator[Outage]:
    """redis-server's rounds: fewer, as each takes longer; with its own default only the killed primary."""
    for node_timeout_ms, faults, rounds in ((1_000, tuple(Fault), 5), (15_000, (Fault.KILL,), 2)):
        if quick and node_timeout_ms > 1_000:
            continue
        # late enough for the failover to be over before the victim comes back empty (chaos/peers.py)
        restart_ms = node_timeout_ms * 2.0 + 2_000
        peer = PeerOptions(node_timeout_ms=node_timeout_ms, restart_after_ms=restart_ms)
        for fault in faults:
            plan = Plan(
                Address("127.0.0.1", 0),
                fault,
                rounds=1 if quick else rounds,
                seed=SEED,
                op_timeout_ms=OP_TIMEOUT_MS,
                patience=Patience(restart_ms + 50_000, restart_ms + 20_000),
            )
            yield hurt(f"redis, node timeout {node_timeout_ms // 1000} s", plan, peer)


HEAD: Final = f"{'':24}{'':16}{'rounds':>7}{'gap ms':>9}{'worst':>9}{'elsewhere':>11}{'missing':>9}"


def line(each: Outage) -> str:
    return (
        f"{each.server:24}{each.fault:16}{each.rounds:7}{each.gap_median_ms:9.0f}{each.gap_worst_ms:9.0f}"
        f"{each.elsewhere_worst_ms:11.0f}{each.missing:9}"
    )


def as_json(up_s: float, members: Sequence[Idle], outages: Sequence[Outage]) -> dict[str, object]:
    return {
        "up_s": up_s,
        "idle": [
            {"name": each.name, "cpu_share": each.cpu_share, "wakes_per_s": each.wakes_per_s,
             "resident_bytes": each.resident_bytes}
            for each in members
        ],
        "outages": [
            {name: getattr(each, name) for name in Outage.__dataclass_fields__} for each in outages
        ],
    }  # fmt: skip
