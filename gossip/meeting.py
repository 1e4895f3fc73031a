"""When two clusters meet: which of them goes on, decided by both sides alike.

An empty member that is alone may take another cluster's id; nothing of value is tied to its own. Everything
else
stays apart: merging two clusters that both own slots would give each key two homes, and an address that was
reused must never do that by accident.

    asker \\ answerer     empty and alone         something else
    empty and alone      the lower id goes on    the asker adopts the answerer's
    something else       the answerer adopts     refused, naming both

An answerer that is itself on its way into another cluster says so, and the asker tries again a little later:
what it promised now would be void a moment after.

"The lower id" makes two members that meet each other at the same moment choose the same one.
"""

from dataclasses import dataclass

SAME = "same"
ADOPT_MINE = "adopt-mine"
ADOPTING_YOURS = "adopting-yours"
BUSY = "busy"
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Standing:
    """What one side brings.

    Attributes:
        alone: no other member is listed, and none is on its way in.
        owns_slots: some slot of the cluster is assigned.
        moving: it is on its way into another cluster.
    """

    cluster: str
    alone: bool
    owns_slots: bool
    moving: bool = False

    @property
    def free(self) -> bool:
        """Nothing is tied to its cluster id."""
        return self.alone and not self.owns_slots


def judge_meeting(asker: Standing, answerer: Standing) -> tuple[str, str]:
    """The verdict, from the answerer's mouth, and for a refusal the text for people ('' otherwise)."""
    if asker.cluster == answerer.cluster:
        return SAME, ""
    if answerer.moving:
        return BUSY, ""
    if asker.free and answerer.free:
        return (ADOPT_MINE if answerer.cluster < asker.cluster else ADOPTING_YOURS), ""
    if asker.free:
        return ADOPT_MINE, ""
    if answerer.free:
        return ADOPTING_YOURS, ""
    return REFUSED, (
        f"cluster {asker.cluster} {_describe(asker)} and cluster {answerer.cluster} {_describe(answerer)}: "
        "two clusters are never merged. Reset the members of one of them, then let them join one by one"
    )


def _describe(side: Standing) -> str:
    return ("owns slots" if side.owns_slots else "owns no slots") + (
        " and has one member" if side.alone else " and has other members"
    )
