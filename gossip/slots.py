"""From a key to its slot: CRC16 (XMODEM) modulo 16,384, with hash tags.

The function is an interface, not a choice: every cluster client computes it too, and a client and a node
that disagree about one key send each other in circles. XMODEM means polynomial 0x1021, initial value 0, no
reflection and no final xor; its check value for b"123456789" is 0x31C3.

A hash tag lets a client place several keys into one slot. When a key holds a `{` and the first `}` after it
encloses at least one byte, only those bytes are hashed:

    {user:7}:name        hashes user:7
    {user:7}:mail        hashes user:7
    a{}b                 empty tag: the whole key
    {{b}}                hashes {b   (from the first opening brace to the first closing brace after it)
    }a{b}                hashes b

`binascii.crc_hqx` of the standard library computes exactly this CRC in C, so we keep no table of our own.
"""

from binascii import crc_hqx
from typing import Final

SLOT_COUNT: Final = 16_384


def slot_of(key: bytes) -> int:
    """The slot of `key`, 0..SLOT_COUNT - 1. Any bytes are a key, the empty one too (slot 0).

    Cost: one pass over the hashed bytes in C, no allocation unless the key carries a tag.
    """
    opening = key.find(b"{")
    if opening >= 0:
        closing = key.find(b"}", opening + 1)
        if closing > opening + 1:
            key = key[opening + 1 : closing]
    return crc_hqx(key, 0) % SLOT_COUNT
