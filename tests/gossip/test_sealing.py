"""Sealed messages: the layout, the keyring, nonces, and everything a stranger may try."""

import itertools
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from gossip.detector import ENCRYPTION_BYTES
from gossip.errors import PeerError
from gossip.messages import Codec, Envelope, Fetch, Meet, Message, Meta, Ping, Record, Vitals
from gossip.sealing import (
    DATAGRAM,
    FRAME,
    KEYS_MAX,
    MEETING,
    OVERHEAD_BYTES,
    SEALED,
    WINDOW,
    Keyring,
    KeyringError,
    Seal,
    key_id,
)
from gossip.transport import FrameReader, send_frame
from tests.gossip.test_service import status, village
from tests.waiting import until

OLD, NEW = b"o" * 32, b"n" * 16
HERE, THERE = "c" * 40, "d" * 40
DATA = b"\x93 a message"
CAP = 1_400


def seal(*keys: bytes | None) -> Seal:
    made = Seal(secrets.token_bytes)
    made.use(Keyring(keys))
    return made


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(PeerError) as refused:
        call()
    return refused.value.reason


def opened(ours: Seal, data: bytes, cluster: str = HERE) -> bytes:
    return ours.open(data, cluster, datagram=True)[0]


# -- the layout and what may go wrong with it ---------------------------------------------------------------


def test_what_is_sealed_opens_with_the_same_key_and_hides_the_message() -> None:
    sealed = seal(OLD).close(DATA, HERE, DATAGRAM)
    assert (sealed[0], sealed[1], sealed[2:6]) == (SEALED, DATAGRAM, key_id(OLD))
    assert len(sealed) == len(DATA) + OVERHEAD_BYTES
    assert DATA not in sealed
    assert seal(OLD).open(sealed, HERE, datagram=True) == (DATA, DATAGRAM)
    assert OVERHEAD_BYTES <= ENCRYPTION_BYTES  # the room that is kept in a datagram


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    sealed = seal(OLD).close(DATA, HERE, DATAGRAM)
    ours = seal(OLD)
    for position in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[position // 8] ^= 1 << position % 8
        expected = {0: "plain", 1: "seal", 2: "key", 3: "key", 4: "key", 5: "key"}.get(position // 8, "seal")
        assert reason(partial(opened, ours, bytes(altered))) == expected
    for length in range(len(sealed)):
        expected = "seal" if length else "plain"
        assert reason(partial(opened, ours, sealed[:length])) == expected
    assert opened(ours, sealed) == DATA  # none of that counts as having come


@pytest.mark.parametrize(
    ("sealed", "why"),
    [
        (seal(NEW).close(DATA, HERE, DATAGRAM), "key"),
        (seal(OLD).close(DATA, THERE, DATAGRAM), "seal"),
        (seal(OLD).close(DATA, HERE, FRAME), "seal"),
        (seal(OLD).close(DATA, HERE, MEETING), "seal"),
        (DATA, "plain"),
        (b"", "plain"),
        (bytes((SEALED,)), "seal"),
    ],
)
def test_strangers_are_told_apart_by_reason(sealed: bytes, why: str) -> None:
    assert reason(lambda: opened(seal(OLD), sealed)) == why


def test_without_keys_a_sealed_message_is_named_as_such() -> None:
    assert reason(lambda: opened(seal(None), seal(OLD).close(DATA, HERE, DATAGRAM))) == "key"
    assert opened(seal(None), DATA) == DATA


# -- the ring -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [OLD, None])
@pytest.mark.parametrize("second", [NEW, None])
def test_changing_keys_in_three_steps_never_shuts_anybody_out(
    first: bytes | None, second: bytes | None
) -> None:
    """At each step some members have taken it and some have not; encryption itself comes and goes alike."""
    if first == second:
        return
    steps = [(first,), (first, second), (second, first), (second,)]
    for before, after in itertools.pairwise(steps):
        one, other = seal(*before), seal(*after)
        assert opened(other, one.close(DATA, HERE, DATAGRAM)) == DATA
        assert opened(one, other.close(DATA, HERE, DATAGRAM)) == DATA


def test_keys_change_while_in_use() -> None:
    ours, theirs = seal(OLD), seal(OLD, NEW)
    theirs.use(Keyring((NEW,)))
    assert theirs.seals
    assert reason(lambda: opened(theirs, ours.close(DATA, HERE, DATAGRAM))) == "key"
    ours.use(Keyring((NEW,)))
    assert opened(theirs, ours.close(DATA, HERE, DATAGRAM)) == DATA
    ours.use(Keyring())
    assert not ours.seals
    assert ours.close(DATA, HERE, DATAGRAM) == DATA


def test_a_key_file_is_read() -> None:
    text = f"# gossip keys\n\n{OLD.hex()}  # since May\nnone\n  {NEW.hex().upper()}\n"
    ring = Keyring.parse(text)
    assert ring == Keyring((OLD, None, NEW))
    assert str(ring) == f"{key_id(OLD).hex()}, none, {key_id(NEW).hex()}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no key"),
        ("# nothing\n", "no key"),
        ("00ff\n", "key 1 has 2 bytes"),
        (f"{OLD.hex()}\nsecret\n", "line 2 is no key"),
        (f"{OLD.hex()}\n{OLD.hex()}\n", "twice"),
        ("".join(f"{number:064x}\n" for number in range(KEYS_MAX + 1)), "1 to 16 keys"),
    ],
)
def test_key_files_that_are_refused(text: str, why: str) -> None:
    with pytest.raises(KeyringError, match=why) as refused:
        Keyring.parse(text)
    assert "secret" not in str(refused.value)


# -- nonces and replays -------------------------------------------------------------------------------------


def test_no_nonce_comes_twice_and_a_used_up_counter_begins_a_new_life() -> None:
    drawn: list[bytes] = []

    def draw(count: int) -> bytes:
        drawn.append(len(drawn).to_bytes(count, "big"))
        return drawn[-1]

    ours = Seal(draw)
    ours.use(Keyring((OLD,)))
    nonces = {ours.close(DATA, HERE, DATAGRAM)[6:18] for _ in range(1_000)}
    assert len(nonces) == 1_000
    assert len(drawn) == 1
    ours._counter = (1 << 32) - 1
    nonces |= {ours.close(DATA, HERE, DATAGRAM)[6:18] for _ in range(2)}
    assert len(nonces) == 1_002
    assert len(drawn) == 2


def test_a_datagram_opens_once_in_whatever_order_they_come() -> None:
    theirs, ours = seal(OLD), seal(OLD)
    sent = [theirs.close(DATA, HERE, DATAGRAM) for _ in range(WINDOW)]
    Random(1).shuffle(sent)
    for datagram in sent:
        assert opened(ours, datagram) == DATA
    for datagram in sent:
        assert reason(partial(opened, ours, datagram)) == "replay"
    ours.use(Keyring((NEW, OLD)))  # a change of keys forgets nothing
    assert reason(lambda: opened(ours, sent[0])) == "replay"


def test_what_is_too_old_to_tell_is_dropped_and_a_new_life_begins_anew() -> None:
    theirs, ours = seal(OLD), seal(OLD)
    first = theirs.close(DATA, HERE, DATAGRAM)
    for _ in range(WINDOW - 1):
        theirs.close(DATA, HERE, DATAGRAM)
    assert opened(ours, theirs.close(DATA, HERE, DATAGRAM)) == DATA
    assert reason(lambda: opened(ours, first)) == "replay"
    assert opened(ours, seal(OLD).close(DATA, HERE, DATAGRAM)) == DATA


# -- messages -----------------------------------------------------------------------------------------------

META = Meta("127.0.0.1", 7000, 17000, "node", "", "", 1, "test")
MEET = Meet(Record("alive", "a" * 40, 1, META, -1), True, False)


def envelope(message: Message) -> Envelope:
    return Envelope("a" * 40, Vitals(1, 0, 0, 0), message)


def test_only_meetings_open_across_clusters() -> None:
    theirs, ours = Codec(THERE, seal(OLD)), Codec(HERE, seal(OLD))
    met = ours.decode(theirs.encode(envelope(MEET), frame=True), CAP, frame=True)
    assert (met.message, met.cluster) == (MEET, THERE)
    fetch = envelope(Fetch(()))
    assert reason(lambda: ours.decode(theirs.encode(fetch, frame=True), CAP, frame=True)) == "seal"
    assert ours.decode(theirs.of(HERE).encode(fetch, frame=True), CAP, frame=True).message == Fetch(())
    forged = ours._seal.close(Codec(HERE).encode(fetch), HERE, MEETING) if ours._seal else b""
    assert reason(lambda: ours.decode(forged, CAP, frame=True)) == "seal"


def test_a_datagram_does_not_pass_as_a_frame_nor_a_frame_as_a_datagram() -> None:
    ours, ping = Codec(HERE, seal(OLD)), envelope(Ping(1, "b" * 40))
    assert reason(lambda: ours.decode(ours.encode(ping), CAP, frame=True)) == "seal"
    assert reason(lambda: ours.decode(ours.encode(ping, frame=True), CAP)) == "seal"


# -- members ------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_members_with_a_key_live_together_and_change_it(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        here.keyring = Keyring((OLD,))
        services = await here.with_voters(3, 3)
        suspicions: list[str] = []

        async def watch() -> None:
            version = 0
            while True:
                version = (await services[0].wait_changed(version)).version
                suspicions.extend(other.id for other in services if status(services[0], other) != "alive")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for ring in (Keyring((OLD, NEW)), Keyring((NEW, OLD)), Keyring((NEW,))):
                for service in services:
                    service.use_keys(ring)
                    await trio.sleep(0.1)  # members with different rings talk to each other meanwhile
                await services[2].propose("slots", lambda old: old or ((0, 9, "s"),))
            nursery.cancel_scope.cancel()
        assert suspicions == []
        assert all(service.statistics().sealed for service in services)
        assert all(not any(service.statistics().dropped.values()) for service in services)
        here.keyring = Keyring((NEW,))
        late = await here.start("late", join="m1")
        await until(lambda: all(status(service, late) == "alive" for service in services))


@pytest.mark.slow
async def test_who_has_no_key_or_another_one_stays_outside(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        here.keyring = Keyring((OLD,))
        first = await here.start("m0")
        for name, ring, counted in (("plain", Keyring(), "plain"), ("other", Keyring((NEW,)), "key")):
            here.keyring = ring
            stranger = await here.start(name, join="m0")
            await until(lambda counted=counted: first.statistics().dropped.get(counted, 0) > 0)  # type: ignore[misc]
            assert status(first, stranger) == "unknown"
            assert status(stranger, first) == "unknown"


@pytest.mark.slow
async def test_hostile_bytes_on_both_ways_are_dropped_and_counted(tmp_path: Path) -> None:
    """Recorded, cut, altered, of another key, of another cluster, plain."""
    async with village(tmp_path) as here:
        here.keyring = Keyring((OLD,))
        first, second = await here.started(2)
        dice = Random(5)
        good = Codec(first.cluster_id, seal(OLD))
        ping = envelope(Ping(7, first.id))
        datagram = good.encode(ping)
        packets = {
            "replay": [datagram, datagram],
            "plain": [
                Codec(first.cluster_id).encode(ping),
                b"",
                dice.randbytes(200).lstrip(bytes((SEALED,))),
            ],
            "key": [Codec(first.cluster_id, seal(NEW)).encode(ping)],
            "seal": [
                Codec(THERE, seal(OLD)).encode(ping),
                *(good.encode(ping)[: dice.randrange(1, 80)] for _ in range(20)),
                good.encode(ping)[:-1] + b"\x00\x01",
            ],
        }
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as stranger:
            for counted, sent in packets.items():
                before = first.statistics().dropped.get(counted, 0)
                for packet in sent:
                    await stranger.sendto(packet, ("127.0.0.1", first.bus_port))
                missed = before + (1 if counted == "replay" else len(sent))
                await until(lambda: first.statistics().dropped.get(counted, 0) >= missed)  # noqa: B023
        for frame in (
            Codec(first.cluster_id).encode(envelope(Fetch(())), frame=True),
            good.encode(envelope(Fetch(())), frame=True)[:-3],
            Codec(THERE, seal(OLD)).encode(envelope(Fetch(())), frame=True),
        ):
            stream = await trio.open_tcp_stream("127.0.0.1", first.bus_port)
            async with stream:
                await send_frame(stream, frame)
                with trio.fail_after(5):
                    assert await FrameReader(stream, 1 << 20).next() is None  # hung up, not a word
        assert status(first, second) == "alive"
        assert status(second, first) == "alive"
