"""Halves of an exchange: everything is in them, once, in frames that fit."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.exchange import RECORDS_PER_CHUNK, as_news, as_value, half
from gossip.messages import Codec, Envelope, Meta, Record, RegisterNews, Vitals
from gossip.votes import Value

A = "a" * 40
FRAME_BYTES_MAX = 1_048_576


def record(number: int) -> Record:
    meta = Meta("10.0.0.1", 7000, 17000, "node", "zone", "f" * 40, 1_700_000_000_000, "1.0.0")
    return Record("alive", f"{number:040x}", 3, meta, 10**9)


@settings(deadline=None)
@given(st.integers(0, 1_500), st.lists(st.integers(0, 400_000), max_size=6))
def test_nothing_is_lost_and_every_frame_fits(members: int, sizes: list[int]) -> None:
    records = tuple(record(number) for number in range(members))
    registers = tuple(RegisterNews(f"r{order}", 1, "x" * size) for order, size in enumerate(sizes))
    chunks = half(records, registers)
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert tuple(item for chunk in chunks for item in chunk.records) == records
    assert tuple(item for chunk in chunks for item in chunk.registers) == registers
    codec, vitals = Codec("c" * 40), Vitals(1, 2, 3, 4)
    for chunk in chunks:
        assert len(chunk.records) <= RECORDS_PER_CHUNK
        assert len(codec.encode(Envelope(A, vitals, chunk))) <= FRAME_BYTES_MAX


def test_decided_values_travel_as_news_and_back() -> None:
    decided = {"slots": Value(7, ((0, 5, "s"),)), "voters": Value(2, {"voters": ("a",), "joining": ()})}
    assert {news.name: as_value(news) for news in as_news(decided)} == decided
