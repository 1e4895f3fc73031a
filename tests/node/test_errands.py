"""Clients that wait for the cluster: answered, refused, bounded."""

from __future__ import annotations

import pytest
import trio

from gossip.register import NoMajority, Refused
from gossip.votes import VoterSet
from node.engine.reply import BLOCKED, OK, CommandError, Failure, Reply
from node.errands import Errands


class Waiting:
    """The two things that errands need of a session."""

    def __init__(self, *, may_block: bool = True) -> None:
        self.may_block = may_block
        self.answered = trio.Event()
        self.reply: Reply = None

    def unblock(self, reply: Reply) -> None:
        self.reply = reply
        self.answered.set()


def no_majority() -> NoMajority:
    return NoMajority("slots", VoterSet(3, ("a", "b", "c")), ["a"], {"b": "lease runs"}, unknown=False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, OK),
        (CommandError("ERR Unknown node x"), Failure(b"ERR Unknown node x")),
        (Refused("Slot 5 is already busy"), Failure(b"ERR Slot 5 is already busy")),
        (
            no_majority(),
            Failure(
                b"CLUSTERDOWN register 'slots': no majority of 3 voters (set 3) in time, not applied; "
                b"b: lease runs; no answer in time from c"
            ),
        ),
    ],
)
async def test_every_end_is_an_answer(
    error: Exception | None, expected: Reply, nursery: trio.Nursery
) -> None:
    errands = Errands()
    await nursery.start(errands.run)
    session = Waiting()

    async def errand() -> Reply:
        await trio.lowlevel.checkpoint()
        if error is not None:
            raise error
        return OK

    assert errands.start(session, errand) is BLOCKED  # type: ignore[arg-type]
    with trio.fail_after(5):
        await session.answered.wait()
    assert session.reply == expected
    assert errands.running == 0


async def test_more_than_the_limit_is_refused(nursery: trio.Nursery) -> None:
    errands = Errands(limit=2)
    await nursery.start(errands.run)
    gate = trio.Event()

    async def errand() -> Reply:
        await gate.wait()
        return OK

    sessions = [Waiting(), Waiting()]
    for session in sessions:
        errands.start(session, errand)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="not applied: 2 changes"):
        errands.start(Waiting(), errand)  # type: ignore[arg-type]

    async def own() -> None:
        await gate.wait()

    assert not errands.start_own(own)
    gate.set()
    with trio.fail_after(5):
        for session in sessions:
            await session.answered.wait()
    assert errands.start_own(own)


def test_transactions_cannot_wait() -> None:
    async def errand() -> Reply:
        return OK

    with pytest.raises(CommandError, match="inside a transaction"):
        Errands().start(Waiting(may_block=False), errand)  # type: ignore[arg-type]
