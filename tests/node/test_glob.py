"""Glob patterns, by table and against the slow obvious definition."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.glob import is_glob, matches


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (b"*", b"", True), (b"", b"", True), (b"", b"a", False), (b"a*", b"abc", True),
        (b"a?c", b"abc", True), (b"a?c", b"ac", False), (b"h[ae]llo", b"hello", True),
        (b"h[^e]llo", b"hello", False), (b"h[^e]llo", b"hallo", True), (b"[a-c]x", b"bx", True),
        (b"[c-a]x", b"bx", True), (b"\\*", b"*", True), (b"\\*", b"a", False), (b"[\\]]", b"]", True),
        (b"[abc", b"b", True), (b"[", b"[", False), (b"\\", b"\\", True), (b"a**b", b"axxb", True),
        (b"[a-]", b"^", True), (b"*.*.*", b"a.b", False),
    ],
)  # fmt: skip
def test_table(pattern: bytes, text: bytes, fits: bool) -> None:
    assert matches(pattern, text) is fits


def test_case() -> None:
    assert matches(b"MAX*", b"maxmemory", ignore_case=True)
    assert not matches(b"MAX*", b"maxmemory")


@given(st.text("ab*?"), st.text("ab"))
def test_stars_and_question_marks_against_re(pattern: str, text: str) -> None:
    same = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    assert matches(pattern.encode(), text.encode()) is bool(re.fullmatch(same, text, re.DOTALL))


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_any_bytes_give_an_answer(pattern: bytes, text: bytes) -> None:
    assert matches(pattern, text) in (True, False)
    assert matches(pattern + b"*", pattern) or is_glob(pattern) or b"\\" in pattern


def test_many_stars_cost_no_more_than_pattern_times_text() -> None:
    began = time.process_time()
    assert not matches(b"*a" * 30 + b"b", b"a" * 2000)
    assert time.process_time() - began < 2.0  # the recursive form would outlive the universe
