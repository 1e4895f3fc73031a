"""LZF: a plain model of the format packs, the room unpacks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.engine.lzf import unpack


def pack(data: bytes) -> bytes:
    """A slow, greedy packer: the longest earlier match of at least three bytes, else one plain byte."""
    out, at = b"", 0
    while at < len(data):
        best, back = 0, 0
        for start in range(max(0, at - 8192), at):
            length = 0
            while at + length < len(data) and length < 264 and data[start + length] == data[at + length]:
                length += 1
            if length > best:
                best, back = length, at - start
        if best < 3:
            out += bytes((0, data[at]))
            at += 1
            continue
        length, offset = best - 2, back - 1
        if length < 7:
            out += bytes((length << 5 | offset >> 8, offset & 255))
        else:
            out += bytes((7 << 5 | offset >> 8, length - 7, offset & 255))
        at += best
    return out


@given(st.lists(st.sampled_from([b"a", b"ab", b"xyz", b"\x00", b"long stretch "]), max_size=60).map(b"".join))
def test_what_was_packed_comes_back(data: bytes) -> None:
    assert unpack(pack(data), len(data)) == data


def test_a_run_of_plain_bytes() -> None:
    assert unpack(bytes([31]) + bytes(range(32)), 32) == bytes(range(32))


def test_the_longest_copy() -> None:
    assert unpack(b"\x00a" + bytes([0xE0, 255, 0]), 265) == b"a" * 265


@given(st.binary(max_size=40), st.integers(-5, 5000))
def test_noise_is_refused_or_has_the_length_it_claims(packed: bytes, plain_bytes: int) -> None:
    try:
        plain = unpack(packed, plain_bytes)
    except ValueError:
        return
    assert len(plain) == plain_bytes


@pytest.mark.parametrize(
    ("packed", "plain_bytes"),
    [
        (b"\x05abc", 6),  # fewer plain bytes than announced
        (b"\x00a\x20", 4),  # a copy without its offset
        (b"\x00a\xe0", 10),  # a long copy without its length
        (b"\x00a\x20\x01", 4),  # a copy from before the beginning
        (b"\x00a\x20\x00", 3),  # one byte more than was asked for
        (b"\x00a\x20\x00", 5),  # one byte less
        (b"ab", 1 << 40),  # more than LZF can make of two bytes
    ],
)
def test_damage_is_noticed(packed: bytes, plain_bytes: int) -> None:
    with pytest.raises(ValueError, match="LZF"):
        unpack(packed, plain_bytes)
