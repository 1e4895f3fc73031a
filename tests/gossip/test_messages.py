"""Bytes and back, and what strangers may send: anything, and it ends as a PeerError or a checked envelope."""

from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import PeerError
from gossip.messages import (
    HEADER_BYTES_MAX,
    VERSION,
    WIRE,
    Ack,
    Alive,
    Claim,
    Codec,
    Dead,
    Envelope,
    Exchange,
    Fetch,
    LeaseGrant,
    LeaseRelease,
    LeaseRequest,
    Left,
    Meet,
    MeetAnswer,
    Message,
    Meta,
    Nack,
    News,
    Ping,
    ProbeFor,
    Record,
    Refused,
    RegisterNews,
    RegisterRound,
    Suspect,
    Vitals,
    encode_news,
)
from gossip.votes import MessageError
from gossip.votes import decode as decode_round

CLUSTER, OTHER = "c" * 40, "d" * 40
A, B = "a" * 40, "b" * 40
MAX = 1_048_576

ids = st.binary(min_size=20, max_size=20).map(bytes.hex)
numbers = st.integers(-1, 2**63 - 1)
incarnations = st.integers(0, 2**62 - 1)
ports = st.integers(0, 65_535)
texts = st.text(max_size=40)
kinds = st.sampled_from(["node", "router"])
metas = st.builds(Meta, texts, ports, ports, kinds, texts, texts, numbers, texts)
plains: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
statuses = st.sampled_from(["alive", "suspect", "dead", "left"])
records = st.builds(Record, statuses, ids, incarnations, metas, numbers)
register_news = st.builds(RegisterNews, texts, numbers, plains)
claims: Any = st.one_of(
    st.builds(Alive, ids, incarnations, metas),
    st.builds(Suspect, ids, incarnations, ids),
    st.builds(Dead, ids, incarnations, ids),
    st.builds(Left, ids, incarnations),
    register_news,
)
messages: Any = st.one_of(
    st.builds(Ping, numbers, ids),
    st.builds(Ack, numbers),
    st.builds(ProbeFor, numbers, ids, texts, ports),
    st.builds(Nack, numbers),
    st.just(News()),
    st.builds(Refused, ids, numbers),
    st.builds(LeaseRequest, texts, numbers, numbers, numbers),
    st.builds(LeaseGrant, texts, numbers, numbers, numbers),
    st.builds(LeaseRelease, texts, numbers, numbers),
    st.builds(RegisterRound, plains),
    st.builds(
        Exchange,
        st.lists(records, max_size=3).map(tuple),
        st.lists(register_news, max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(Fetch, st.lists(texts, max_size=3).map(tuple)),
    st.builds(Meet, records, st.booleans(), st.booleans()),
    st.builds(MeetAnswer, texts, texts, records),
)
vitals = st.builds(Vitals, numbers, numbers, numbers, numbers, numbers, numbers)


def envelope(message: Message, *news: Claim) -> Envelope:
    return Envelope(A, Vitals(1, 2, 3, 4), message, news)


def packed(header: object = None, body: object = (), news: object = ()) -> bytes:
    default = (VERSION, 5, bytes.fromhex(CLUSTER), bytes.fromhex(A), 1, 2, 3, 4, 5, 6)
    data: bytes = msgpack.packb((default if header is None else header, body, news))
    return data


def reason(data: bytes, bytes_max: int = 1_400) -> str:
    with pytest.raises(PeerError) as error:
        Codec(CLUSTER).decode(data, bytes_max)
    return error.value.reason


@pytest.mark.slow
@settings(deadline=None)
@given(ids, vitals, messages, st.lists(claims, max_size=20))
def test_everything_comes_back(sender: str, vital: Vitals, message: Message, news: list[Claim]) -> None:
    sent = Envelope(sender, vital, message, tuple(news))
    heard = Codec(CLUSTER).decode(Codec(CLUSTER).encode(sent), MAX)
    assert heard == Envelope(sender, vital, message, tuple(news), CLUSTER)


def test_every_number_has_a_message_and_the_other_way_round() -> None:
    assert sorted(WIRE) == list(range(1, len(WIRE) + 1))
    assert len({kind for kind, _fields in WIRE.values()}) == len(WIRE)


def test_numbers_are_never_reassigned() -> None:
    """What is on the wire today stays what it is: a line of this table is only ever added."""
    names = {number: kind.__name__ for number, (kind, _fields) in WIRE.items()}
    assert names == {
        1: "Ping",
        2: "Ack",
        3: "ProbeFor",
        4: "Nack",
        5: "News",
        6: "Refused",
        7: "LeaseRequest",
        8: "LeaseGrant",
        9: "RegisterRound",
        10: "LeaseRelease",
        11: "Exchange",
        12: "Fetch",
        13: "Meet",
        14: "MeetAnswer",
        15: "Forgot",
    }


def test_fields_that_were_appended_later_are_ignored() -> None:
    header = (VERSION, 2, bytes.fromhex(CLUSTER), bytes.fromhex(A), 1, 2, 3, 4, 5, 6, 7, "new")
    longer = packed(header, (77, "new"), ())
    assert Codec(CLUSTER).decode(longer, 1_400).message == Ack(77)


def test_fields_that_a_sender_does_not_know_have_a_default() -> None:
    header = (VERSION, 10, bytes.fromhex(CLUSTER), bytes.fromhex(A), 1, 2, 3, 4, 5, 6, 7)
    for body, wanted in ((("s", 3), LeaseRelease("s", 3, -1)), (("s", 3, 77), LeaseRelease("s", 3, 77))):
        assert Codec(CLUSTER).decode(packed(header, body), 1_400).message == wanted
    assert reason(packed(header, ("s",))) == "malformed"


def test_what_is_wrong_has_a_name() -> None:
    assert reason(b"x" * 1_401) == "size"
    assert reason(b"") == "malformed"
    assert reason(b"\xc1") == "malformed"
    assert reason(packed() + b"\x00") == "malformed"
    assert reason(packed()[:-1]) == "malformed"
    assert reason(packed((VERSION + 1, 5, "anything"))) == "version"
    assert reason(Codec(OTHER).encode(envelope(Ping(1, A)))) == "cluster"
    assert (
        reason(packed((VERSION, 999, bytes.fromhex(CLUSTER), bytes.fromhex(A), 1, 2, 3, 4, 5, 6))) == "type"
    )
    assert reason(packed(news=((9, bytes.fromhex(A), 1, None),))) == "type"


@pytest.mark.parametrize(
    "header",
    [
        (),
        ("1", 5),
        (VERSION,),
        (VERSION, 5, b"short", bytes.fromhex(A), 1, 2, 3, 4, 5, 6),
        (VERSION, 5, bytes.fromhex(CLUSTER), A, 1, 2, 3, 4, 5, 6),
        (VERSION, 5, bytes.fromhex(CLUSTER), bytes.fromhex(A), -2, 2, 3, 4, 5, 6),
        (VERSION, 5, bytes.fromhex(CLUSTER), bytes.fromhex(A), 2**63, 2, 3, 4, 5, 6),
        (VERSION, 5, bytes.fromhex(CLUSTER), bytes.fromhex(A), True, 2, 3, 4, 5, 6),
        {"version": 1},
    ],
)
def test_broken_headers(header: object) -> None:
    assert reason(packed(header)) == "malformed"


@pytest.mark.parametrize(
    "news",
    [
        ((0, bytes.fromhex(A), 1, ("host", 1)),),
        ((0, bytes.fromhex(A), 1, ("host", 1, 2, "king", "", "", 1, "")),),
        ((0, bytes.fromhex(A), 1, ("host", 70_000, 2, "node", "", "", 1, "")),),
        ((0, bytes.fromhex(A), 1, ("h" * 300, 1, 2, "node", "", "", 1, "")),),
        ((0, bytes.fromhex(A), 1, ("host", 1, 2, "node", {"a": 1}, "", 1, "")),),
        ((1, bytes.fromhex(A), 1),),
        ((3, bytes.fromhex(A)),),
        ((3, bytes.fromhex(A), -1),),
        ((3, bytes.fromhex(A), 2**62),),
        ((4, 7, 1, None),),
        ("alive",),
        7,
    ],
)
def test_broken_news(news: object) -> None:
    assert reason(packed(news=news)) == "malformed"


def test_meetings_are_heard_across_clusters_and_nothing_else_is() -> None:
    record = Record("alive", A, 1, Meta("h", 1, 2, "node", "", "", 1, ""), -1)
    heard = Codec(CLUSTER).decode(Codec(OTHER).encode(envelope(Meet(record, True, False))), MAX)
    assert heard.cluster == OTHER
    for message in (Ack(1), Fetch(()), RegisterRound(None), Exchange((), (), True)):
        with pytest.raises(PeerError, match="cluster"):
            Codec(CLUSTER).decode(Codec(OTHER).encode(envelope(message)), MAX)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_blamed_on_the_peer(data: bytes) -> None:
    with pytest.raises(PeerError):
        Codec(CLUSTER).decode(data, 1_400)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(messages, st.lists(claims, max_size=4), st.integers(0, 2**32))
def test_damaged_messages_are_heard_or_blamed(message: Message, news: list[Claim], seed: int) -> None:
    """Flip, cut and splice real messages: an envelope or a PeerError, nothing else."""
    rng = Random(seed)
    data = bytearray(Codec(CLUSTER).encode(envelope(message, *news)))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        choice = rng.randrange(4)
        if choice == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif choice == 1:
            del data[at:]
            data += b"\x00"
        elif choice == 2:
            data[at:at] = rng.randbytes(3)
        else:
            data[at] = rng.choice([0xC1, 0xDD, 0xDF, 0xDB, 0xC6, 0xC9, 0xFF, 0x7F])
    try:
        heard = Codec(CLUSTER).decode(bytes(data), MAX)
    except PeerError:
        return
    assert isinstance(heard, Envelope)


def test_deep_nesting_is_refused() -> None:
    assert reason(b"\x91" * 1_399 + b"\x00") == "malformed"
    nested: object = 0
    for _ in range(600):
        nested = (nested,)
    codec = Codec(CLUSTER)
    deep = codec.decode(codec.encode(envelope(RegisterRound(("prepare", "s", nested, 1)))), MAX)  # type: ignore[arg-type]
    assert isinstance(deep.message, RegisterRound)
    with pytest.raises(MessageError):
        decode_round(deep.message.payload)


def test_lengths_that_lie_allocate_nothing() -> None:
    for head in (
        b"\xdd",
        b"\xdf",
        b"\xdb",
        b"\xc6",
    ):  # array, map, text, bytes, each with a length of 32 bits
        assert reason(head + b"\xff" * 4 + b"\x00" * 20) == "malformed"


def test_small_messages_fit_the_room_that_is_kept_for_them() -> None:
    big = Vitals(2**62, 2**62, 2**62, 2**62, 2**62, 2**62, 2**62)
    host = "1234:1234:1234:1234:1234:1234:1234:1234"
    for message in (Ping(2**62, A), Ack(2**62), Nack(2**62), News(), Refused(A, 2**62)):
        assert len(Codec(CLUSTER).encode(Envelope(A, big, message))) <= HEADER_BYTES_MAX
    assert len(Codec(CLUSTER).encode(Envelope(A, big, ProbeFor(2**62, A, host, 65_535)))) <= HEADER_BYTES_MAX


def test_claims_are_small() -> None:
    """Back of the envelope: about ten alive claims, or thirty accusations, ride on one datagram."""
    meta = Meta("10.0.12.134", 7000, 17000, "node", "eu-1a", "f" * 40, 1_700_000_000_000, "1.0.0")
    alive = Alive(A, 12, meta)
    assert len(encode_news(alive)) < 125
    assert len(encode_news(Suspect(A, 12, B))) < 50
