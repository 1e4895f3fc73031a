"""Waiting for something that sends no event: look until a deadline."""

import time
from collections.abc import Callable

LOOK_S = 0.05
LIMIT_S = 30.0


def wait_until(
    condition: Callable[[], bool], what: str, *, describe: Callable[[], object] | None = None
) -> None:
    """Returns as soon as `condition` holds; fails with `what` and a description when it has not in time."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {LIMIT_S:g} s: {describe() if describe else ''}"
        time.sleep(LOOK_S)
