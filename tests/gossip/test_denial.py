"""gossip/denial.py: what we do about claims about ourselves."""

from itertools import product

import pytest

from gossip.denial import SELF_TABLE, Presence, SelfEvent, event_of
from gossip.messages import Alive, Dead, Left, MemberClaim, Meta, Suspect

ME, A = "0" * 40, "a" * 40
OURS = Meta("10.0.0.1", 7000, 17000, "node", "", "", 1, "test")
OTHER = Meta("10.0.0.2", 7000, 17000, "node", "", "", 1, "test")


def test_the_table_covers_the_whole_product() -> None:
    assert {(presence, event) for presence, row in SELF_TABLE.items() for event in row} == set(
        product(Presence, SelfEvent)
    )


@pytest.mark.parametrize(
    ("claim", "event"),
    [
        (Suspect(ME, 2, A), SelfEvent.STALE),
        (Suspect(ME, 3, A), SelfEvent.ACCUSED),
        (Dead(ME, 9, A), SelfEvent.ACCUSED),
        (Left(ME, 3), SelfEvent.ACCUSED),
        (Alive(ME, 2, OTHER), SelfEvent.STALE),
        (Alive(ME, 3, OURS), SelfEvent.STALE),
        (Alive(ME, 3, OTHER), SelfEvent.FOREIGN),
        (Alive(ME, 4, OURS), SelfEvent.FOREIGN),
    ],
)
def test_what_a_claim_is(claim: MemberClaim, event: SelfEvent) -> None:
    assert event_of(claim, 3, OURS) is event
