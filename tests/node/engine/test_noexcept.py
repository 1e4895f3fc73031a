"""No function of the compiled room may swallow what goes wrong in it.

A `noexcept` function in which something can raise prints the exception and goes on. Cython sees which these
are, since it has to write that code, so its output is what we ask.
"""

from __future__ import annotations

import re
from pathlib import Path

import node.engine

ROOM = Path(node.engine.__file__).parent
# They catch what can be raised there (MemoryError) and tell it by a truth value: their callers hold no GIL.
TELL_THEMSELVES = {"node.engine.groups.group_copy", "node.engine.zset._append_copied"}


def test_noexcept_functions_cannot_raise() -> None:
    swallowing = set()
    for source in ROOM.glob("*.pyx"):
        compiled = source.with_suffix(".c").read_text()
        swallowing |= set(re.findall(r'__Pyx_WriteUnraisable\("([^"]+)"', compiled))
    assert swallowing == TELL_THEMSELVES
