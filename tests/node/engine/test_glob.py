"""Patterns: known cases, a slow matcher by recursion as truth, and texts made to be slow."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.engine.glob import matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (b"", b"", True),
        (b"", b"a", False),
        (b"*", b"", False),  # Redis's matcher too says no to an empty text
        (b"*", b"a", True),
        (b"**", b"abc", True),
        (b"a*", b"a", True),
        (b"*a", b"ba", True),
        (b"*a", b"ab", False),
        (b"h?llo", b"hello", True),
        (b"h?llo", b"hllo", False),
        (b"h[ae]llo", b"hallo", True),
        (b"h[ae]llo", b"hillo", False),
        (b"h[^e]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[a-c]llo", b"hbllo", True),
        (b"h[c-a]llo", b"hbllo", True),
        (b"h[a-c]llo", b"hdllo", False),
        (b"[a-]", b"-", False),  # the range from a to ], and no end: as Redis
        (b"[-a]", b"-", True),
        (b"[]", b"a", False),
        (b"[^]", b"a", True),
        (b"[abc", b"b", True),
        (b"[", b"a", False),
        (b"[^", b"a", True),
        (rb"[\]]", b"]", True),
        (rb"[\a-c]", b"b", False),
        (rb"\*", b"*", True),
        (rb"\*", b"a", False),
        (rb"\?a", b"?a", True),
        (b"a\\", b"a\\", True),
        (b"*foo*bar*", b"xxfooyybarzz", True),
        (b"*foo*bar*", b"xxbaryyfoozz", False),
        (b"a*b*c", b"abbbbcbc", True),
        (b"\0*", b"\0abc", True),
        (b"HELLO", b"hello", False),
    ],
)
def test_known_cases(pattern: bytes, text: bytes, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_ignoring_case() -> None:
    assert matches(b"h[A-C]LLO*", b"HbLlo there", ignore_case=True)
    assert not matches(b"h[A-C]LLO*", b"HdLlo there", ignore_case=True)


def slowly(pattern: bytes, text: bytes) -> bool:
    """Stars, question marks and plain letters by their definition."""
    if not pattern:
        return not text
    if pattern[:1] == b"*":
        return any(slowly(pattern[1:], text[index:]) for index in range(len(text) + 1))
    return bool(text) and pattern[:1] in (b"?", text[:1]) and slowly(pattern[1:], text[1:])


@given(
    st.lists(st.sampled_from([b"a", b"b", b"?", b"*"]), max_size=8).map(b"".join),
    st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=8).map(b"".join),
)
def test_agrees_with_the_definition(pattern: bytes, text: bytes) -> None:
    assert matches(pattern, text) == slowly(pattern, text)


@given(st.binary(max_size=30), st.binary(max_size=30), st.booleans())
def test_any_bytes_are_a_pattern(pattern: bytes, text: bytes, ignore_case: bool) -> None:
    assert matches(pattern, text, ignore_case=ignore_case) in (True, False)


def test_many_stars_are_not_slow() -> None:
    began = time.perf_counter()
    assert not matches(b"*a" * 1_000 + b"b", b"a" * 20_000)
    # 40 million steps at the very most; recursion would take longer than the universe has.
    assert time.perf_counter() - began < 2
