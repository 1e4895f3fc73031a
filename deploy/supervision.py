"""One process under supervision: when to start it, start it again, end it. A core without I/O.

Events go in, actions come out; the launcher (deploy/launcher.py) owns the process, the clock and the signals.

A process that dies is started again after a back-off that doubles while its lives are short and falls back
once one has lasted. The first pause is not zero on purpose: a replica should get the chance to take over
before its old primary returns with empty hands and has to be turned away.

A process that ends before the cluster was formed is not started again: on a first start an early end means a
wrong parameter or a taken port, and repeating that only hides the message.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

BACKOFF_FIRST_MS: Final = 500
BACKOFF_MOST_MS: Final = 10_000
LONG_LIFE_MS: Final = 10_000  # a life of this length forgives the short ones before it
TERMINATE_MS: Final = 10_000  # a node flushes its state and says goodbye; far less is normal


class State(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # for the back-off to pass
    STOPPING = "stopping"  # asked to end
    KILLING = "killing"  # did not end in time
    ENDED = "ended"


class Event(Enum):
    START = "start"
    READY = "ready"  # it answers on its port
    EXIT_AGAIN = "exited, may live again"
    EXIT_FINAL = "exited, may not live again"
    TIMER = "timer"
    STOP = "stop"


class Action(Enum):
    SPAWN = "spawn"
    ARM_BACKOFF = "arm the back-off timer"
    ARM_KILL = "arm the timer after which it is killed"
    DISARM = "disarm the timer"
    TERMINATE = "send SIGTERM"
    KILL = "send SIGKILL"
    GIVE_UP = "report that it ended for good"


# Pairs that cannot occur are not in the table and are our own mistake: `handle` raises for them.
#   IDLE, WAITING, ENDED have no process, so nothing can exit or become ready there;
#   a timer is armed in WAITING and STOPPING only (KILLING keeps none: SIGKILL needs no second try).
TABLE: Final[dict[tuple[State, Event], tuple[State, tuple[Action, ...]]]] = {
    (State.IDLE, Event.START): (State.STARTING, (Action.SPAWN,)),
    (State.IDLE, Event.STOP): (State.ENDED, ()),
    (State.STARTING, Event.READY): (State.RUNNING, ()),
    (State.STARTING, Event.EXIT_AGAIN): (State.WAITING, (Action.ARM_BACKOFF,)),
    (State.STARTING, Event.EXIT_FINAL): (State.ENDED, (Action.GIVE_UP,)),
    (State.STARTING, Event.STOP): (State.STOPPING, (Action.TERMINATE, Action.ARM_KILL)),
    (State.RUNNING, Event.READY): (State.RUNNING, ()),
    (State.RUNNING, Event.EXIT_AGAIN): (State.WAITING, (Action.ARM_BACKOFF,)),
    (State.RUNNING, Event.EXIT_FINAL): (State.ENDED, (Action.GIVE_UP,)),
    (State.RUNNING, Event.STOP): (State.STOPPING, (Action.TERMINATE, Action.ARM_KILL)),
    (State.WAITING, Event.TIMER): (State.STARTING, (Action.SPAWN,)),
    (State.WAITING, Event.STOP): (State.ENDED, (Action.DISARM,)),
    (State.STOPPING, Event.READY): (State.STOPPING, ()),
    (State.STOPPING, Event.EXIT_AGAIN): (State.ENDED, (Action.DISARM,)),
    (State.STOPPING, Event.EXIT_FINAL): (State.ENDED, (Action.DISARM,)),
    (State.STOPPING, Event.TIMER): (State.KILLING, (Action.KILL,)),
    (State.STOPPING, Event.STOP): (State.KILLING, (Action.DISARM, Action.KILL)),  # asked twice: in a hurry
    (State.KILLING, Event.READY): (State.KILLING, ()),
    (State.KILLING, Event.EXIT_AGAIN): (State.ENDED, ()),
    (State.KILLING, Event.EXIT_FINAL): (State.ENDED, ()),
    (State.KILLING, Event.STOP): (State.KILLING, ()),
    (State.ENDED, Event.STOP): (State.ENDED, ()),
}


class ImpossibleEvent(AssertionError):
    """The launcher reported something that cannot happen in this state: a bug of ours, never of a process."""


@dataclass(frozen=True, slots=True)
class Order:
    """An action for the launcher; `timer_ms` is the length of a timer to arm, else 0."""

    action: Action
    timer_ms: int = 0


class Supervision:
    """The life of one process.

    Args:
        restart: whether a process that dies is started again (once the cluster was formed).
    """

    def __init__(self, *, restart: bool) -> None:
        self.state = State.IDLE
        self.lives = 0  # how often it was started
        self._restart = restart
        self.is_formed = False
        self._spawned_ms = 0
        self._backoff_ms = BACKOFF_FIRST_MS

    def formed(self) -> None:
        """From now on an end is an accident and not a failed start."""
        self.is_formed = True

    def exited(self, now_ms: int) -> list[Order]:
        """The process has ended."""
        if now_ms - self._spawned_ms >= LONG_LIFE_MS:
            self._backoff_ms = BACKOFF_FIRST_MS
        again = self._restart and self.is_formed
        return self.handle(Event.EXIT_AGAIN if again else Event.EXIT_FINAL, now_ms)

    def handle(self, event: Event, now_ms: int) -> list[Order]:
        """Takes an event, returns what is to be done, in order.

        Args:
            now_ms: a clock that never falls.
        Raises:
            ImpossibleEvent: the pair is not in TABLE.
        """
        row = TABLE.get((self.state, event))
        if row is None:
            raise ImpossibleEvent(f"{event.value!r} in state {self.state.value!r}")
        self.state, actions = row
        return [self._order(action, now_ms) for action in actions]

    def _order(self, action: Action, now_ms: int) -> Order:
        if action is Action.SPAWN:
            self.lives += 1
            self._spawned_ms = now_ms
        elif action is Action.ARM_BACKOFF:
            wait_ms = self._backoff_ms
            self._backoff_ms = min(2 * self._backoff_ms, BACKOFF_MOST_MS)
            return Order(action, wait_ms)
        elif action is Action.ARM_KILL:
            return Order(action, TERMINATE_MS)
        return Order(action)
