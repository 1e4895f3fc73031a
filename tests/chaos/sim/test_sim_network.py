"""chaos/sim/events.py and network.py: time, dice, and what happens to a datagram."""

from chaos.sim.events import Events
from chaos.sim.network import Network, Weather


def arrivals(weather: Weather, count: int = 200) -> list[tuple[int, int]]:
    """(when, which) of that many datagrams sent at once."""
    events = Events("seed")
    network = Network(events, weather)
    came: list[tuple[int, int]] = []
    for number in range(count):
        network.datagram(0, 1, lambda number=number: came.append((events.now_ms - 1_000, number)))  # type: ignore[misc]
    events.run_until(100_000)
    return came


def test_events_of_one_moment_keep_their_order() -> None:
    events = Events("seed")
    seen: list[int] = []
    for number in (3, 1, 2):
        events.at(1_010, lambda number=number: seen.append(number))  # type: ignore[misc]
    events.at(1_005, lambda: seen.append(0))
    assert events.run_until(1_010, lambda: len(seen) == 3)
    assert (seen, events.now_ms) == ([0, 3, 1], 1_010)
    assert not events.run_until(2_000)
    assert (seen[-1], events.now_ms) == (2, 2_000)


def test_dice_are_one_per_name() -> None:
    first, again, other = Events("7").dice("a"), Events("7").dice("a"), Events("7").dice("b")
    rolled = first.random()
    assert rolled == again.random()
    assert rolled != other.random()


def test_trace_and_marks_make_the_digest() -> None:
    told: list[str] = []
    one, two = Events("s", told.append), Events("s")
    one.trace("x")
    two.trace("x")
    assert one.digest == two.digest
    two.mark("packet")
    assert one.digest != two.digest
    assert told == ["    1000 x"]


def test_ordinary_weather_delivers_each_once_in_time() -> None:
    came = arrivals(Weather((2, 5)))
    assert sorted(number for _, number in came) == list(range(200))
    assert {at_ms for at_ms, _ in came} == {2, 3, 4, 5}


def test_bad_weather() -> None:
    assert 60 < len(arrivals(Weather(loss=0.5))) < 140
    assert len(arrivals(Weather(duplicate=1.0))) == 400
    assert max(arrivals(Weather(late=1.0)))[0] > 20


def test_cuts_have_a_direction_and_heal() -> None:
    events = Events("seed")
    network = Network(events, Weather(loss=1.0))
    network.cut(0, 1)
    assert not network.connected(0, 1)
    assert not network.connected(1, 0)
    network.mend(0, 1)
    assert network.connected(0, 1)
    network.part([0, 1], [1, 2])
    assert not network.connected(0, 2)
    network.heal()
    came: list[str] = []
    network.datagram(0, 2, lambda: came.append("there"))
    events.run_until(2_000)
    assert came == ["there"]
