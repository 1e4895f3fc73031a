"""Claims about ourselves: which of them we deny. The state table of the one member that nobody else decides.

Only we raise our incarnation, so an accusation at or above it needs a denial above it; one below is old news
to everybody but its sender. Somebody else may also speak as us: in a previous life that we forgot, or with
our state directory; then whoever is alive has the higher incarnation, and that is all the same to us.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from gossip.messages import Alive, MemberClaim, Meta


class Presence(Enum):
    """Of ourselves."""

    PRESENT = "present"
    LEAVING = "leaving"


class SelfEvent(Enum):
    STALE = "a claim below our incarnation, or our own words repeated"
    FOREIGN = "an alive claim that we did not make: we lost our memory, or somebody else did"
    ACCUSED = "suspected, declared dead or gone at or above our incarnation"


class SelfEffect(Enum):
    NOTHING = "nothing"
    RAISE = "raise our incarnation above the claim and announce ourselves"
    REFUTE = "the same, and lower our own health: there may be a reason"


SELF_TABLE: Final[Mapping[Presence, Mapping[SelfEvent, SelfEffect]]] = {
    Presence.PRESENT: {
        SelfEvent.STALE: SelfEffect.NOTHING,
        SelfEvent.FOREIGN: SelfEffect.RAISE,
        SelfEvent.ACCUSED: SelfEffect.REFUTE,
    },
    Presence.LEAVING: {
        SelfEvent.STALE: SelfEffect.NOTHING,
        SelfEvent.FOREIGN: SelfEffect.NOTHING,
        SelfEvent.ACCUSED: SelfEffect.NOTHING,
    },
}


def event_of(claim: MemberClaim, incarnation: int, meta: Meta) -> SelfEvent:
    """What a claim about us is, given what we say ourselves."""
    if claim.incarnation < incarnation:
        return SelfEvent.STALE
    if not isinstance(claim, Alive):
        return SelfEvent.ACCUSED
    same = claim.incarnation == incarnation and claim.meta == meta
    return SelfEvent.STALE if same else SelfEvent.FOREIGN
