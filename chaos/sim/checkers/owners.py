"""One owner per slot, once everything has settled.

Every node says what it would answer for a slot: the member it would send a client to, itself included. All
must name the same one, and a node must not hold an office that nobody else knows of.
"""

from collections.abc import Iterable, Mapping

from chaos.sim.checkers import Violation


def one_owner(answers: Mapping[str, Mapping[int, str]], slots: Iterable[int]) -> None:
    """Args:
        answers: member -> slot -> whom it holds to be the owner; '' or missing for nobody.
        slots: those to look at.
    Raises:
        Violation: a slot with no owner, or with two.
    """
    for slot in slots:
        said: dict[str, list[str]] = {}
        for member, owners in answers.items():
            said.setdefault(owners.get(slot, ""), []).append(member)
        if len(said) != 1 or "" in said:
            told = "; ".join(
                f"{owner or 'nobody'} say {', '.join(members)}" for owner, members in said.items()
            )
            raise Violation(f"one-owner: slot {slot} after convergence: {told or 'nobody was asked'}")
