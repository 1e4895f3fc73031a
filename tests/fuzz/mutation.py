"""Making inputs out of inputs. A grammar gives whole commands; mutation of bytes breaks them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

BYTES_MAX = 4096
Item = TypeVar("Item")


class Chance(random.Random):
    """Chance at a third of the price: a bias of one in 2**50 is no matter here."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:  # type: ignore[override]
        if stop is None or step != 1:
            return int(self.random() * start) if stop is None else super().randrange(start, stop, step)
        return start + int(self.random() * (stop - start))

    def choice(self, seq: Sequence[Item]) -> Item:  # type: ignore[override]
        return seq[int(self.random() * len(seq))]


_NUMBERS = (0, 1, -1, 7, 8, 31, 32, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32)
_EDGES = (*_NUMBERS, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 536870911, 536870912, 4294967295 * 8)


def number_word(chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return b"%d" % chance.choice(_EDGES)
    if kind == 1:
        return b"%d" % chance.randrange(-20, 200)
    if kind == 2:
        return b"%d" % (chance.choice(_EDGES) + chance.randrange(-2, 3))
    return chance.choice(
        [b"1.5", b"-0", b"+1", b"01", b"1e5", b"inf", b"-inf", b"nan", b" 1", b"1 ", b"", b"0x10"]
    )


def mutate(chance: random.Random, data: bytes, other: bytes, words: Sequence[bytes]) -> bytes:
    """A few small accidents; `other` is a second parent to take pieces from."""
    out = bytearray(data)
    for _ in range(1 << chance.randrange(4)):
        kind = chance.randrange(9)
        at = chance.randrange(len(out) + 1)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = chance.randrange(256)
        elif kind == 2:
            del out[at : at + 1 + chance.randrange(8)]
        elif kind == 3:
            out[at:at] = chance.choice(words)
        elif kind == 4:
            word = chance.choice(words)
            out[at : at + len(word)] = word
        elif kind == 5 and other:
            start = chance.randrange(len(other))
            out[at:at] = other[start : start + 1 + chance.randrange(64)]
        elif kind == 6 and out:
            start = chance.randrange(len(out))
            out[at:at] = out[start : start + 1 + chance.randrange(64)]
        elif kind == 7:
            out[at:at] = number_word(chance)
        elif kind == 8 and other:
            out = bytearray(out[:at] + other[chance.randrange(len(other)) :])
    return bytes(out[:BYTES_MAX])
