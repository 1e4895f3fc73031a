"""Local health: how much we distrust our own ears.

A member whose processor is starved sees everybody else fall silent. So before it blames others it looks at
itself: failed probes, helpers that did not even send a nack, having been suspected, and timers that fired
late all raise a score; each answered probe lowers it. Its own timeouts are multiplied by score + 1, which
makes a slow member a patient one and leaves the fast ones fast.

Source: Lifeguard (arXiv 1707.00788), "local health multiplier". We add late timers as evidence: a shell that
was not scheduled knows so for certain.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Awareness:
    """A saturating counter in 0..limit. 0 is healthy."""

    limit: int
    score: int = 0

    def worse(self, by: int = 1) -> None:
        """Evidence against ourselves. `by` is at least 0."""
        self.score = min(self.limit, self.score + by)

    def better(self) -> None:
        """A probe was answered in time."""
        self.score = max(0, self.score - 1)

    def stretch_ms(self, duration_ms: int) -> int:
        """`duration_ms` as a member of our present health should wait it."""
        return duration_ms * (self.score + 1)
