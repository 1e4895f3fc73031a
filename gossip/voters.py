"""Who should vote: from the members there are and the voters there are, the next voter set, or none.

A pure policy. It is asked now and then by whoever cares (the voter with the lowest id that is alive, so that
usually one member asks); its answer goes through `Registers.change_voters`, which makes two askers harmless.

Principles, in order:

1. Leave a working set alone. A change costs a rewrite of every register and a moment with two quorums.
2. Odd and small: 1, 3, 5 or 7. An even set needs as many votes as the next odd one and survives no more
   failures. So a cluster of two has one voter: with two, losing either would stop it.
3. Spread over zones: whoever is chosen is chosen so that one lost zone costs as few votes as possible. A
   sound set is changed for it only when one zone holds a majority and need not: losing that zone would stop
   all decisions. Voters move one at a time then.
4. Replace the dead, but only those that have been dead for long, and only while a majority is alive to decide
   it. A restart is not a reason.
5. Prefer those that carry least: routers are witnesses, and on nodes long uptime counts before newcomers.

Growing from one voter to three is one (joint) change, since two would be worse than either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gossip.topology import MemberView
from gossip.votes import VOTERS_MAX, VoterSet

VOTERS_WANTED: Final = 5  # two failures at once; more voters make every decision wait for more disks


@dataclass(frozen=True, slots=True)
class VoterPolicy:
    """`wanted`: odd, at most 7. `dead_ms`: how long a voter must have been dead before another takes its
    place; longer than any restart, much shorter than until the next failure is likely (a guess: half a
    minute)."""

    wanted: int = VOTERS_WANTED
    dead_ms: int = 30_000

    def __post_init__(self) -> None:
        if not 1 <= self.wanted <= VOTERS_MAX or self.wanted % 2 == 0:
            raise ValueError(f"wanted voters must be odd and at most {VOTERS_MAX}, not {self.wanted}")
        if self.dead_ms < 0:
            raise ValueError("dead_ms must not be negative")


def next_voters(
    members: Mapping[str, MemberView],
    current: VoterSet,
    dead_since_ms: Mapping[str, int],
    now_ms: int,
    policy: VoterPolicy,
) -> tuple[str, ...] | None:
    """The voter set to move to, or None to leave things as they are.

    Args:
        members: as gossip sees them, the voters' own included.
        dead_since_ms: since when a member has been seen dead or has left, for those that are.
        now_ms: on the same clock.
    """
    if current.joining:
        return current.joining  # finish what was begun; nothing else may happen before
    gone = {
        member_id
        for member_id in current.voters
        if _is_gone(members.get(member_id), dead_since_ms.get(member_id), now_ms, policy)
    }
    present = [voter for voter in current.voters if voter in members and members[voter].usable]
    if 2 * len(present) <= len(current.voters):
        return None  # no majority: nothing could be decided, and asking would only make noise
    kept = [voter for voter in current.voters if voter not in gone]
    candidates = [
        members[member_id] for member_id in sorted(members) if _is_candidate(members[member_id], current)
    ]
    size = _odd_at_most(min(policy.wanted, len(kept) + len(candidates)))
    if not gone and len(current.voters) == size:
        return _moved_out(kept, candidates, members)
    if not gone and len(current.voters) > size and len(current.voters) % 2 == 1:
        return None  # more than wanted but sound: somebody lowered the wish; not worth a change
    return _choose(kept, candidates, members, size)


def _is_gone(member: MemberView | None, since_ms: int | None, now_ms: int, policy: VoterPolicy) -> bool:
    if member is None or member.status == "left":
        return True
    return member.status == "dead" and since_ms is not None and now_ms - since_ms >= policy.dead_ms


def _is_candidate(member: MemberView, current: VoterSet) -> bool:
    return member.status == "alive" and member.id not in current.voters


def _odd_at_most(count: int) -> int:
    return max(1, count if count % 2 == 1 else count - 1)


def _choose(
    kept: list[str], candidates: list[MemberView], members: Mapping[str, MemberView], size: int
) -> tuple[str, ...]:
    """Grows or shrinks `kept` to `size`, one pick at a time, always evening out the zones."""
    chosen = list(kept)
    pool = list(candidates)
    while len(chosen) < size and pool:
        best = _next_to_join(pool, _load(chosen, members))
        pool.remove(best)
        chosen.append(best.id)
    while len(chosen) > size:
        chosen.remove(_next_to_go(chosen, members))
    return tuple(sorted(chosen))


def _moved_out(
    voters: list[str], candidates: list[MemberView], members: Mapping[str, MemberView]
) -> tuple[str, ...] | None:
    """One voter of a zone that holds a majority makes room for one elsewhere; None when that helps nobody."""
    load = _load(voters, members)
    fullest, most = max(load.items(), key=lambda item: (item[1], item[0]))
    elsewhere = [member for member in candidates if load[member.zone] + 1 < most]
    if 2 * most <= len(voters) or not elsewhere:
        return None
    goes = _next_to_go([voter for voter in voters if _zone(voter, members) == fullest], members)
    return tuple(sorted([*(voter for voter in voters if voter != goes), _next_to_join(elsewhere, load).id]))


def _zone(member_id: str, members: Mapping[str, MemberView]) -> str:
    member = members.get(member_id)
    return "" if member is None else member.zone


def _load(voters: list[str], members: Mapping[str, MemberView]) -> Counter[str]:
    """How many of them each zone has."""
    return Counter(_zone(member_id, members) for member_id in voters)


def _next_to_join(pool: list[MemberView], load: Counter[str]) -> MemberView:
    """Into the emptiest zone, witnesses before nodes, long uptime before newcomers."""
    return min(
        pool, key=lambda member: (load[member.zone], member.kind != "router", member.started_ms, member.id)
    )


def _next_to_go(chosen: list[str], members: Mapping[str, MemberView]) -> str:
    """From the fullest zone, nodes before witnesses, the dead before anybody."""
    load = _load(chosen, members)
    return max(
        chosen,
        key=lambda member_id: (
            member_id not in members or not members[member_id].usable,
            load[_zone(member_id, members)],
            member_id in members and members[member_id].kind != "router",
            member_id,
        ),
    )
