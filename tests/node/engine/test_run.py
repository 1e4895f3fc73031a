"""Packed runs: what goes in comes out, in the bytes that the layout promises."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node.engine import run

elements = st.one_of(
    st.binary(max_size=70),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: b"%d" % value),
    st.sampled_from([b"", b"-0", b"+1", b"007", b"9223372036854775808"]),
    st.sampled_from([63, 64, 4095, 4096]).map(lambda length: b"x" * length),
)


@given(st.lists(elements, max_size=40))
def test_texts_come_out_as_they_went_in(texts: list[bytes]) -> None:
    assert run.unpack(run.pack(texts)) == texts


@given(st.lists(elements, min_size=1, max_size=20), st.integers(1, 3), st.data())
def test_an_element_is_found_at_its_first_place(texts: list[bytes], step: int, data: st.DataObject) -> None:
    wanted = data.draw(st.one_of(st.sampled_from(texts), elements))
    start = data.draw(st.integers(0, step - 1))
    places = [index for index in range(start, len(texts), step) if texts[index] == wanted]
    assert run.find(run.pack(texts), wanted, start, step) == (places[0] if places else -1)


@given(st.floats(allow_nan=False))
@example(-0.0)
@example(math.inf)
def test_a_double_keeps_every_bit(value: float) -> None:
    packed = run.pack([value])
    (back,) = run.unpack(packed)
    assert struct.pack("<d", float(back)) == struct.pack("<d", value)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        (b"0", b"\x00"),
        (b"127", b"\x7f"),
        (b"128", b"\xc0\x80"),
        (b"-1", b"\xdf\xff"),
        (b"-4096", b"\xd0\x00"),
        (b"4096", b"\xf1\x00\x10"),
        (b"-32769", b"\xf2\xff\x7f\xff"),
        (b"8388608", b"\xf3\x00\x00\x80\x00"),
        (b"2147483648", b"\xf4\x00\x00\x00\x80\x00\x00\x00\x00"),
        (b"abc", b"\x83abc"),
        (b"", b"\x80"),
        (b"a" * 64, b"\xe0\x40" + b"a" * 64),
        (b"a" * 4096, b"\xf0\x00\x10\x00\x00" + b"a" * 4096),
    ],
)
def test_the_layout(text: bytes, packed: bytes) -> None:
    assert run.pack([text]) == packed


@given(st.lists(elements, min_size=1, max_size=5), st.integers(1, 12))
def test_a_run_that_is_cut_is_refused_or_shorter(texts: list[bytes], cut: int) -> None:
    packed = run.pack(texts)
    cut_short = packed[: max(0, len(packed) - cut)]
    try:
        found = run.unpack(cut_short)
    except ValueError:
        return
    assert found == texts[: len(found)]
    assert len(found) < len(texts)
