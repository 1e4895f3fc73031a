"""Bytes in a heap block of exactly their size, where somebody watches the heap.

A `bytes` object ends with a NUL and a buffer that grew has room to spare: a parser that reads one byte too
far finds something there and nobody notices. In a block from malloc, the sanitizer build does. The release
build would not, so there the bytes themselves are given, which takes a third of the time of a whole input.
"""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager, nullcontext

from tests.fuzz.guide import Guide

_libc = ctypes.CDLL(None)
_WATCHED = Guide().informed
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


class exact_block:
    """`data` alone in a block of len(data) bytes, freed afterwards: whoever kept it is caught too."""

    __slots__ = ("_address", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> ctypes.Array[ctypes.c_char]:
        size = len(self._data)
        self._address = _libc.malloc(size)
        if not self._address:
            raise MemoryError(f"no memory for a block of {size} bytes")
        ctypes.memmove(self._address, self._data, size)
        return (ctypes.c_char * size).from_address(self._address)

    def __exit__(self, *_: object) -> None:
        _libc.free(self._address)


def fed(data: bytes) -> AbstractContextManager[bytes | ctypes.Array[ctypes.c_char]]:
    """`data` as a target gets it."""
    return exact_block(data) if _WATCHED else nullcontext(data)


def cut(data: bytes, seed: int) -> list[bytes]:
    """`data` in pieces that the seed decides: whole, in a few, or (slow, so seldom) byte by byte."""
    kind = seed % 64
    if kind % 4 == 0 or not data:
        return [data]
    step_max = 1 if kind == 1 and len(data) <= 400 else 7 if kind == 3 and len(data) <= 1000 else len(data)
    pieces, at = [], 0
    state = seed
    while at < len(data):
        state = state * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFFFFFF
        step = 1 + (state >> 33) % step_max
        pieces.append(data[at : at + step])
        at += step
    return pieces
