"""What the oracle does not show of sketches: their error, their own test, and damage that changes nothing."""

from __future__ import annotations

import pytest

from node.engine.reply import Failure, Status
from tests.oracle import Ours, decoded


def ask(ours: Ours, *words: bytes) -> object:
    (reply,) = ours.pipeline([list(words)])
    return decoded(reply)


@pytest.mark.slow
def test_the_error_stays_within_four_standard_errors(ours: Ours) -> None:
    for thousand in range(200):
        ours.pipeline([[b"PFADD", b"p", *(b"%d" % (thousand * 1000 + number) for number in range(1000))]])
        if thousand % 20 == 0:
            estimate = ask(ours, b"PFCOUNT", b"p")
            assert isinstance(estimate, int)
            assert abs(estimate / ((thousand + 1) * 1000) - 1) < 4 * 0.0081
    assert ask(ours, b"PFSELFTEST") == Status(b"OK")


def test_damage_is_told_and_changes_nothing(ours: Ours) -> None:
    ask(ours, b"PFADD", b"p", b"a", b"b")
    ask(ours, b"SETRANGE", b"p", b"16", b"\x00")  # a run that leaves registers uncovered
    before = ask(ours, b"GET", b"p")
    for words in ([b"PFCOUNT", b"p"], [b"PFMERGE", b"q", b"p"], [b"PFDEBUG", b"TODENSE", b"p"]):
        reply = ask(ours, *words)
        assert isinstance(reply, Failure)
        assert reply.text == b"INVALIDOBJ Corrupted HLL object detected"
    assert ask(ours, b"GET", b"p") == before
    assert ask(ours, b"EXISTS", b"q") == 0
