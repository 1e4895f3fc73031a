"""One run: build, hurt, heal, demand progress.

setup      no faults; shards are founded and their primaries get leases
safety     faults and bad weather; only the promises that always hold are looked at
liveness   everything is healed; within a bound every slot must be served, by somebody all agree on
"""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from chaos.sim.checkers import Violation
from chaos.sim.cluster import Cluster
from chaos.sim.events import Events
from chaos.sim.faults import Faults
from chaos.sim.network import Network, Weather
from chaos.sim.scenario import ANY_NUMBER, Options, draw

PLANTED: Final[Mapping[str, tuple[str, str]]] = {
    "skip-lease": ("row-07-minority", "one-serving"),
    "late-reply": ("row-11-pause-before-reply", "one-serving"),
    "any-release": ("row-13-leases-given-back", "one-serving"),
    "skip-epoch": ("row-13-stale-claims", "epochs-rise"),
    "keep-office": ("row-10-long-pause", "one-owner"),
    "same-history": ("row-02-old-primary-returns", "prefix"),
    "empty-serves": ("row-06-empty-restart", "prefix"),
    "cached-read": ("row-10-long-pause", "linearizable"),
    "twice": ("row-10-long-pause", "linearizable"),
    "early-reply": ("row-21-quorum-lost", "acknowledged"),
    "jumping-clock": ("row-12-time-to-live", "lapses"),
    "never-stand": ("row-15-half-the-primaries", "liveness"),
    "hold-nobody": ("planned-failover", "calm"),
}
"""The bugs that can be planted: where each shows, and which checker has to speak."""
BUGS: Final = tuple(PLANTED)
SETUP_MS: Final = 5_000
SETTLE_MS: Final = 2_000
"""Until every member has written down which shard it belongs to."""
LOOK_MS: Final = 100
DRAIN_MS: Final = 2_000
"""After the last operation began: what is on its way arrives."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Attributes:
    violation: '' when every promise was kept.
    digest: of the whole trace. acknowledged: operations of clients that ended well. lost: writes of them
        that a failover forgot. converged_ms: from healing to the moment when everything worked.
    """

    seed: int
    violation: str
    digest: str
    simulated_ms: int
    converged_ms: int
    events: int
    acknowledged: int
    faults: int
    failovers: int
    lost: int


def options_of(scenario: str, seed: int, *, safety_ms_max: int = ANY_NUMBER) -> Options:
    """What this seed draws.

    Args:
        safety_ms_max: faults last no longer, and all else is as it would be until then. A scenario that
            bounds the number of failovers is not cut short.
    Raises:
        BadScenario: no such scenario, or its file makes no sense.
    """
    options = draw(scenario, Events(f"{scenario}/{seed}").dice("options"))
    if options.failovers_max != ANY_NUMBER:
        return options
    return replace(options, safety_ms=min(options.safety_ms, safety_ms_max))


def run(
    options: Options,
    seed: int,
    *,
    bugs: frozenset[str] = frozenset(),
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """The same options, seed and bugs give the same outcome, digest included.

    Raises:
        ValueError: a bug that does not exist.
    """
    if not bugs <= frozenset(BUGS):
        raise ValueError(f"planted bugs are {', '.join(BUGS)}, not {', '.join(sorted(bugs))}")
    gc.disable()  # so that nothing ends at a time of the collector's choice; and it is a tenth faster
    gc.freeze()  # what is there already needs no look when this run's remains are collected
    try:
        return _run(options, seed, bugs, tell)
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()


def _run(options: Options, seed: int, bugs: frozenset[str], tell: Callable[[str], None] | None) -> Outcome:
    events = Events(f"{options.scenario}/{seed}", tell)
    began_ms = events.now_ms
    network = Network(events, Weather(options.weather.delay_ms))
    cluster = Cluster(
        events,
        network,
        nodes=options.nodes,
        shards=options.shards,
        voters=options.voters,
        settings=options.settings,
        clocks=options.clocks,
        durability=options.durability,
        bugs=bugs,
    )
    faults = Faults(cluster, options.faults)
    violation, healed_ms, converged_ms = "", 0, -1
    try:
        if not _works_within(events, cluster, SETUP_MS):
            raise Violation(f"liveness: the cluster never began to work: {cluster.trouble()}")
        events.run_until(events.now_ms + SETTLE_MS)
        network.weather = options.weather
        cluster.start_clients(options)
        faults.start()
        events.run_until(events.now_ms + options.safety_ms)
        faults.stop()
        healed_ms = events.now_ms
        if not _works_within(events, cluster, options.liveness_ms):
            raise Violation(f"liveness: {options.liveness_ms} ms after healing: {cluster.trouble()}")
        converged_ms = events.now_ms - healed_ms
        if cluster.failed_over > options.failovers_max:
            raise Violation(
                f"calm: {cluster.failed_over} failovers, at most {options.failovers_max} are needed"
            )
        cluster.stop_clients()
        events.run_until(events.now_ms + DRAIN_MS)
        cluster.check_owners()
        cluster.check_copies()
        cluster.check_histories()
    except Violation as broken:
        violation = str(broken)
        events.trace(violation)
    return Outcome(
        seed=seed,
        violation=violation,
        digest=events.digest,
        simulated_ms=events.now_ms - began_ms,
        converged_ms=converged_ms,
        events=events.count,
        acknowledged=cluster.histories.count,
        faults=faults.injected,
        failovers=cluster.failed_over,
        lost=cluster.reigns.lost,
    )


def _works_within(events: Events, cluster: Cluster, bound_ms: int) -> bool:
    """Let time pass until nothing is in trouble."""
    end_ms = events.now_ms + bound_ms
    while events.now_ms < end_ms:
        events.run_until(events.now_ms + LOOK_MS)
        if not cluster.trouble():
            return True
    return False
