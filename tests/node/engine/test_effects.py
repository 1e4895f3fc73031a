"""The ring of effects against a plain bytes model: the whole stream, kept for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.engine.effects import SMALLEST_CAPACITY_BYTES, Effects


def command(*args: bytes) -> bytes:
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in args)


def active(capacity_bytes: int = 1 << 16) -> Effects:
    effects = Effects(capacity_bytes)
    effects.activate()
    return effects


def test_nothing_is_recorded_until_it_is_switched_on() -> None:
    effects = Effects()
    effects.append(0, [b"SET", b"a", b"1"])
    assert effects.offset == 0
    assert not effects.active
    assert not effects.can_continue_from(0)
    with pytest.raises(ValueError, match="not active"):
        effects.append_raw(b"x")


def test_the_stream_is_what_a_redis_primary_sends() -> None:
    effects = active()
    effects.append(0, [b"SET", b"a", b"1"])
    effects.append(0, [b"DEL", b"a"])
    effects.append(9, [b"SET", b"", b"\r\n\x00"])
    stream = (
        command(b"SELECT", b"0")
        + command(b"SET", b"a", b"1")
        + command(b"DEL", b"a")
        + command(b"SELECT", b"9")
        + command(b"SET", b"", b"\r\n\x00")
    )
    assert effects.read(0, 1 << 20) == stream
    assert effects.offset == len(stream)
    assert effects.database == 9


def test_select_again_repeats_the_select() -> None:
    effects = active()
    effects.append(3, [b"DEL", b"a"])
    joined = effects.offset
    effects.select_again()
    effects.append(3, [b"DEL", b"b"])
    assert effects.read(joined, 1 << 20) == command(b"SELECT", b"3") + command(b"DEL", b"b")


def test_an_effect_larger_than_the_ring_only_moves_its_start() -> None:
    effects = active(64)
    effects.append(0, [b"SET", b"k", bytes(1000)])
    effects.append(0, [b"DEL", b"k"])
    stream = command(b"SELECT", b"0") + command(b"SET", b"k", bytes(1000)) + command(b"DEL", b"k")
    assert effects.offset == len(stream)
    assert effects.start == len(stream) - 64
    assert effects.read(effects.start, 1000) == stream[-64:]
    assert effects.read(effects.start - 1, 1000) is None


def test_switching_off_keeps_the_offset_and_forgets_the_bytes() -> None:
    effects = active()
    effects.append(0, [b"DEL", b"a"])
    offset = effects.offset
    effects.deactivate()
    assert (effects.offset, effects.start, effects.active) == (offset, offset, False)
    assert effects.read(offset, 10) is None
    effects.activate()
    assert effects.read(offset, 10) == b""
    assert effects.read(0, 10) is None


def test_reset_starts_a_stream_at_a_given_offset() -> None:
    effects = active()
    effects.append(0, [b"DEL", b"a"])
    effects.reset(10_000_000_000)
    assert (effects.start, effects.offset, effects.database) == (10_000_000_000, 10_000_000_000, -1)
    effects.append_raw(b"abc")
    assert effects.read(10_000_000_001, 10) == b"bc"
    assert effects.offset == 10_000_000_003


@pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 64])
def test_offsets_outside_63_bits_are_refused(offset: int) -> None:
    effects = active()
    with pytest.raises(OverflowError):
        effects.reset(offset)
    assert not effects.can_continue_from(offset)
    assert effects.read(offset, 1) is None


def test_the_offset_never_wraps() -> None:
    effects = active()
    effects.reset((1 << 63) - 3)
    effects.append_raw(b"ab")
    with pytest.raises(OverflowError, match="cannot grow"):
        effects.append_raw(b"cd")
    assert effects.read((1 << 63) - 3, 10) == b"ab"


def test_bad_effects_leave_the_stream_alone() -> None:
    effects = active()
    with pytest.raises(ValueError, match="needs a database"):
        effects.append(0, [])
    with pytest.raises(ValueError, match="needs a database"):
        effects.append(-1, [b"PING"])
    with pytest.raises(TypeError, match="not str"):
        effects.append(0, [b"SET", "k"])  # type: ignore[list-item]
    assert effects.offset == 0


@pytest.mark.parametrize("capacity", [0, SMALLEST_CAPACITY_BYTES - 1, 1 << 64])
def test_a_ring_has_a_sensible_size(capacity: int) -> None:
    with pytest.raises(ValueError, match="replication backlog"):
        Effects(capacity)
    with pytest.raises(ValueError, match="replication backlog"):
        active().resize(capacity)


def test_the_ring_grows_for_a_sync_in_progress_up_to_its_limit() -> None:
    effects = active(16)
    effects.limit_growth(200)
    effects.append_raw(b"before")
    effects.hold_for_syncs(effects.offset)
    assert effects.oldest_needed == 6
    for size in range(1, 101):
        effects.append_raw(b"x")
        assert effects.read(6, 1000) == b"x" * size
    assert effects.capacity_bytes == 100
    effects.append_raw(b"y" * 101)
    assert effects.read(6, 1000) is None
    assert effects.capacity_bytes == 200
    effects.hold_for_syncs(None)
    assert effects.oldest_needed == effects.offset
    effects.resize(16)
    effects.append_raw(b"z" * 100)
    assert (effects.capacity_bytes, effects.read(effects.start, 1000)) == (16, b"z" * 16)


def test_one_effect_larger_than_the_ring_makes_it_grow_at_once() -> None:
    effects = active(16)
    effects.limit_growth(1 << 20)
    effects.hold_for_syncs(0)
    effects.append_raw(b"0123456789" * 1000)
    assert effects.read(0, 1 << 20) == b"0123456789" * 1000
    assert effects.capacity_bytes == 10_000


def test_a_ring_that_has_grown_gives_back_its_memory_in_small_pieces() -> None:
    block = 1 << 16
    effects = active(16)
    effects.limit_growth(1 << 30)
    effects.hold_for_syncs(0)
    piece = bytes(range(256)) * 1_000
    for _ in range(100):
        effects.append_raw(piece)
    assert effects.read(0, 1 << 30) == piece * 100
    assert 0 <= effects.held_bytes - effects.offset < 2 * block  # memory for what has come, not for what may
    effects.hold_for_syncs(None)
    effects.resize(16)
    grown = effects.held_bytes
    effects.append_raw(b"x" * block)
    assert grown - 2 * block <= effects.held_bytes <= grown  # a write frees two at most
    calls = 0
    while effects.release_some():
        calls += 1
    assert calls > 3
    assert effects.held_bytes <= 2 * block
    assert effects.read(effects.start, 100) == b"x" * 16


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("append"), st.integers(0, 3), st.lists(st.binary(max_size=40), min_size=1, max_size=4)
        ),
        st.tuples(st.just("raw"), st.binary(max_size=90)),
        st.tuples(st.just("resize"), st.integers(SMALLEST_CAPACITY_BYTES, 100)),
        st.tuples(
            st.just("select"),
        ),
    ),
    max_size=30,
)


# Blocks have 65,536 bytes: most streams here cross from one into the next.
STARTS = st.builds(lambda block, left: block * 65_536 - left, st.integers(1, 1 << 24), st.integers(0, 200))


@given(
    start=STARTS | st.integers(0, 1 << 40), capacity=st.integers(SMALLEST_CAPACITY_BYTES, 100), steps=STEPS
)
def test_the_ring_holds_the_end_of_the_stream(start: int, capacity: int, steps: list[tuple]) -> None:  # type: ignore[type-arg]
    effects = active(capacity)
    effects.reset(start)
    stream, database, first_held = b"", -1, 0
    for step in steps:
        match step:
            case ("append", wanted, args):
                effects.append(wanted, args)
                if wanted != database:
                    stream += command(b"SELECT", b"%d" % wanted)
                database = wanted
                stream += command(*args)
            case ("raw", data):
                effects.append_raw(data)
                stream += data
            case ("resize", wanted):
                effects.resize(wanted)
                capacity = wanted
            case _:
                effects.select_again()
                database = -1
        first_held = max(first_held, len(stream) - capacity)
        assert effects.offset == start + len(stream)
        assert effects.start == start + first_held
        for at in {first_held, (first_held + len(stream)) // 2, len(stream)}:
            assert effects.read(start + at, 1 << 20) == stream[at:]
            assert effects.read(start + at, 7) == stream[at : at + 7]
        assert effects.read(start + len(stream) + 1, 1) is None
        assert start + first_held == 0 or effects.read(start + first_held - 1, 1) is None
