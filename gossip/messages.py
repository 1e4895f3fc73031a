"""What members say to each other, and its bytes.

A message travels as a UDP datagram or as a TCP frame (four bytes of big-endian length, then the same bytes):

    +-------------------------- msgpack array of 3 --------------------------+
    | header: array              | body: array     | news: array of claims    |
    +----------------------------+-----------------+--------------------------+
     header: [VERSION, number, cluster id (20 bytes), sender id (20 bytes),
              incarnation, offset, epoch seen, registers sum, majority age, majority hops, serial]
     body:   the fields of the message class, in order (see WIRE)
     claim:  [0, id, incarnation, meta]          alive
             [1, id, incarnation, accuser id]    suspect
             [2, id, incarnation, accuser id]    dead
             [3, id, incarnation]                left
             [4, register, version, data | nil]  a decided register value; nil: too big for a datagram, ask me
     meta:   [host, port, bus port, kind, zone, shard id, started ms, software]

Rules that let versions mix: numbers are never reused, fields are only appended, a reader ignores fields
beyond those it knows, and an appended field has a default, for senders that do not know it. VERSION changes
only when even that does not suffice.

Everything here faces strangers. `Codec.decode` either returns a fully checked Envelope or raises PeerError;
nothing else escapes, and nothing is allocated beyond what the sender paid for in bytes. `Codec.encode` and
`Codec.decode` are also the only two places where messages become bytes and bytes messages: authenticated
encryption (sealing.py) wraps exactly these two, with the cluster id as associated data.

JSON was rejected for size (ids double), a schema compiler for being a second language to build.
"""

from collections.abc import Callable
from dataclasses import MISSING, astuple, dataclass, fields
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgpack  # type: ignore[import-untyped]

from gossip.errors import PeerError
from gossip.sealing import DATAGRAM, FRAME, MEETING, Seal
from gossip.votes import Plain

VERSION: Final = 1
ID_BYTES: Final = 20
"""Member and cluster ids: 20 bytes on the wire, 40 lower-case hex characters in memory."""
INTEGER_MAX: Final = (1 << 63) - 1
INCARNATION_MAX: Final = 1 << 62
"""Claims from here on are refused: their subject must be able to raise its
incarnation over any that is heard.
"""
TEXT_BYTES_MAX: Final = 255
LONG_TEXT_BYTES_MAX: Final = 1_024
"""Explanations for people."""
HEADER_BYTES_MAX: Final = 197
"""Upper bound of the bytes around the news of any message of the detector; the largest is ProbeFor over
IPv6.
"""

Address: TypeAlias = tuple[str, int]
"""Host (an IP address once resolved) and bus port."""


# -- claims --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meta:
    """What a member says about itself. Only the owner changes it, and raises its incarnation with each
    change.

    Attributes:
        host, port: where clients reach it. bus_port: where members reach it (UDP and TCP).
        kind: 'node' or 'router'. zone: failure domain, '' when unknown. shard_id: '' when it serves none.
        started_ms: wall clock at process start; tells two lives of one member apart.
        software: the version it runs, for people.
    """

    host: str
    port: int
    bus_port: int
    kind: str
    zone: str
    shard_id: str
    started_ms: int
    software: str

    @property
    def bus_address(self) -> Address:
        return (self.host, self.bus_port)


@dataclass(frozen=True, slots=True)
class Alive:
    member: str
    incarnation: int
    meta: Meta


@dataclass(frozen=True, slots=True)
class Suspect:
    member: str
    incarnation: int
    accuser: str


@dataclass(frozen=True, slots=True)
class Dead:
    member: str
    incarnation: int
    accuser: str


@dataclass(frozen=True, slots=True)
class Left:
    member: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class RegisterNews:
    """A decided value. `data` None: it exists but is too big to ride along; fetch it from the sender."""

    name: str
    version: int
    data: Plain


MemberClaim: TypeAlias = Alive | Suspect | Dead | Left
Claim: TypeAlias = Alive | Suspect | Dead | Left | RegisterNews


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a state exchange: what the sender believes of a member.

    Attributes:
        status: 'alive', 'suspect', 'dead' or 'left'.
        offset: the member's replication offset as last heard, -1 when never.
        serial: the highest serial of its state file that was heard of.
    """

    status: str
    member: str
    incarnation: int
    meta: Meta
    offset: int
    serial: int = 0


# -- messages ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you `target`, and there? Answered with Ack, by `target` only."""

    sequence: int
    target: str


@dataclass(frozen=True, slots=True)
class Ack:
    sequence: int


@dataclass(frozen=True, slots=True)
class ProbeFor:
    """Please ping `target` for me; pass its Ack on, or send Nack when it stays silent."""

    sequence: int
    target: str
    host: str
    bus_port: int


@dataclass(frozen=True, slots=True)
class Nack:
    """The helper lives, the target did not answer it."""

    sequence: int


@dataclass(frozen=True, slots=True)
class News:
    """Nothing but the claims that ride along."""


@dataclass(frozen=True, slots=True)
class Refused:
    """I found the bus port of `member` refusing connections: its
    process is gone. Believe your own check only.
    """

    member: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Forgot:
    """You had a state file with this serial once, and speak of a lower one: an old copy was put in its
    place. Means nothing to who just overtook its own words.
    """

    serial: int


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Let me serve `shard_id` for `lease_ms` from `sent_ms` (my clock, echoed)."""

    shard_id: str
    epoch: int
    sent_ms: int
    lease_ms: int


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """I am bound for `granted_ms`; 0: no, I know or have accepted a newer configuration of the shard."""

    shard_id: str
    epoch: int
    sent_ms: int
    granted_ms: int


@dataclass(frozen=True, slots=True)
class LeaseRelease:
    """I stop serving `shard_id` in this epoch now: forget what you granted me for the request that left at
    `sent_ms` (my newest one, by my clock) and for those before it (a planned hand-over). This may arrive when
    I have asked again. -1: sent by a version that does not say; what it was granted runs out by itself.
    """

    shard_id: str
    epoch: int
    sent_ms: int = -1


@dataclass(frozen=True, slots=True)
class RegisterRound:
    """Part of a register round, in either direction. The ballot inside ties answers to requests
    (votes.py).
    """

    payload: Plain


@dataclass(frozen=True, slots=True)
class Exchange:
    """One chunk of a state exchange (TCP). `last` ends the sender's half."""

    records: tuple[Record, ...]
    registers: tuple[RegisterNews, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send me your decided registers of these names, or all when empty (TCP; answered with Exchange
    chunks).
    """

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meet:
    """Let our two clusters be one. The only message that is heard across clusters (TCP).

    Attributes:
        alone: the sender's cluster has no other member. owns_slots: some slot of it is assigned.
    """

    claim: Record
    alone: bool
    owns_slots: bool


@dataclass(frozen=True, slots=True)
class MeetAnswer:
    """The verdict on a Meet (TCP).

    Attributes:
        verdict: 'same' (already one cluster), 'adopt-mine' (the asker takes the answerer's cluster id),
            'adopted-yours' (the answerer took the asker's) or 'refused'.
        text: for people, when refused.
        claim: the answerer.
    """

    verdict: str
    text: str
    claim: Record


Message: TypeAlias = (
    Ping | Ack | ProbeFor | Nack | News | Refused | Forgot | LeaseRequest | LeaseGrant
    | LeaseRelease | RegisterRound | Exchange | Fetch | Meet | MeetAnswer
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Vitals:
    """What every message tells about its sender, beside its id.

    Attributes:
        incarnation: of the sender. offset: its replication offset, -1 without one.
        epoch_seen: highest shard epoch it knows.
        registers_sum: sum of the versions of the decided registers it knows; versions only grow, so a higher
            sum proves that it knows something we do not.
        majority_age_ms: how long ago a majority of the voters was certainly there, as far as it knows; -1
            when it has no idea. Passed from member to member, so that everybody hears it without asking
            voters.
        majority_hops: how many members passed that on. Each hop makes it look younger by the time the packet
            took, so it is not passed on for ever.
        serial: how often it wrote promises to disk; it never falls, unless the disk forgot some.
    """

    incarnation: int
    offset: int
    epoch_seen: int
    registers_sum: int
    majority_age_ms: int = -1
    majority_hops: int = 0
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with its sender and its news. `cluster` is filled in by the codec on decoding."""

    sender: str
    vitals: Vitals
    message: Message
    news: tuple[Claim, ...] = ()
    cluster: str = ""


# -- fields
# ---------------------------------------------------------------------------------------------------- Each
# codec is a pair: to the wire, and a checked way back that raises PeerError.


@dataclass(frozen=True, slots=True)
class _Field:
    to_wire: Callable[[Any], Any]
    from_wire: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _malformed(wanted: str, value: object) -> PeerError:
    return PeerError("malformed", f"wanted {wanted}, got something else ({type(value).__name__})")


def _integer(value: Any) -> int:
    if type(value) is not int or not -1 <= value <= INTEGER_MAX:
        raise _malformed("an integer from -1 to 2**63 - 1", value)
    return value


def _incarnation(value: Any) -> int:
    if type(value) is not int or not 0 <= value < INCARNATION_MAX:
        raise _malformed("an incarnation", value)
    return value


def _port(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 65_535:
        raise _malformed("a port", value)
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _malformed("true or false", value)
    return value


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > TEXT_BYTES_MAX:
        raise _malformed(f"text of at most {TEXT_BYTES_MAX} characters", value)
    return value


def _long_text(value: Any) -> str:
    if type(value) is not str or len(value) > LONG_TEXT_BYTES_MAX:
        raise _malformed(f"text of at most {LONG_TEXT_BYTES_MAX} characters", value)
    return value


def _id(value: Any) -> str:
    if type(value) is not bytes or len(value) != ID_BYTES:
        raise _malformed(f"an id of {ID_BYTES} bytes", value)
    return value.hex()


def _array(value: Any, least: int) -> tuple[Any, ...]:
    if type(value) is not tuple or len(value) < least:
        raise _malformed(f"an array of at least {least}", value)
    return value


def _plain(value: Any) -> Plain:
    """Any msgpack value without extension types. Depth and length are bounded by the unpacker and the
    frame.
    """
    plain: Plain = value
    return plain


def _meta_to_wire(meta: Meta) -> tuple[Any, ...]:
    return astuple(meta)


@lru_cache(maxsize=4096)
def _meta(value: Any) -> Meta:
    items = _array(value, 8)
    kind = _text(items[3])
    if kind not in ("node", "router"):
        raise PeerError("malformed", f"member kind {kind[:32]!r} is neither 'node' nor 'router'")
    return Meta(
        host=_text(items[0]),
        port=_port(items[1]),
        bus_port=_port(items[2]),
        kind=kind,
        zone=_text(items[4]),
        shard_id=_text(items[5]),
        started_ms=_integer(items[6]),
        software=_text(items[7]),
    )


_STATUS_NUMBERS: Final = {"alive": 0, "suspect": 1, "dead": 2, "left": 3}
_STATUSES: Final = ("alive", "suspect", "dead", "left")


def _record_to_wire(record: Record) -> tuple[Any, ...]:
    return (
        _STATUS_NUMBERS[record.status],
        bytes.fromhex(record.member),
        record.incarnation,
        _meta_to_wire(record.meta),
        record.offset,
        record.serial,
    )


def _record(value: Any) -> Record:
    items = _array(value, 5)
    number = _integer(items[0])
    if not 0 <= number < len(_STATUSES):
        raise PeerError("malformed", f"member status {number} is not known here")
    return Record(
        _STATUSES[number],
        _id(items[1]),
        _incarnation(items[2]),
        _hashable_meta(items[3]),
        _integer(items[4]),
        _integer(items[5]) if len(items) > 5 else 0,
    )


def _hashable_meta(value: Any) -> Meta:
    try:
        return _meta(value)
    except TypeError:  # a map inside: not hashable for the cache, and no meta either
        raise _malformed("a member's meta", value) from None


def record_to_plain(record: Record) -> Plain:
    """A record as it stands in the state file: the same array as on the wire."""
    wire: Plain = _record_to_wire(record)
    return wire


def record_from_plain(item: Plain) -> Record:
    """The inverse. Raises PeerError: not a record."""
    return _record(item)


def _news_to_wire(news: RegisterNews) -> tuple[Any, ...]:
    return (4, news.name, news.version, news.data)


def _register_news(items: tuple[Any, ...]) -> RegisterNews:
    return RegisterNews(_text(items[1]), _integer(items[2]), _plain(items[3]))


def _registers(value: Any) -> tuple[RegisterNews, ...]:
    return tuple(_register_news(_array(item, 4)) for item in _array(value, 0))


_INTEGER = _Field(_same, _integer)
_PORT = _Field(_same, _port)
_FLAG = _Field(_same, _flag)
_TEXT = _Field(_same, _text)
_LONG_TEXT = _Field(_same, _long_text)
_ID = _Field(bytes.fromhex, _id)
_PLAIN = _Field(_same, _plain)
_RECORD = _Field(_record_to_wire, _record)
_RECORDS = _Field(
    lambda records: tuple(_record_to_wire(record) for record in records),
    lambda value: tuple(_record(item) for item in _array(value, 0)),
)
_REGISTERS = _Field(lambda registers: tuple(_news_to_wire(news) for news in registers), _registers)
_NAMES = _Field(_same, lambda value: tuple(_text(item) for item in _array(value, 0)))

WIRE: Final[dict[int, tuple[type[Any], tuple[_Field, ...]]]] = {
    1: (Ping, (_INTEGER, _ID)),
    2: (Ack, (_INTEGER,)),
    3: (ProbeFor, (_INTEGER, _ID, _TEXT, _PORT)),
    4: (Nack, (_INTEGER,)),
    5: (News, ()),
    6: (Refused, (_ID, _INTEGER)),
    7: (LeaseRequest, (_TEXT, _INTEGER, _INTEGER, _INTEGER)),
    8: (LeaseGrant, (_TEXT, _INTEGER, _INTEGER, _INTEGER)),
    9: (RegisterRound, (_PLAIN,)),
    10: (LeaseRelease, (_TEXT, _INTEGER, _INTEGER)),
    11: (Exchange, (_RECORDS, _REGISTERS, _FLAG)),
    12: (Fetch, (_NAMES,)),
    13: (Meet, (_RECORD, _FLAG, _FLAG)),
    14: (MeetAnswer, (_TEXT, _LONG_TEXT, _RECORD)),
    15: (Forgot, (_INTEGER,)),
}
"""Type numbers: append only, never reuse one."""

_NUMBERS: Final = {
    kind: (number, wire, tuple(field.name for field in fields(kind))) for number, (kind, wire) in WIRE.items()
}
_LEAST: Final = {
    number: sum(field.default is MISSING for field in fields(kind)) for number, (kind, _wire) in WIRE.items()
}
"""So many fields a message of that number has at least."""
_HEARD_ACROSS_CLUSTERS: Final = (13, 14)


# -- bytes ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def encode_claim(claim: MemberClaim) -> bytes:
    """A claim's bytes. Cached: the same piece of news leaves in many datagrams."""
    member = bytes.fromhex(claim.member)
    if isinstance(claim, Alive):
        return _pack((0, member, claim.incarnation, _meta_to_wire(claim.meta)))
    if isinstance(claim, Suspect):
        return _pack((1, member, claim.incarnation, bytes.fromhex(claim.accuser)))
    if isinstance(claim, Dead):
        return _pack((2, member, claim.incarnation, bytes.fromhex(claim.accuser)))
    return _pack((3, member, claim.incarnation))


def encode_news(claim: Claim) -> bytes:
    """As encode_claim, for register values too (maps in them cannot be hashed, so they are not cached)."""
    return _pack(_news_to_wire(claim)) if isinstance(claim, RegisterNews) else encode_claim(claim)


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _claim(value: Any) -> Claim:
    items = _array(value, 3)
    number = items[0]
    if number == 4:
        return _register_news(_array(value, 4))
    member, incarnation = _id(items[1]), _incarnation(items[2])
    if number == 3:
        return Left(member, incarnation)
    items = _array(value, 4)
    if number == 0:
        return Alive(member, incarnation, _hashable_meta(items[3]))
    if number == 1:
        return Suspect(member, incarnation, _id(items[3]))
    if number == 2:
        return Dead(member, incarnation, _id(items[3]))
    raise PeerError("type", f"claim number {number!r} is not known here")


def _array_header(count: int) -> bytes:
    return bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


class Codec:
    """Messages of one cluster to bytes and back.

    `cluster` may be replaced when this member adopts another cluster's id.

    Args:
        seal: the member's; None: plain messages only.
    """

    def __init__(self, cluster: str, seal: Seal | None = None) -> None:
        self.cluster = cluster
        self._seal = seal

    def of(self, cluster: str) -> "Codec":
        """For another cluster, with our keys."""
        return Codec(cluster, self._seal)

    def encode(self, envelope: Envelope, *, frame: bool = False) -> bytes:
        """The bytes of `envelope`, under our cluster id, for a datagram or (`frame`) for a connection. The
        caller keeps the size within its cap.
        """
        message, vitals = envelope.message, envelope.vitals
        number, wire, names = _NUMBERS[type(message)]
        header = (
            VERSION,
            number,
            bytes.fromhex(self.cluster),
            bytes.fromhex(envelope.sender),
            vitals.incarnation,
            vitals.offset,
            vitals.epoch_seen,
            vitals.registers_sum,
            vitals.majority_age_ms,
            vitals.majority_hops,
            vitals.serial,
        )
        body = tuple([field.to_wire(getattr(message, name)) for field, name in zip(wire, names, strict=True)])
        news = b"".join([encode_news(claim) for claim in envelope.news])
        data = b"".join((b"\x93", _pack(header), _pack(body), _array_header(len(envelope.news)), news))
        if self._seal is None:
            return data
        kind = MEETING if number in _HEARD_ACROSS_CLUSTERS else FRAME if frame else DATAGRAM
        return self._seal.close(data, self.cluster, kind)

    def decode(self, data: bytes, bytes_max: int, *, frame: bool = False) -> Envelope:
        """The envelope in `data`.

        Args:
            data: one datagram, or one frame without its length.
            bytes_max: the cap of the way it came. frame: it came on a connection.
        Raises:
            PeerError: too big, not sealed as our keys want it, garbage, another version, another cluster
                (unless it is about meeting), or an unknown type. The peer's fault.
        """
        if len(data) > bytes_max:
            raise PeerError("size", f"{len(data)} bytes, at most {bytes_max} are read")
        kind = None
        if self._seal is not None:
            data, kind = self._seal.open(data, self.cluster, datagram=not frame)
        try:
            unpacked = msgpack.unpackb(data, raw=False, use_list=False, strict_map_key=True, max_ext_len=0)
        except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
            raise PeerError("malformed", f"not one msgpack value ({type(error).__name__})") from None
        header, body, news = _array(unpacked, 3)[:3]
        if type(header) is not tuple or not header or type(header[0]) is not int:
            raise _malformed("a header", header)
        if header[0] != VERSION:
            raise PeerError("version", f"version {header[0]}, we speak {VERSION}")
        header = _array(header, 10)
        number = _integer(header[1])
        cluster = _id(header[2])
        if kind == MEETING and number not in _HEARD_ACROSS_CLUSTERS:
            raise PeerError("seal", f"message number {number} was sealed for any cluster")
        if cluster != self.cluster and number not in _HEARD_ACROSS_CLUSTERS:
            raise PeerError("cluster", f"cluster {cluster}, ours is {self.cluster}")
        known = WIRE.get(number)
        if known is None:
            raise PeerError("type", f"message number {number} is not known here")
        message_type, wire = known
        items = _array(body, _LEAST[number])
        message = message_type(*[field.from_wire(item) for field, item in zip(wire, items, strict=False)])
        return Envelope(
            sender=_id(header[3]),
            vitals=Vitals(*[_integer(item) for item in header[4:11]]),
            message=message,
            news=tuple([_claim(item) for item in _array(news, 0)]),
            cluster=cluster,
        )
