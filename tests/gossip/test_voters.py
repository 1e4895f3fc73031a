"""Who should vote, as a table of situations; and that the policy always comes to rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.topology import MemberView
from gossip.voters import VoterPolicy, next_voters
from gossip.votes import VOTERS_MAX, VoterSet

POLICY = VoterPolicy(wanted=5, dead_ms=1000)


def cast(spec: str) -> dict[str, MemberView]:
    """Members from words like `a`, `b:dead`, `r:router`, `c@west`, `d@west:dead`."""
    members = {}
    for word in spec.split():
        name, *flags = word.split(":")
        name, _, zone = name.partition("@")
        members[name] = MemberView(
            name,
            "h",
            1,
            2,
            kind="router" if "router" in flags else "node",
            status=next((flag for flag in flags if flag in ("dead", "suspect", "left")), "alive"),  # type: ignore[arg-type]
            zone=zone,
        )
    return members


@pytest.mark.parametrize(
    ("spec", "voters", "expected"),
    [
        ("a", "a", None),
        ("a b", "a", None),  # two voters would be worse than one
        ("a b c", "a", "a b c"),  # in one step
        ("a b c d", "a b c", None),
        ("a b c d e", "a b c", "a b c d e"),
        ("a b c d e f g h", "a b c d e", None),
        ("a b c d e f g h", "a b c d e f g", None),  # more than wanted, but sound
        ("a b:suspect c", "a b c", None),
        ("a b:dead c", "a b c", "a"),  # nobody to take its place: an even set has no use
        ("a b:dead c d", "a b c", "a c d"),
        ("a b:left c d", "a b c", "a c d"),
        ("a c d", "a b c", "a c d"),  # forgotten
        ("a b:dead c:dead d e", "a b c", None),  # no majority, nothing can be decided
        ("a b:dead c r:router d", "a b c", "a c d b r"),
        ("a b c r:router s:router", "a", "a b c r s"),
        ("a b r:router", "a", "a b r"),
        ("a b:suspect c:suspect", "a", None),  # suspects are not made voters
        ("a@x b@x c@x d@y e@z", "a@x", "a b c d e"),
    ],
)
def test_situations(spec: str, voters: str, expected: str | None) -> None:
    members = cast(spec)
    current = VoterSet(1, tuple(name.partition("@")[0] for name in voters.split()))
    dead_since = {name: 0 for name, member in members.items() if member.status == "dead"}
    chosen = next_voters(members, current, dead_since, 5000, POLICY)
    if expected == "a c d b r":  # b is gone, five are not to be had: odd number of the four that are left
        assert chosen is not None
        assert len(chosen) == 3
        assert "b" not in chosen
        assert "r" in chosen  # the witness first
    else:
        assert chosen == (None if expected is None else tuple(sorted(expected.split())))


def test_zones_are_evened_out() -> None:
    members = cast("a@x b@x c@x d@y e@z")
    assert next_voters(members, VoterSet(1, ("a",)), {}, 0, VoterPolicy(wanted=3)) == ("a", "d", "e")


@pytest.mark.parametrize(
    ("spec", "voters", "wanted", "expected"),
    [
        ("a@x b@x c@y d@z", "a b c", 3, "a c d"),  # losing x would stop everything
        ("a@x b@x r@x:router c@y", "a b r", 3, "a c r"),  # nodes give way, witnesses stay
        ("a@x b@x c@x d@y", "a b c", 3, "a b d"),  # better than nothing: with y lost the rest goes on
        ("a@x b@x c@y d@y", "a b c", 3, None),  # two zones: one of them has the majority
        ("a@x b@y c@z d@w", "a b c", 3, None),  # no need
        ("a@x b@x c@y d@z e@w f@w", "a b c d e", 5, None),  # two of five are no majority
        ("a@x b@x c@x d@y e@z f@y", "a b c d e", 5, "a b d e f"),
        ("a b c d e", "a b c", 3, None),  # nobody says where it is
        ("a@x b@x c@y:suspect", "a b c", 3, None),
    ],
)
def test_a_zone_with_a_majority_it_need_not_have(
    spec: str, voters: str, wanted: int, expected: str | None
) -> None:
    current = VoterSet(1, tuple(voters.split()))
    chosen = next_voters(cast(spec), current, {}, 0, VoterPolicy(wanted))
    assert chosen == (None if expected is None else tuple(expected.split()))


@given(st.lists(st.sampled_from("vwxyz"), min_size=3, max_size=12), st.sampled_from([3, 5, 7]))
def test_moving_out_ends_with_no_zone_that_could_be_emptied_further(zones: list[str], wanted: int) -> None:
    members = cast(" ".join(f"m{number:02}@{zone}" for number, zone in enumerate(zones)))
    size = min(wanted, len(zones) - 1 + len(zones) % 2)
    current = VoterSet(1, tuple(sorted(members))[:size])
    for _ in range(20):
        chosen = next_voters(members, current, {}, 0, VoterPolicy(wanted))
        if chosen is None:
            break
        assert len(set(chosen) - set(current.voters)) == 1
        current = VoterSet(current.version + 1, chosen)
    else:
        pytest.fail("voters move for ever")
    load = {zone: sum(members[voter].zone == zone for voter in current.voters) for zone in "vwxyz"}
    rest = {zone: zones.count(zone) - load[zone] for zone in "vwxyz"}
    fullest = max(load.values())
    assert 2 * fullest < size or not any(rest[zone] and load[zone] + 1 < fullest for zone in "vwxyz")


def test_shrinking_takes_from_the_fullest_zone() -> None:
    members = cast("a@x b@x c@y d@z:dead")
    chosen = next_voters(members, VoterSet(1, ("a", "b", "c", "d")), {"d": 0}, 5000, VoterPolicy(3, 1000))
    assert chosen == ("a", "b", "c")
    chosen = next_voters(cast("a@x b@x c@y d@z"), VoterSet(1, ("a", "b", "c", "d")), {}, 0, VoterPolicy(3))
    assert chosen == ("a", "c", "d")


def test_a_restart_is_no_reason() -> None:
    members = cast("a b:dead c d")
    current = VoterSet(1, ("a", "b", "c"))
    assert next_voters(members, current, {"b": 4500}, 5000, POLICY) is None
    assert next_voters(members, current, {"b": 4000}, 5000, POLICY) == ("a", "c", "d")


def test_a_change_under_way_is_finished_first() -> None:
    assert next_voters(cast("a b:dead c d"), VoterSet(2, ("a",), ("a", "b", "c")), {}, 0, POLICY) == (
        "a",
        "b",
        "c",
    )


@pytest.mark.parametrize("bad", [{"wanted": 2}, {"wanted": 9}, {"wanted": 0}, {"dead_ms": -1}])
def test_impossible_policies_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"wanted|dead_ms"):
        VoterPolicy(**bad)


statuses = st.sampled_from(["alive", "alive", "alive", "suspect", "dead", "left"])


@given(
    st.lists(st.tuples(statuses, st.sampled_from("xyz"), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 7),
    st.sampled_from([1, 3, 5, 7]),
)
def test_policy_is_sound_and_comes_to_rest(
    crowd: list[tuple[str, str, bool]], voting: int, wanted: int
) -> None:
    members = {
        f"m{number}": MemberView(
            f"m{number}",
            "h",
            1,
            2,
            kind="router" if router else "node",
            status=status,
            zone=zone,  # type: ignore[arg-type]
        )
        for number, (status, zone, router) in enumerate(crowd)
    }
    current = VoterSet(1, tuple(list(members)[:voting]))
    dead_since = {name: 0 for name, member in members.items() if member.status == "dead"}
    policy = VoterPolicy(wanted, 0)
    chosen = next_voters(members, current, dead_since, 1, policy)
    if chosen is None:
        return
    assert 1 <= len(chosen) <= VOTERS_MAX
    assert len(chosen) % 2 == 1
    assert all(members[name].usable or name in current.voters for name in chosen)
    following = VoterSet(2, chosen)
    again = next_voters(members, following, dead_since, 1, policy)
    assert again is None or sorted(again) != sorted(chosen), "a change to itself"
