"""Simulated clients: each does one thing at a time, follows MOVED, tries again, and writes down what it saw.

A client reaches every node whatever is cut between nodes: that is the worst case, since it can then see both
sides of a partition. What it got back decides what is known of an operation:

    a value or OK                              it happened, between call and reply
    an error that refuses (MOVED, CLUSTERDOWN) it did not; the client tries again
    UNKNOWN, no reply in time, a broken link   unknown: it may happen at any time from the call on, or never

Where a scenario says so, each client also has keys of its own, which it writes with a time to live.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from chaos.checkers.linearizable import PENDING, Operation
from chaos.sim.checkers import Violation
from chaos.sim.histories import Key, Office
from chaos.sim.streams import End
from node.replication.link import command_bytes

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster
    from chaos.sim.scenario import Options

Address = tuple[str, int]

PATIENCE_MS: Final = (300, 1500)
REST_MS: Final = (10, 80)
OWN_KEYS: Final = 3
OWN_SHARE: Final = 0.5
"""How often a client that has keys of its own uses one of them."""
REFUSALS: Final = (
    b"-MOVED",
    b"-CLUSTERDOWN",
    b"-LOADING",
    b"-MASTERDOWN",
    b"-TRYAGAIN",
    b"-NOREPLICAS",
    b"-READONLY",
)


class Client:
    """Runs from `start` to `stop`.

    Args:
        number: names it. options: how it goes about it, and what it puts up with.
    """

    def __init__(self, cluster: Cluster, number: int, keys: tuple[Key, ...], options: Options) -> None:
        self._cluster, self._keys, self._rest_ms = cluster, keys, options.rest_ms
        self._lasts_ms = options.lasts_ms
        self._own = tuple(_own_key(key, number) for key in keys[:OWN_KEYS]) if options.lasts_ms[1] else ()
        self._moved_only, self._wait_ms_max = options.moved_only, options.wait_ms_max
        self._began_ms = self._duration_ms = self._first_asked_ms = 0
        self._events = cluster.events
        self._dice: Random = cluster.events.dice(f"client {number}")
        self._number = number
        self._value_bytes = options.value_bytes
        self._ends: dict[Address, End] = {}
        self._owners: dict[int, Address] = {}
        self._attempt = 0
        self._writes = 0
        self._over = False
        self._operation: Operation | None = None
        self._key = keys[0]
        self._asked: End | None = None
        self._asked_life = ""
        self._request = b""

    def start(self) -> None:
        self._rest(self._rest_ms)

    def stop(self) -> None:
        """Begins nothing new."""
        self._over = True

    def _rest(self, span_ms: tuple[int, int]) -> None:
        self._events.at(self._events.now_ms + self._dice.randint(*span_ms), self._begin)

    def _begin(self) -> None:
        if self._over:
            return
        dice = self._dice
        own = bool(self._own) and dice.random() < OWN_SHARE
        self._key = key = dice.choice(self._own if own else self._keys)
        if dice.random() < 0.5:
            self._request, kind, value = command_bytes(b"GET", key.name), "read", None
        elif key.kind == "register":
            self._writes += 1
            value = (b"%d.%d" % (self._number, self._writes)).ljust(self._value_bytes, b".")
            self._request, kind = command_bytes(b"SET", key.name, value), "write"
        elif key.kind == "lapsing":
            self._writes += 1
            value, kind = b"%d.%d" % (self._number, self._writes), "write"
            self._duration_ms = dice.randint(*self._lasts_ms)
            self._request = command_bytes(b"SET", key.name, value, b"PX", b"%d" % self._duration_ms)
        else:
            self._request, kind, value = command_bytes(b"INCR", key.name), "increment", None
        self._operation = Operation(kind, value, 0, PENDING)
        self._first_asked_ms = self._events.now_ms
        self._try(self._owners.get(key.slot) or self._anybody())

    def _anybody(self) -> Address:
        return self._dice.choice(self._cluster.client_addresses())

    def _try(self, address: Address) -> None:
        self._attempt += 1
        attempt = self._attempt
        self._events.at(
            self._events.now_ms + self._dice.randint(*PATIENCE_MS),
            lambda: self._out_of_time(attempt, address),
        )
        end = self._ends.get(address)
        if end is not None and end.open:
            self._ask(end, address)
            return

        def connected(end: End | None) -> None:
            if attempt != self._attempt:
                if end is not None:
                    end.close()
                return
            if end is None:
                self._refused(address)
                return
            self._ends[address] = end
            end.gone = lambda _reset: self._broken(address, end)
            end.hear = lambda reply: self._answered(address, end, reply)
            self._ask(end, address)

        self._cluster.dial(None, address, connected)

    def _ask(self, end: End, address: Address) -> None:
        assert self._operation is not None
        self._asked, self._asked_life = end, self._cluster.life_at(address)
        self._operation.began = self._cluster.moment()
        self._operation.asked = True
        self._began_ms = self._events.now_ms
        end.note = self._key
        end.send(self._request)

    def _refused(self, address: Address) -> None:
        self._attempt += 1
        self._owners = {slot: owner for slot, owner in self._owners.items() if owner != address}
        self._again()

    def _again(self) -> None:
        """It did not happen: from the beginning, elsewhere perhaps."""
        assert self._operation is not None
        self._operation.asked = False
        if self._over:
            return
        attempt = self._attempt

        def retry() -> None:
            if attempt == self._attempt:
                self._try(self._owners.get(self._key.slot) or self._anybody())

        pause_ms = 0 if self._moved_only else self._dice.randint(*REST_MS)  # it just was told where to go
        self._events.at(self._events.now_ms + pause_ms, retry)

    def _out_of_time(self, attempt: int, address: Address) -> None:
        if attempt != self._attempt:
            return
        self._drop(address)
        self._unknown()

    def _broken(self, address: Address, end: End) -> None:
        if self._ends.get(address) is end:
            del self._ends[address]
            if self._operation is not None and self._operation.asked and self._asked is end:
                self._unknown()

    def _drop(self, address: Address) -> None:
        end = self._ends.pop(address, None)
        if end is not None:
            end.close()

    def _unknown(self) -> None:
        """Nobody can say whether it happened."""
        if self._moved_only:
            raise Violation(f"calm: nobody told client {self._number} what became of {self._request!r}")
        self._attempt += 1
        self._owners.pop(self._key.slot, None)
        operation, self._operation = self._operation, None
        assert operation is not None
        if operation.asked and operation.kind != "read":
            if self._key.kind == "lapsing":
                self._cluster.lapses.unknown(self._key.name)
            else:
                self._cluster.histories.add(self._key, operation, None, self._asked_life)
        self._rest(self._rest_ms)

    def _answered(self, address: Address, end: End, reply: bytes) -> None:
        operation = self._operation
        if operation is None or not operation.asked or self._asked is not end:
            raise Violation(f"replies: client {self._number} got {reply[:80]!r} without asking")
        self._attempt += 1
        if reply.startswith(b"-"):
            self._refusal(reply)
            return
        self._operation = None
        waited_ms = self._events.now_ms - self._first_asked_ms
        if waited_ms > self._wait_ms_max:
            raise Violation(f"calm: client {self._number} waited {waited_ms} ms for {self._request!r}")
        operation.ended = self._cluster.moment()
        if operation.kind != "write":
            operation.value = _value(reply)
        elif reply != b"+OK\r\n":
            raise Violation(f"replies: SET was answered with {reply[:80]!r}")
        office = end.note
        assert isinstance(office, Office)
        self._owners[self._key.slot] = address
        if self._key.kind == "lapsing":
            self._note_lapse(operation, office)
        else:
            self._cluster.histories.add(self._key, operation, office, self._asked_life)
        self._rest(self._rest_ms)

    def _note_lapse(self, operation: Operation, office: Office) -> None:
        lapses, name, now_ms = self._cluster.lapses, self._key.name, self._events.now_ms
        if operation.kind == "read":
            lapses.read(name, operation.value, self._began_ms, now_ms, office)
        else:
            assert operation.value is not None
            lapses.wrote(name, operation.value, self._began_ms, now_ms, self._duration_ms, office)

    def _refusal(self, reply: bytes) -> None:
        if reply.startswith(b"-UNKNOWN"):
            self._unknown()
            return
        if not reply.startswith(REFUSALS):
            raise Violation(f"replies: {self._request!r} was answered with {reply[:120]!r}")
        if self._moved_only and not reply.startswith(b"-MOVED"):
            raise Violation(f"calm: {self._request!r} was answered with {reply[:120]!r}")
        self._owners.pop(self._key.slot, None)
        words = reply.split()
        if words[0] == b"-MOVED":
            host, _, port = words[2].decode().rpartition(":")
            self._owners[self._key.slot] = (host, int(port))
        self._again()


def _own_key(like: Key, number: int) -> Key:
    """A key in the same slot that only client `number` uses."""
    return Key(b"{%b}.%d" % (like.name, number), like.slot, like.shard, "lapsing")


def _value(reply: bytes) -> bytes | None:
    """Of a bulk string, null or integer reply."""
    if reply == b"$-1\r\n":
        return None
    if reply.startswith(b"$"):
        return reply.split(b"\r\n", 2)[1]
    if reply.startswith(b":"):
        return reply[1:-2]
    raise Violation(f"replies: not a value: {reply[:80]!r}")
