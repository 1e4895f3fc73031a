"""slot_of against known values, a slow oracle and the law of hash tags."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.slots import SLOT_COUNT, slot_of


def crc16_bit_by_bit(data: bytes) -> int:
    """The oracle: the polynomial division written out, one bit at a time."""
    register = 0
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = ((register << 1) ^ 0x1021) & 0xFFFF if register & 0x8000 else (register << 1) & 0xFFFF
    return register


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"", 0),
        (b"123456789", 0x31C3),
        (b"foo", 12182),
        (b"bar", 5061),
        (b"hello", 866),
    ],
)
def test_known_values(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"{user:7}:name", b"user:7"),
        (b"prefix{tag}suffix", b"tag"),
        (b"a{}b", b"a{}b"),
        (b"{}{tag}", b"{}{tag}"),
        (b"{{b}}", b"{b"),
        (b"{a}{b}", b"a"),
        (b"}a{b}", b"b"),
        (b"{open", b"{open"),
        (b"close}", b"close}"),
        (b"{", b"{"),
        (b"{\x00}x", b"\x00"),
    ],
)
def test_hash_tags(key: bytes, hashed: bytes) -> None:
    assert slot_of(key) == crc16_bit_by_bit(hashed) % SLOT_COUNT


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_agrees_with_the_oracle(data: bytes) -> None:
    untagged = data.replace(b"{", b"(")
    assert slot_of(untagged) == crc16_bit_by_bit(untagged) % SLOT_COUNT


@settings(deadline=None)
@given(st.binary(max_size=64), st.binary(min_size=1, max_size=16), st.binary(max_size=64))
def test_keys_with_one_tag_share_a_slot(before: bytes, tag: bytes, after: bytes) -> None:
    before, tag = before.replace(b"{", b""), tag.replace(b"}", b"-")
    assert slot_of(before + b"{" + tag + b"}" + after) == slot_of(b"{" + tag + b"}")
