"""Waiting for something that announces nothing: look again and again, until a deadline."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")

LIMIT_S = 30.0
LOOK_S = 0.02  # between two looks from outside of the process
LOOK_INSIDE_S = 0.002


def wait_until(
    condition: Callable[[], T],
    what: str = "what was waited for",
    *,
    within_s: float = LIMIT_S,
    describe: Callable[[], object] | None = None,
) -> T:
    """Looks until `condition` holds.

    Args:
        condition: asked at least once; what it raises ends the wait.
        what: is waited for, for the failure's text.
        describe: more for that text, such as logs.

    Returns:
        The condition's answer.

    Raises:
        AssertionError: it did not hold in time.
    """
    deadline_s = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline_s, _failure(what, within_s, describe)
        time.sleep(LOOK_S)
    return answer


async def until(
    condition: Callable[[], object | Awaitable[object]],
    what: str = "what was waited for",
    *,
    within_s: float = LIMIT_S,
    describe: Callable[[], object] | None = None,
) -> None:
    """`wait_until` for a trio task; the condition may be a coroutine function that asks somebody."""
    with trio.move_on_after(within_s):
        while True:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            await trio.sleep(LOOK_INSIDE_S)
    raise AssertionError(_failure(what, within_s, describe))


def _failure(what: str, within_s: float, describe: Callable[[], object] | None) -> str:
    return f"{what}: not within {within_s:g} s{f'; {describe()}' if describe else ''}"
