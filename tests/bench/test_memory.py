"""The memory benchmark, tiny, so that it can't rot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.memory import SHAPES, Shape, requests, slope_bytes
from bench.servers import grapevine_kind


def test_requests_cover_every_entry_once() -> None:
    batches = list(requests(SHAPES[0], 10, 1_511))
    assert [count for count, _ in batches] == [500, 500, 500, 1]
    whole = b"".join(data for _, data in batches)
    assert whole.count(b"SET") == 1_501
    assert whole.count(b"key:000000000010\r\n") == whole.count(b"key:000000001510\r\n") == 1


STRINGS = [shape for shape in SHAPES if shape.words(0)[0] == b"SET"]


def test_keys_and_values_have_the_length_their_name_says() -> None:
    assert all(len(shape.words(7)[1]) == 16 for shape in STRINGS)
    assert [len(shape.words(7)[2]) for shape in STRINGS] == [16, 64, 64, 1_024, 7]
    many = {shape.name: shape.words(7) for shape in SHAPES}
    assert {len(word) for word in many["list of 10 items of 16 B"][2:]} == {16}
    assert len(set(many["zset of 10 small members"][3::2])) == len(set(many["set of 10 integers"][2:])) == 10
    assert [len(many["one zset, 16 B members"][at]) for at in (1, 3)] == [4, 16]
    assert [len(word) for word in many["one hash, 16 B field and value"][2:]] == [16, 16]


def test_members_are_all_different() -> None:
    shape = next(shape for shape in SHAPES if shape.name == "one set, 16 B members")
    assert len({shape.words(number)[2] for number in range(5_000)}) == 5_000


@pytest.mark.slow
def test_an_entry_costs_what_it_must_and_not_much_more(tmp_path: Path) -> None:
    # 40,000 entries in 16,384 slots: tables of two or three, far from their best.
    slopes = slope_bytes([grapevine_kind()], SHAPES[0], tmp_path, 40_000)
    assert 48 <= slopes["grapevine"] <= 130


@pytest.mark.slow
def test_a_shape_that_a_server_does_not_know_is_left_out(tmp_path: Path) -> None:
    shape = Shape("unheard of", 1, lambda number: (b"NOSUCHCOMMAND", b"%d" % number))
    assert slope_bytes([grapevine_kind()], shape, tmp_path, 1_000) == {}
