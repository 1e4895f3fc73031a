"""Scenarios are data: a TOML file says what is drawn, the seed draws it, the options are printed.

    about = "one line for people"
    safety_ms = [20000, 30000]      # how long faults happen
    liveness_ms = 15000             # and how soon after healing everything must work
    durability = ["async", "quorum"]  # drawn from these, or one of them; async when missing
    failovers_max = 0               # more than so many count as needless; any number when missing

    [cluster]                       # numbers, or ranges to draw from, as everywhere
    nodes = 6
    shards = 3
    voters = 5

    [clients]                       # each does one thing at a time, and rests in between
    count = 6
    rest_ms = [20, 80]
    value_bytes = 400               # of what is written, at least
    moved_only = true               # an error that is no MOVED, or a lost connection, is a violation
    wait_ms_max = 200               # so is an operation that takes longer
    lasts_ms = [500, 5000]          # time to live of what is written to keys of its own; none when missing

    [clocks]                        # drawn for each machine
    spread_ms = 100000              # so far ahead, at most
    drift_ppm = 500                 # so much too fast or too slow, at most

    [settings]                      # parameters of the nodes
    repl-backlog-size = "16kb"

    [network]
    delay_ms = [1, 3]
    loss = [0.0, 0.05]

    [[fault]]                       # any number of them
    kind = "kill"                   # chaos/sim/faults.py lists them
    target = "primary"              # or "replica", or "any"
    every_ms = [3000, 6000]         # pause before each one
    for_ms = [200, 4000]            # until restart, resume, mending
    lose_disk = 0.2                 # kill: how likely the disk goes, once in a run at most
    torn = true                     # it is not empty then but damaged

Unknown keys are refused: a misspelt fault would be one that never happens.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from chaos.sim.network import Weather

DIRECTORY: Final = Path(__file__).parent.parent / "scenarios"
ANY_NUMBER: Final = 1 << 30
DURABILITIES: Final = ("async", "quorum")
KINDS: Final = (
    "kill", "freeze", "kill-in-turn", "freeze-in-turn", "kill-many", "kill-voters", "partition", "one-way",
    "swizzle", "cut-link", "cut-voters", "reset", "set-clock", "slow-disk", "disk-errors", "move",
    "old-disk", "lost-fsync", "hand-over", "give-back", "force", "change-voters", "leave", "replace",
)  # fmt: skip
TARGETS: Final = ("primary", "replica", "any")


class BadScenario(Exception):
    """A scenario file that cannot be run. The text names the file and the key."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Happens again and again while faults last; both times are drawn anew each time."""

    kind: str
    target: str
    every_ms: tuple[int, int]
    for_ms: tuple[int, int]
    lose_disk: float
    torn: bool


@dataclass(frozen=True, slots=True)
class Options:
    """One run, drawn."""

    scenario: str
    nodes: int
    shards: int
    voters: int
    safety_ms: int
    liveness_ms: int
    failovers_max: int
    durability: str
    clients: int
    rest_ms: tuple[int, int]
    value_bytes: int
    lasts_ms: tuple[int, int]
    moved_only: bool
    wait_ms_max: int
    settings: tuple[str, ...]
    clocks: tuple[tuple[int, int], ...]
    weather: Weather
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        weather = self.weather
        faults = " ".join(
            f"{fault.kind}({fault.target} every {fault.every_ms[0]}-{fault.every_ms[1]} ms"
            f" for {fault.for_ms[0]}-{fault.for_ms[1]} ms"
            + (f" lose-disk {fault.lose_disk})" if fault.lose_disk else ")")
            for fault in self.faults
        )
        return (
            f"nodes={self.nodes} shards={self.shards} voters={self.voters} safety_ms={self.safety_ms}"
            f" liveness_ms={self.liveness_ms} durability={self.durability} clients={self.clients}"
            f" rest_ms={self.rest_ms[0]}-{self.rest_ms[1]}"
            + (f" lasts_ms={self.lasts_ms[0]}-{self.lasts_ms[1]}" if self.lasts_ms[1] else "")
            + f" settings={','.join(self.settings) or 'none'}"
            f" clocks={','.join(f'{ahead:+d}{drift:+d}ppm' for ahead, drift in self.clocks)}"
            f" delay_ms={weather.delay_ms[0]}-{weather.delay_ms[1]} loss={weather.loss:.3f}"
            f" duplicate={weather.duplicate:.3f} late={weather.late:.3f} faults: {faults or 'none'}"
        )


def names() -> tuple[str, ...]:
    """The scenarios there are."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.toml")))


def draw(name: str, dice: Random) -> Options:
    """Read a scenario and roll the dice for everything that it leaves open.

    Raises:
        BadScenario: no such scenario, or its file makes no sense.
    """
    path = DIRECTORY / f"{name}.toml"
    if name not in names():
        raise BadScenario(f"no scenario is called {name!r}; there are {', '.join(names())}")
    return draw_from(name, tomllib.loads(path.read_text()), dice)


def draw_from(name: str, content: Mapping[str, object], dice: Random) -> Options:
    """As `draw`, from what such a file holds."""
    top = _Table(name, "", content, dice)
    cluster = _Table(name, "cluster.", top.table("cluster"), dice)
    network = _Table(name, "network.", top.table("network"), dice)
    top.text("about", None)
    clients = _Table(name, "clients.", top.table("clients"), dice)
    clocks = _Table(name, "clocks.", top.table("clocks"), dice)
    spread_ms, drift_ppm = clocks.whole("spread_ms"), clocks.whole("drift_ppm")
    nodes = cluster.integer("nodes", 6)
    settings = top.table("settings")
    options = Options(
        scenario=name,
        nodes=nodes,
        shards=cluster.integer("shards", 3),
        voters=cluster.integer("voters", 5),
        safety_ms=top.integer("safety_ms", None),
        liveness_ms=top.integer("liveness_ms", None),
        durability=dice.choice(top.words("durability", DURABILITIES, ("async",))),
        failovers_max=top.whole("failovers_max", ANY_NUMBER),
        clients=clients.integer("count", 6),
        rest_ms=clients.span("rest_ms", (20, 80)),
        value_bytes=clients.whole("value_bytes"),
        lasts_ms=clients.span("lasts_ms", (0, 0)),
        moved_only=clients.flag("moved_only"),
        wait_ms_max=clients.whole("wait_ms_max", ANY_NUMBER),
        settings=tuple(f"{key}={value}" for key, value in settings.items()),
        clocks=tuple((dice.randint(0, spread_ms), dice.randint(-drift_ppm, drift_ppm)) for _ in range(nodes)),
        weather=Weather(
            network.span("delay_ms", (1, 3)),
            network.chance("loss"),
            network.chance("duplicate"),
            network.chance("late"),
        ),
        faults=tuple(_fault(name, table, dice) for table in top.tables("fault")),
    )
    for table in (top, cluster, network, clients, clocks):
        table.refuse_rest()
    if not 1 <= options.shards <= options.nodes or not 1 <= options.voters <= min(7, options.nodes):
        raise BadScenario(f"scenario {name}: {options.shards} shards and {options.voters} voters"
                          f" do not fit {options.nodes} nodes")  # fmt: skip
    return options


def _fault(name: str, content: Mapping[str, object], dice: Random) -> Fault:
    table = _Table(name, "fault.", content, dice)
    fault = Fault(
        table.text("kind", KINDS),
        table.text("target", TARGETS, "any"),
        table.span("every_ms", None),
        table.span("for_ms", None),
        table.chance("lose_disk"),
        table.flag("torn"),
    )
    table.refuse_rest()
    return fault


class _Table:
    """Typed access to one TOML table; remembers which keys nobody asked for."""

    def __init__(self, name: str, prefix: str, content: Mapping[str, object], dice: Random) -> None:
        self._where, self._left, self._dice = f"scenario {name}: {prefix}", dict(content), dice

    def _bad(self, key: str, wanted: str, value: object) -> BadScenario:
        return BadScenario(f"{self._where}{key} = {value!r}: must be {wanted}")

    def table(self, key: str) -> Mapping[str, object]:
        value = self._left.pop(key, {})
        if not isinstance(value, dict):
            raise self._bad(key, "a table", value)
        return value

    def tables(self, key: str) -> list[Mapping[str, object]]:
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._bad(key, "tables, [[...]]", value)
        return list(value)

    def text(self, key: str, allowed: tuple[str, ...] | None, default: str = "") -> str:
        value = self._left.pop(key, default)
        if not isinstance(value, str) or (allowed is not None and value not in allowed):
            raise self._bad(key, "one of " + ", ".join(allowed) if allowed else "text", value)
        return value

    def words(self, key: str, allowed: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._left.pop(key, list(default))
        if not isinstance(value, list) or not all(word in allowed for word in value):
            raise self._bad(key, "a list of " + ", ".join(allowed), value)
        return tuple(value)

    def span(self, key: str, default: tuple[int, int] | None) -> tuple[int, int]:
        """A range that stays one, drawn from each time."""
        value = self._left.pop(key, None)
        if value is None and default is not None:
            return default
        if isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value):
            low, high = value
            if 0 <= low <= high:
                return low, high
        raise self._bad(key, "[least, most], whole ms", value)

    def integer(self, key: str, default: int | None) -> int:
        """A number, or one drawn from a range."""
        value = self._left.pop(key, default)
        if type(value) is int and value > 0:
            return value
        if isinstance(value, list):
            self._left[key] = value
            low, high = self.span(key, None)
            return self._dice.randint(low, high)
        raise self._bad(key, "a number above 0 or [least, most]", value)

    def flag(self, key: str) -> bool:
        """False when missing."""
        value = self._left.pop(key, False)
        if isinstance(value, bool):
            return value
        raise self._bad(key, "true or false", value)

    def whole(self, key: str, default: int = 0) -> int:
        """A number of at least 0."""
        value = self._left.pop(key, default)
        if type(value) is int and value >= 0:
            return value
        raise self._bad(key, "a whole number of at least 0", value)

    def chance(self, key: str) -> float:
        """A probability, or one drawn from a range; 0 when missing."""
        value = self._left.pop(key, 0.0)
        low, high = value if isinstance(value, list) and len(value) == 2 else (value, value)
        if isinstance(low, float) and isinstance(high, float) and 0 <= low <= high <= 1:
            return self._dice.uniform(low, high) if low < high else low
        raise self._bad(key, "0.0 to 1.0 or [least, most]", value)

    def refuse_rest(self) -> None:
        for key, value in self._left.items():
            raise BadScenario(f"{self._where}{key} = {value!r}: no such key")
