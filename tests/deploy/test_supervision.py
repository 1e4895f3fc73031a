"""deploy/supervision.py: every pair of state and event, and lives of a process as its launcher sees them."""

from itertools import product

import pytest

from deploy.supervision import (
    BACKOFF_FIRST_MS,
    BACKOFF_MOST_MS,
    LONG_LIFE_MS,
    TABLE,
    TERMINATE_MS,
    Action,
    Event,
    ImpossibleEvent,
    Order,
    State,
    Supervision,
)


def in_state(state: State) -> Supervision:
    core = Supervision(restart=True)
    core.formed()
    core.state = state
    return core


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_moves_or_is_refused(state: State, event: Event) -> None:
    core = in_state(state)
    if (state, event) in TABLE:
        becomes, actions = TABLE[state, event]
        assert [order.action for order in core.handle(event, 0)] == list(actions)
        assert core.state is becomes
    else:
        with pytest.raises(ImpossibleEvent, match=state.value):
            core.handle(event, 0)
        assert core.state is state


@pytest.mark.parametrize("state", list(State))
def test_a_stop_always_leads_to_the_end(state: State) -> None:
    core = in_state(state)
    core.handle(Event.STOP, 0)
    if core.state is State.STOPPING:  # it has a process, and that takes no notice
        core.handle(Event.TIMER, TERMINATE_MS)
        assert core.state is State.KILLING
    if core.state is State.KILLING:
        core.exited(TERMINATE_MS)
    assert core.state is State.ENDED


def test_a_process_is_alive_exactly_where_it_can_exit() -> None:
    alive = {State.STARTING, State.RUNNING, State.STOPPING, State.KILLING}
    assert {state for state, event in TABLE if event is Event.EXIT_FINAL} == alive
    assert {state for state, event in TABLE if event is Event.EXIT_AGAIN} == alive


def live_and_die(core: Supervision, now_ms: int, life_ms: int) -> tuple[int, int]:
    """One life from its spawn at `now_ms` to the next spawn: that moment, and the back-off before it."""
    core.handle(Event.READY, now_ms)
    (order,) = core.exited(now_ms + life_ms)
    assert order.action is Action.ARM_BACKOFF
    later_ms = now_ms + life_ms + order.timer_ms
    assert core.handle(Event.TIMER, later_ms) == [Order(Action.SPAWN)]
    return later_ms, order.timer_ms


def test_backoff_doubles_up_to_its_limit_and_forgives_after_a_long_life() -> None:
    core = Supervision(restart=True)
    core.formed()
    assert core.handle(Event.START, 0) == [Order(Action.SPAWN)]
    now_ms, waits = 0, []
    for _ in range(7):
        now_ms, wait_ms = live_and_die(core, now_ms, life_ms=100)
        waits.append(wait_ms)
    assert waits == [BACKOFF_FIRST_MS * 2**n for n in range(5)] + [BACKOFF_MOST_MS] * 2
    now_ms, wait_ms = live_and_die(core, now_ms, life_ms=LONG_LIFE_MS)
    assert wait_ms == BACKOFF_FIRST_MS
    assert core.lives == 9


def test_an_end_before_the_cluster_was_formed_is_final() -> None:
    core = Supervision(restart=True)
    core.handle(Event.START, 0)
    assert core.exited(300) == [Order(Action.GIVE_UP)]
    assert core.state is State.ENDED


def test_without_restart_an_end_is_final() -> None:
    core = Supervision(restart=False)
    core.handle(Event.START, 0)
    core.handle(Event.READY, 100)
    core.formed()
    assert core.exited(300) == [Order(Action.GIVE_UP)]


def test_stopping_asks_first_and_kills_when_time_is_up() -> None:
    core = in_state(State.RUNNING)
    assert core.handle(Event.STOP, 0) == [Order(Action.TERMINATE), Order(Action.ARM_KILL, TERMINATE_MS)]
    assert core.handle(Event.TIMER, TERMINATE_MS) == [Order(Action.KILL)]
    assert core.exited(TERMINATE_MS + 5) == []


def test_asked_twice_it_is_killed_at_once() -> None:
    core = in_state(State.RUNNING)
    core.handle(Event.STOP, 0)
    assert core.handle(Event.STOP, 10) == [Order(Action.DISARM), Order(Action.KILL)]
