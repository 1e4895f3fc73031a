"""The memory benchmark, tiny, so that it can't rot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.memory import SHAPES, requests, slope_bytes
from bench.servers import grapevine_kind


def test_requests_cover_every_entry_once() -> None:
    batches = list(requests(SHAPES[0], 10, 1_511))
    assert [count for count, _ in batches] == [500, 500, 500, 1]
    whole = b"".join(data for _, data in batches)
    assert whole.count(b"SET") == 1_501
    assert whole.count(b"key:000000000010\r\n") == whole.count(b"key:000000001510\r\n") == 1


def test_keys_and_values_have_the_length_their_name_says() -> None:
    assert all(len(shape.words(7)[1]) == 16 for shape in SHAPES)
    assert [len(shape.words(7)[2]) for shape in SHAPES] == [16, 64, 64, 7, 1_024]


@pytest.mark.slow
def test_an_entry_costs_what_it_must_and_not_much_more(tmp_path: Path) -> None:
    # 40,000 entries in 16,384 slots: tables of two or three, far from their best.
    assert 48 <= slope_bytes(grapevine_kind(), SHAPES[0], tmp_path, 40_000) <= 130
