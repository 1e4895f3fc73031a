"""Rows of the HyperLogLog commands. All of them are compiled: node/engine/hll_commands.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_sketch = partial(command, group="hyperloglog", categories="hyperloglog")

COMMANDS = (
    _sketch(
        "pfadd", -2, "write denyoom fast",
        keys=(KeySpec("RW insert"),), since="2.8.9", arguments="key:key [element:string...]",
        complexity="O(1) for each element",
        summary="Adds elements to a sketch; answers whether its estimate may have changed.",
    ),
    _sketch(
        "pfcount", -2, "readonly",
        keys=(
            KeySpec(
                "RW access", last=-1,
                note="RW because it may change the internal representation of the key,"
                " and propagate to replicas",
            ),
        ),
        since="2.8.9", arguments="key:key...",
        complexity="O(1) for one key, O(N) in the number of keys",
        summary="Estimates how many different elements were added to sketches, all together.",
    ),
    _sketch(
        "pfmerge", -2, "write denyoom",
        keys=(KeySpec("RW access insert"), KeySpec("RO access", begin=2, last=-1)),
        since="2.8.9", arguments="destkey:key sourcekey:key...",
        complexity="O(N) in the number of keys",
        summary="Makes one sketch of several.",
    ),
    _sketch(
        "pfdebug", 3, "write denyoom admin",
        keys=(KeySpec("RW access", begin=2),), since="2.8.9", arguments="subcommand:string key:key",
        complexity="N/A",
        summary="Shows a sketch's registers or runs, or makes it dense.",
    ),
    _sketch(
        "pfselftest", 1, "admin",
        since="2.8.9", complexity="N/A",
        summary="Counts known elements and checks the estimates.",
    ),
)  # fmt: skip
