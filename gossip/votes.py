"""What voters say to each other: ballots, values, voter sets, and the messages of a round.

Everything here is immutable plain data with a strict decoder, so that the cores in register.py never meet a
half-formed message: garbage is refused at this one boundary as the peer's fault (`MessageError`).

On the wire a message is one msgpack array, `[kind, field, field, ...]`, fields in the order of the dataclass:

    ["prepare",  register, [counter, member], [version, [voter...], [joining...]]]
    ["promise",  register, [counter, member], null | [counter, member], null | [version, data]]
    ["accept",   register, [counter, member], [version, data], [version, [voter...], [joining...]]]
    ["accepted", register, [counter, member]]
    ["conflict", register, [counter, member], [counter, member]]   promised to somebody higher
    ["stale",    register, [counter, member], [version, [...], [...]]]   your voter set is outdated
    ["declined", register, [counter, member], reason]                    may not accept that change now
    ["list",     register, [counter, member], [version, [...], [...]]]
    ["names",    register, [counter, member], [name...]]

Every request carries the whole voter set (at most 14 ids, under 700 bytes). The alternative, a bare version
number, would need a second exchange to bring a stale member up to date, in exactly the moments when
messages get lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

Plain: TypeAlias = "bool | int | float | str | bytes | tuple[Plain, ...] | Mapping[str, Plain] | None"

VOTERS_MAX = 7
NAME_CHARACTERS_MAX = 128
REASON_CHARACTERS_MAX = 512
NAMES_MAX = 4096  # 500 shards and their neighbours, with room for the mistakes of years
VALUE_DEPTH_MAX = 6
VALUE_ITEMS_MAX = 32768  # a slot map with an own range per slot is 16384 triples in one tuple

_SCALARS = (bool, int, float, str, bytes)
_ARRAYS = (list, tuple)  # named here: a union in an expression is made anew each time it is looked at

VOTERS = "voters"
"""Name of the register that holds the voter set; it changes by its own rules, see register.py."""


class MessageError(ValueError):
    """A peer sent something that is not a well-formed register message. The peer's fault, never ours."""


def freeze(value: object, *, depth: int = 0) -> Plain:
    """A deeply immutable copy of plain data: lists become tuples, so that equal values compare equal after
    a trip through msgpack.

    Raises:
        MessageError: something in there is not plain data, too deep or too long.
    """
    if value is None or isinstance(value, _SCALARS):
        return value
    if depth >= VALUE_DEPTH_MAX:
        raise MessageError(f"register value nested deeper than {VALUE_DEPTH_MAX}")
    if isinstance(value, _ARRAYS):
        if len(value) > VALUE_ITEMS_MAX:
            raise MessageError(f"register value of {len(value)} items, more than {VALUE_ITEMS_MAX}")
        return tuple(freeze(item, depth=depth + 1) for item in value)
    if isinstance(value, Mapping):
        if len(value) > VALUE_ITEMS_MAX:
            raise MessageError(f"register value of {len(value)} fields, more than {VALUE_ITEMS_MAX}")
        frozen: dict[str, Plain] = {}
        for key in value:
            if not isinstance(key, str):
                raise MessageError(f"register value has a field name of type {type(key).__name__}, not str")
            frozen[key] = freeze(value[key], depth=depth + 1)
        return frozen
    raise MessageError(f"register value of type {type(value).__name__} is not plain data")


@dataclass(frozen=True, slots=True, order=True)
class Ballot:
    """Orders rounds: by counter, ties by the proposer's member id. A proposer never uses one twice."""

    counter: int
    member_id: str

    def to_wire(self) -> tuple[int, str]:
        return (self.counter, self.member_id)

    @classmethod
    def from_wire(cls, item: object) -> Ballot:
        if not isinstance(item, _ARRAYS) or len(item) != 2:
            raise MessageError("a ballot is [counter, member id]")
        counter, member_id = item
        if not isinstance(counter, int) or isinstance(counter, bool) or counter < 0 or counter >= 1 << 62:
            raise MessageError("a ballot's counter is an integer between 0 and 2**62")
        return cls(counter, _text(member_id, "a ballot's member id"))


ZERO_BALLOT = Ballot(0, "")


@dataclass(frozen=True, slots=True)
class Value:
    """A register's content and its place in the register's history: the successor has version + 1."""

    version: int
    data: Plain

    def to_wire(self) -> tuple[int, Plain]:
        return (self.version, self.data)

    @classmethod
    def from_wire(cls, item: object) -> Value:
        if not isinstance(item, _ARRAYS) or len(item) != 2:
            raise MessageError("a register value is [version, data]")
        return cls(_version(item[0]), freeze(item[1]))


@dataclass(frozen=True, slots=True)
class VoterSet:
    """Who votes. While `joining` is not empty the set is changing: a quorum is then a majority of `voters`
    *and* a majority of `joining` (the complete next set, not only the newcomers)."""

    version: int
    voters: tuple[str, ...]
    joining: tuple[str, ...] = ()

    def has_quorum(self, members: Iterable[str]) -> bool:
        """Whether these members form a majority; while joint, one of each set."""
        present = frozenset(members)
        if self.joining and not _is_majority(self.joining, present):
            return False
        return _is_majority(self.voters, present)

    def reached_ms(self, times_ms: Mapping[str, int]) -> int | None:
        """The latest time that a majority has reached (while joint, one of each set), None when too few have
        a time at all. Others than voters do not count.
        """
        latest_ms: int | None = None
        for electorate in (self.voters, self.joining) if self.joining else (self.voters,):
            reached = [times_ms[member] for member in electorate if member in times_ms]
            needed = len(electorate) // 2 + 1
            if len(reached) < needed:
                return None
            reached.sort(reverse=True)
            time_ms = reached[needed - 1]
            if latest_ms is None or time_ms < latest_ms:
                latest_ms = time_ms
        return latest_ms

    def everyone(self) -> tuple[str, ...]:
        """All that take part now, each once, in a fixed order."""
        if not self.joining:
            return self.voters
        return self.voters + tuple(member for member in self.joining if member not in self.voters)

    def as_value(self) -> Value:
        """As content of the register `voters`."""
        return Value(self.version, {"voters": self.voters, "joining": self.joining})

    @classmethod
    def from_value(cls, value: Value) -> VoterSet:
        data = value.data
        if not isinstance(data, Mapping):
            raise MessageError("the register 'voters' holds a map")
        return cls(value.version, _ids(data.get("voters")), _ids(data.get("joining", ())))

    def to_wire(self) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        return (self.version, self.voters, self.joining)

    @classmethod
    def from_wire(cls, item: object) -> VoterSet:
        if not isinstance(item, _ARRAYS) or len(item) != 3:
            raise MessageError("a voter set is [version, voters, joining]")
        return cls(_version(item[0]), _ids(item[1]), _ids(item[2]))


def _is_majority(electorate: tuple[str, ...], present: frozenset[str]) -> bool:
    return 2 * len(present.intersection(electorate)) > len(electorate)


# -- messages ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """Part of a round: which register, and the ballot that names the round."""

    KIND: ClassVar[str] = ""
    register: str
    ballot: Ballot

    def _rest(self) -> tuple[Plain, ...]:
        return ()

    def to_wire(self) -> tuple[Plain, ...]:
        return (self.KIND, self.register, self.ballot.to_wire(), *self._rest())


@dataclass(frozen=True, slots=True)
class Request(Message):
    """Asks a voter something; `voter_set` is the one the proposer counts majorities of."""

    voter_set: VoterSet


@dataclass(frozen=True, slots=True)
class Reply(Message):
    """Answers a request with the same register and ballot."""


@dataclass(frozen=True, slots=True)
class Prepare(Request):
    KIND: ClassVar[str] = "prepare"

    def _rest(self) -> tuple[Plain, ...]:
        return (self.voter_set.to_wire(),)


@dataclass(frozen=True, slots=True)
class Accept(Request):
    KIND: ClassVar[str] = "accept"
    value: Value

    def _rest(self) -> tuple[Plain, ...]:
        return (self.value.to_wire(), self.voter_set.to_wire())


@dataclass(frozen=True, slots=True)
class ListNames(Request):
    """Which registers do you hold? Part of a change of the voter set; the voter is pinned to it by this."""

    KIND: ClassVar[str] = "list"

    def _rest(self) -> tuple[Plain, ...]:
        return (self.voter_set.to_wire(),)


@dataclass(frozen=True, slots=True)
class Promise(Reply):
    KIND: ClassVar[str] = "promise"
    accepted_ballot: Ballot | None
    accepted: Value | None

    def _rest(self) -> tuple[Plain, ...]:
        return (
            None if self.accepted_ballot is None else self.accepted_ballot.to_wire(),
            None if self.accepted is None else self.accepted.to_wire(),
        )


@dataclass(frozen=True, slots=True)
class Accepted(Reply):
    KIND: ClassVar[str] = "accepted"


@dataclass(frozen=True, slots=True)
class Names(Reply):
    KIND: ClassVar[str] = "names"
    names: tuple[str, ...]

    def _rest(self) -> tuple[Plain, ...]:
        return (self.names,)


@dataclass(frozen=True, slots=True)
class Conflict(Reply):
    KIND: ClassVar[str] = "conflict"
    promised: Ballot

    def _rest(self) -> tuple[Plain, ...]:
        return (self.promised.to_wire(),)


@dataclass(frozen=True, slots=True)
class Stale(Reply):
    KIND: ClassVar[str] = "stale"
    voter_set: VoterSet

    def _rest(self) -> tuple[Plain, ...]:
        return (self.voter_set.to_wire(),)


@dataclass(frozen=True, slots=True)
class Declined(Reply):
    KIND: ClassVar[str] = "declined"
    reason: str

    def _rest(self) -> tuple[Plain, ...]:
        return (self.reason,)


_FIELDS = {"prepare": 4, "accept": 5, "list": 4, "promise": 5, "accepted": 3, "names": 4}
_FIELDS |= {"conflict": 4, "stale": 4, "declined": 4}


def decode(item: object) -> Message:
    """The message in an unpacked msgpack array.

    Raises:
        MessageError: it is none; the peer's fault.
    """
    if not isinstance(item, _ARRAYS) or not item or not isinstance(item[0], str):
        raise MessageError("a register message is [kind, register, ballot, ...]")
    kind: str = item[0]
    wanted = _FIELDS.get(kind)
    if wanted is None or len(item) != wanted:
        raise MessageError(f"register message {kind[:32]!r} with {len(item)} fields is not known here")
    register = _text(item[1], "a register's name")
    ballot = Ballot.from_wire(item[2])
    rest: tuple[Any, ...] = tuple(item[3:])
    if kind == "prepare":
        return Prepare(register, ballot, VoterSet.from_wire(rest[0]))
    if kind == "accept":
        return Accept(register, ballot, VoterSet.from_wire(rest[1]), Value.from_wire(rest[0]))
    if kind == "list":
        return ListNames(register, ballot, VoterSet.from_wire(rest[0]))
    if kind == "promise":
        if (rest[0] is None) != (rest[1] is None):
            raise MessageError("a promise names an accepted ballot and its value together or neither")
        if rest[0] is None:
            return Promise(register, ballot, None, None)
        return Promise(register, ballot, Ballot.from_wire(rest[0]), Value.from_wire(rest[1]))
    if kind == "accepted":
        return Accepted(register, ballot)
    if kind == "names":
        return Names(register, ballot, _names(rest[0]))
    if kind == "conflict":
        return Conflict(register, ballot, Ballot.from_wire(rest[0]))
    if kind == "stale":
        return Stale(register, ballot, VoterSet.from_wire(rest[0]))
    return Declined(register, ballot, _text(rest[0], "a reason", limit=REASON_CHARACTERS_MAX))


def _text(item: object, what: str, *, limit: int = NAME_CHARACTERS_MAX) -> str:
    if not isinstance(item, str) or len(item) > limit:
        raise MessageError(f"{what} is text of at most {limit} characters")
    return item


def _version(item: object) -> int:
    if not isinstance(item, int) or isinstance(item, bool) or item < 0 or item >= 1 << 62:
        raise MessageError("a version is an integer between 0 and 2**62")
    return item


def _ids(item: object) -> tuple[str, ...]:
    if not isinstance(item, _ARRAYS) or len(item) > VOTERS_MAX:
        raise MessageError(f"a voter set is a list of at most {VOTERS_MAX} member ids")
    ids = tuple(_text(member, "a voter's member id") for member in item)
    if len(frozenset(ids)) != len(ids):
        raise MessageError("a voter set names a member twice")
    return ids


def _names(item: object) -> tuple[str, ...]:
    if not isinstance(item, _ARRAYS) or len(item) > NAMES_MAX:
        raise MessageError(f"a list of register names has at most {NAMES_MAX} entries")
    return tuple(_text(name, "a register's name") for name in item)
