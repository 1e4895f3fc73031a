"""Bytes in a heap block of exactly their size.

A `bytes` object ends with a NUL and a buffer that grew has room to spare: a parser that reads one byte too
far finds something there and nobody notices. In a block from malloc, the sanitizer build does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


@contextmanager
def exact_block(data: bytes) -> Iterator[ctypes.Array[ctypes.c_char]]:
    """`data` alone in a block of len(data) bytes, freed afterwards: whoever kept it is caught too."""
    address = _libc.malloc(len(data))
    if not address:
        raise MemoryError(f"no memory for a block of {len(data)} bytes")
    try:
        ctypes.memmove(address, data, len(data))
        yield (ctypes.c_char * len(data)).from_address(address)
    finally:
        _libc.free(address)


def cut(data: bytes, seed: int) -> list[bytes]:
    """`data` in pieces that the seed decides: whole, byte by byte, or anything between."""
    kind = seed % 4
    if kind == 0 or not data:
        return [data]
    if kind == 1 and len(data) <= 200:
        return [data[at : at + 1] for at in range(len(data))]
    pieces, at = [], 0
    state = seed | 1
    while at < len(data):
        state = state * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFFFFFF
        step = 1 + (state >> 33) % (7 if kind == 2 and len(data) <= 400 else 1 + len(data))
        pieces.append(data[at : at + step])
        at += step
    return pieces
