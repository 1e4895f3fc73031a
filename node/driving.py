"""Who sleeps: the pump on behalf of everybody, and never while a trio task could run.

    trio: run what is ready -> (epoll_wait 0) -> run what is ready -> ... nothing is ready but this task
    pump:    epoll_wait(clients and trio's own epoll descriptor, until trio's next deadline)

Trio always finds this task ready, so it never sleeps itself. The pump does, until a client says something, or
a socket, thread or signal that trio waits for is ready (all of them show in trio's epoll descriptor), or
trio's next deadline has come. While clients keep the pump busy the same things give trio its turn: the
pump looks after each turn, which takes 1 ms and what one command takes.

What a task could do without any of that, because another one woke it, `Bystanders` knows.
"""

from __future__ import annotations

import math
import os
import re
import socket
from pathlib import Path
from typing import Final

import trio
import trio.lowlevel

from node.engine.pump import Pump

# How long the pump works while a task waits for its turn. The turn in which that time runs out takes another
# ms at most (TURN_US in pump.pyx), so a task waits for 2 ms. A round through trio costs about 60 us: 6 %.
SHARED_US: Final = 1_000
# The same while nobody does: for whatever is noticed in no other way.
ALONE_US: Final = 100_000
SLEEP_MAX_S: Final = 60.0  # when trio has no deadline at all
SEARCH_ROUNDS: Final = 100


class Bystanders(trio.abc.Instrument):
    """Which tasks wait for nothing but their turn, and tells the pump when there is a new one."""

    def __init__(self, pump: Pump, own: trio.lowlevel.Task) -> None:
        self._pump = pump
        self._own = own
        self._ready: set[trio.lowlevel.Task] = set()

    @property
    def ready(self) -> bool:
        return bool(self._ready)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is not self._own:
            self._ready.add(task)
            self._pump.leave_soon()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._ready.discard(task)


async def drive_pump(pump: Pump, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Gives the pump the processor whenever a client wants something. Runs until cancelled."""
    bystanders = Bystanders(pump, trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(bystanders)
    try:
        pump.watch_others(await epoll_of_trio())
        task_status.started()
        while True:
            sleep_us = 0
            if not bystanders.ready:
                sleep_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
                sleep_us = max(0, math.ceil(min(sleep_s, SLEEP_MAX_S) * 1_000_000))
            pump.run(ALONE_US if sleep_us else SHARED_US, sleep_us)
            await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(bystanders)


async def epoll_of_trio() -> int:
    """The descriptor that trio's event loop waits on.

    Trio does not tell, so we let it watch a socket and ask the kernel who watches that one.

    Raises:
        RuntimeError: no epoll descriptor of this process does (/proc is not mounted, or this is no Linux).
    """
    watched, other = socket.socketpair()
    with watched, other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, watched)
            try:
                for _ in range(SEARCH_ROUNDS):
                    await trio.lowlevel.checkpoint()
                    found = _epoll_that_watches(watched.fileno())
                    if found is not None:
                        return found
            finally:
                nursery.cancel_scope.cancel()
    raise RuntimeError("cannot find the descriptor of trio's event loop: is /proc mounted?")


def _epoll_that_watches(fd: int) -> int | None:
    mark = re.compile(rf"^tfd:\s+{fd}\s", re.MULTILINE)
    for entry in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            if os.readlink(f"/proc/self/fd/{entry}") != "anon_inode:[eventpoll]":
                continue
            if mark.search(Path(f"/proc/self/fdinfo/{entry}").read_text()):
                return int(entry)
        except FileNotFoundError:  # the descriptor of this very listing, or closed meanwhile
            continue
    return None
