"""Rows of the commands on bits. All of them are compiled: node/engine/bits.pyx, bitfields.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_bitmap = partial(command, group="bitmap", categories="bitmap")

_READ = (KeySpec("RO access"),)
_UNIT = "[index_unit=(BYTE | BIT)]"
_FIELD = "encoding:string offset:integer"

COMMANDS = (
    _bitmap(
        "setbit", 4, "write denyoom",
        keys=(KeySpec("RW access update"),), since="2.2.0", arguments="key:key offset:integer value:integer",
        complexity="O(1), but for the room that a far offset needs",
        summary="Sets or clears one bit of a value and answers what it was.",
    ),
    _bitmap(
        "getbit", 3, "readonly fast",
        keys=_READ, since="2.2.0", arguments="key:key offset:integer",
        summary="Answers one bit of a value; 0 behind its end.",
    ),
    _bitmap(
        "bitcount", -2, "readonly",
        keys=_READ, since="2.6.0", arguments=f"key:key [index=(start:integer end:integer {_UNIT})]",
        complexity="O(N) in the bytes of the range",
        summary="Counts the bits that are set in a value or in a range of it.",
    ),
    _bitmap(
        "bitpos", -3, "readonly",
        keys=_READ, since="2.8.7",
        arguments=f"key:key bit:integer [index=(start:integer [end_index=(end:integer {_UNIT})])]",
        complexity="O(N) in the bytes of the range",
        summary="Finds the first bit that is set, or clear, in a value or in a range of it.",
    ),
    _bitmap(
        "bitop", -4, "write denyoom",
        keys=(KeySpec("OW update", begin=2), KeySpec("RO access", begin=3, last=-1)), since="2.6.0",
        arguments="operation:string destkey:key key:key...",
        complexity="O(N) in the bytes of all values",
        summary="Stores the AND, OR, XOR or NOT of values under a key.",
    ),
    _bitmap(
        "bitfield", -2, "write denyoom",
        keys=(
            KeySpec("RW access update variable_flags", note="Only reads when all of its steps are GET"),
        ),
        since="3.2.0",
        arguments=(
            f"key:key [operation=(GET encoding_offset=({_FIELD}) | write=("
            " [OVERFLOW wrap_sat_fail=(WRAP | SAT | FAIL)]"
            f" write_operation=(SET encoding_offset_value=({_FIELD} value:integer)"
            f" | INCRBY encoding_offset_increment=({_FIELD} increment:integer))))...]"
        ),
        complexity="O(1) for each step",
        summary="Reads, sets and adds to whole numbers of any width at any bit of a value.",
    ),
    _bitmap(
        "bitfield_ro", -2, "readonly fast",
        keys=_READ, since="6.0.0", arguments=f"key:key [GET encoding_offset=({_FIELD}) +...]",
        complexity="O(1) for each step",
        summary="Reads whole numbers of any width at any bit of a value.",
    ),
)  # fmt: skip
