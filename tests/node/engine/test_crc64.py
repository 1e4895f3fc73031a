"""CRC-64/Jones against its published check value and a bit-by-bit model."""

from hypothesis import given
from hypothesis import strategies as st

from node.engine.crc64 import crc64


def slow_crc64(data: bytes) -> int:
    """CRC-64/Jones, reflected, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


def test_the_published_check_value() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"") == 0


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_length_in_any_split(data: bytes, cut: int) -> None:
    assert crc64(data) == slow_crc64(data) == crc64(data[cut:], crc64(data[:cut]))
