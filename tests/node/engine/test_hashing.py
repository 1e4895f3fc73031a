"""Known answers for the two hashes."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.engine.hashing import key_slot, keyed_hash

KEY = bytes(range(16))


@pytest.mark.parametrize(
    ("data", "expected"),
    # SipHash-1-3 with the key 00 01 .. 0f over 00 01 .. n-1: the vectors of the reference implementation's
    # 1-3 variant, read little-endian.
    [(b"", 0xABAC0158050FC4DC), (b"\x00", 0xC9F49BF37D57CA93), (bytes(range(2)), 0x82CB9B024DC7D44D)],
)
def test_keyed_hash_known_answers(data: bytes, expected: int) -> None:
    assert keyed_hash(KEY, data) == expected


def test_keyed_hash_depends_on_every_byte_of_key_and_data() -> None:
    base = keyed_hash(KEY, b"0123456789abcdef0")
    for index in range(16):
        other = bytearray(KEY)
        other[index] ^= 1
        assert keyed_hash(bytes(other), b"0123456789abcdef0") != base
    for index in range(17):
        data = bytearray(b"0123456789abcdef0")
        data[index] ^= 1
        assert keyed_hash(KEY, bytes(data)) != base


def test_a_hash_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 16"):
        keyed_hash(b"short", b"")


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 0x31C3),
        (b"", 0),
        (b"foo", 12182),
        (b"{foo}", 12182),
        (b"{foo}bar", 12182),
        (b"a{foo}b{bar}", 12182),
        (b"{user1000}.following", 3443),
    ],
)
def test_slots(key: bytes, slot: int) -> None:
    assert key_slot(key) == slot


def test_hash_tags_that_are_none() -> None:
    # An empty tag or an unclosed brace: the whole key counts.
    assert key_slot(b"foo{}{bar}") != key_slot(b"bar")
    assert key_slot(b"{}bar") != key_slot(b"bar")
    assert key_slot(b"{foo") != key_slot(b"foo")
    assert key_slot(b"foo{{bar}}zap") == key_slot(b"{bar")
    assert key_slot(b"x}{y}") == key_slot(b"y")


@given(st.binary(max_size=70).filter(lambda key: b"{" not in key))
def test_slots_agree_with_the_standard_library(key: bytes) -> None:
    assert key_slot(key) == binascii.crc_hqx(key, 0) % 16384
