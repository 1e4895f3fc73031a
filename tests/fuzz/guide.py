"""What the fuzzer learns from a run: the edges of the compiled room that no input reached before.

Only in the sanitizer build, where coverage.c is preloaded; the release build tells nothing, and there the
fuzzer mutates blindly (and several times as fast).
"""

from __future__ import annotations

import ctypes


class Guide:
    """Counts news. `informed` is False when there is nobody to ask."""

    def __init__(self) -> None:
        try:
            self._map = ctypes.CDLL(None)
            self.informed = hasattr(self._map, "coverage_begin")
        except OSError:
            self.informed = False

    def begin(self) -> None:
        if self.informed:
            self._map.coverage_begin()

    def end(self) -> int:
        """How much of the run since `begin` was new."""
        return int(self._map.coverage_end()) if self.informed else 0

    def edges(self) -> int:
        return int(self._map.coverage_edges()) if self.informed else 0
