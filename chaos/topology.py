"""What the nodes of a cluster say about themselves, as values: CLUSTER SLOTS, CLUSTER NODES, INFO.

Pure functions from replies to views. The texts come from servers of several makes, so unknown fields are
skipped and missing ones are named.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from chaos.resp import ErrorReply, Reply
from gossip.slots import SLOT_COUNT


class BadView(Exception):
    """A reply about the cluster does not have the form that every client relies on."""


class Address(NamedTuple):
    """Where clients reach a node."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host:port`, as MOVED writes it (IPv6 hosts without brackets too).

    Raises:
        BadView: no port.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65_536:
        raise BadView(f"{text!r} is not host:port")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots first..last and who serves them, as CLUSTER SLOTS tells."""

    first: int
    last: int
    primary: Address
    replicas: tuple[Address, ...]


def parse_slots(reply: Reply, asked: Address) -> tuple[SlotRange, ...]:
    """CLUSTER SLOTS as ranges in ascending order.

    Args:
        asked: the node that answered; an empty or null host in its reply means itself.
    Raises:
        BadView: not an answer to CLUSTER SLOTS.
    """
    if isinstance(reply, ErrorReply):
        raise BadView(f"{asked} answers CLUSTER SLOTS with: {reply.text}")
    if not isinstance(reply, list):
        raise BadView(f"{asked} answers CLUSTER SLOTS with {type(reply).__name__} instead of an array")
    ranges = []
    for row in reply:
        match row:
            case [int(first), int(last), *members] if members and 0 <= first <= last < SLOT_COUNT:
                addresses = [_endpoint(member, asked) for member in members]
                ranges.append(SlotRange(first, last, addresses[0], tuple(addresses[1:])))
            case _:
                raise BadView(f"{asked} answers CLUSTER SLOTS with a row {row!r}")
    return tuple(sorted(ranges, key=lambda each: each.first))


def _endpoint(member: Reply, asked: Address) -> Address:
    match member:
        case [(bytes() | None) as host, int(port), *_] if 0 < port < 65_536:
            return Address(host.decode() if host else asked.host, port)
        case _:
            raise BadView(f"{asked} names a member {member!r} in CLUSTER SLOTS")


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One line of CLUSTER NODES."""

    id: str
    address: Address
    flags: frozenset[str]
    primary_id: str  # '' for a primary
    link: str  # 'connected' or 'disconnected', as the node that was asked sees it
    slot_count: int
    first_slot: int  # -1 when it serves none

    @property
    def failed(self) -> bool:
        return bool(self.flags & {"fail", "fail?"})


def parse_nodes(reply: Reply, asked: Address) -> tuple[NodeLine, ...]:
    """CLUSTER NODES as lines. Members without an address (`:0@0`, `noaddr`) cannot be asked and are left out.

    Raises:
        BadView: not an answer to CLUSTER NODES.
    """
    if isinstance(reply, ErrorReply):
        raise BadView(f"{asked} answers CLUSTER NODES with: {reply.text}")
    if not isinstance(reply, bytes):
        raise BadView(f"{asked} answers CLUSTER NODES with {type(reply).__name__} instead of text")
    lines = []
    for text in reply.decode().splitlines():
        words = text.split()
        if len(words) < 8:
            raise BadView(f"{asked} answers CLUSTER NODES with a line of {len(words)} fields: {text!r}")
        flags = frozenset(words[2].split(","))
        if "noaddr" in flags:
            continue
        place = words[1].partition(",")[0].partition("@")[0]  # host:port[@busport[,hostname[,key=value]*]]
        if place.startswith(":"):
            place = asked.host + place  # a node that has not been told its own address yet
        if place.endswith(":0"):
            continue
        spans = [_span(word) for word in words[8:] if not word.startswith("[")]  # [..] is a slot on the move
        lines.append(
            NodeLine(
                id=words[0],
                address=parse_address(place),
                flags=flags,
                primary_id="" if words[3] == "-" else words[3],
                link=words[7],
                slot_count=sum(last - first + 1 for first, last in spans),
                first_slot=min((first for first, _ in spans), default=-1),
            )
        )
    return tuple(lines)


def _span(word: str) -> tuple[int, int]:
    first, _, last = word.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise BadView(f"CLUSTER NODES names slots {word!r}")
    return int(first), int(last or first)


def parse_info(reply: Reply, asked: Address) -> dict[str, str]:
    """INFO as a mapping of its fields, sections merged.

    Raises:
        BadView: not an answer to INFO.
    """
    if isinstance(reply, ErrorReply):
        raise BadView(f"{asked} answers INFO with: {reply.text}")
    if not isinstance(reply, bytes):
        raise BadView(f"{asked} answers INFO with {type(reply).__name__} instead of text")
    fields = {}
    for line in reply.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            fields[name] = value
    return fields


def whole_number(info: Mapping[str, str], field: str, asked: Address) -> int:
    """A field of INFO that is a number.

    Raises:
        BadView: the field is missing or no number.
    """
    text = info.get(field, "")
    if not text.removeprefix("-").isdigit():
        raise BadView(f"INFO of {asked} says {field}:{text or '(missing)'} where a number is expected")
    return int(text)


class SlotMap:
    """Which address serves a slot, learned from CLUSTER SLOTS and corrected by MOVED."""

    def __init__(self) -> None:
        self._owner: list[Address | None] = [None] * SLOT_COUNT
        self._known: list[Address] = []

    def learn(self, ranges: Iterable[SlotRange]) -> None:
        """Replaces the whole map; slots in no range have no owner."""
        owner: list[Address | None] = [None] * SLOT_COUNT
        known: dict[Address, None] = {}
        for each in ranges:
            owner[each.first : each.last + 1] = [each.primary] * (each.last - each.first + 1)
            known[each.primary] = None
            known.update(dict.fromkeys(each.replicas))
        self._owner = owner
        self._known = list(known)

    def moved(self, slot: int, address: Address) -> None:
        self._owner[slot] = address
        if address not in self._known:
            self._known.append(address)

    def owner(self, slot: int) -> Address | None:
        return self._owner[slot]

    @property
    def known(self) -> list[Address]:
        """Every address named by the last answer, primaries and replicas."""
        return self._known


def uncovered(ranges: Iterable[SlotRange]) -> int:
    """How many slots no range names."""
    return SLOT_COUNT - sum(each.last - each.first + 1 for each in ranges)


def moved_target(text: str, asked: Address) -> tuple[int, Address]:
    """`MOVED 42 host:port` or `ASK 42 host:port` as slot and address; an empty host means the node asked.

    Raises:
        BadView: an error of another form.
    """
    words = text.split(" ")
    if len(words) != 3 or words[0] not in ("MOVED", "ASK") or not words[1].isdigit():
        raise BadView(f"{asked} redirects with {text!r}")
    slot = int(words[1])
    if slot >= SLOT_COUNT:
        raise BadView(f"{asked} redirects slot {slot}")
    place = words[2]
    return slot, parse_address(asked.host + place if place.startswith(":") else place)
