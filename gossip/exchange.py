"""The pieces of a state exchange: a member's whole knowledge cut into frames, and what a frame holds.

Two members tell each other everything they know about members and decided registers, over TCP, now and then.
News would do without it in a quiet network; the exchange is what makes a lost packet, a healed partition or
a newcomer not matter. A half is any number of Exchange messages, the final one marked `last`.
"""

from collections.abc import Mapping
from typing import Final

from gossip.messages import Exchange, Record, RegisterNews, encode_news
from gossip.votes import Value, freeze

RECORDS_PER_CHUNK: Final = 512
REGISTER_BYTES_PER_CHUNK: Final = 256 * 1024
CHUNKS_MAX: Final = 256
"""Of one half: 8,192 members are 16, 4,096 registers with a big slot map about as many."""


def half(records: tuple[Record, ...], registers: tuple[RegisterNews, ...]) -> list[Exchange]:
    """Our half, as messages that each fit a frame. At least one."""
    chunks = [
        Exchange(records[start : start + RECORDS_PER_CHUNK], (), False)
        for start in range(0, len(records), RECORDS_PER_CHUNK)
    ]
    batch: list[RegisterNews] = []
    room_bytes = REGISTER_BYTES_PER_CHUNK
    for news in registers:
        size_bytes = len(encode_news(news))
        if batch and size_bytes > room_bytes:
            chunks.append(Exchange((), tuple(batch), False))
            batch, room_bytes = [], REGISTER_BYTES_PER_CHUNK
        batch.append(news)
        room_bytes -= size_bytes
    chunks.append(Exchange((), tuple(batch), True))
    return chunks


def as_news(decided: Mapping[str, Value]) -> tuple[RegisterNews, ...]:
    """Decided values in the form in which they travel."""
    return tuple(RegisterNews(name, value.version, value.data) for name, value in decided.items())


def as_value(news: RegisterNews) -> Value:
    """The value that came.

    Raises:
        MessageError: not plain data within the limits of a register; the peer's fault.
    """
    return Value(news.version, freeze(news.data))
