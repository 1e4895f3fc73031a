"""Epochs never fall, and a version of a register has one content.

Two rules. What one life of a member knows of a shard only moves forward (a restart may forget news that it
had not yet written down; a *voter's* promises it may not, which shows in the second rule). And whatever
anybody holds to be decided: equal versions have equal content, a higher version no lower epoch.
"""

from chaos.sim.checkers import Violation


class EpochsRise:
    """Told whenever a member's view of a decided shard configuration changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, int]] = {}  # (life, shard) -> (epoch, version)
        # By shard and version: epoch, primary, in-sync set.
        self._decided: dict[tuple[str, int], tuple[int, str, frozenset[str]]] = {}
        self._highest: dict[str, tuple[int, int]] = {}  # shard -> (version, epoch) of the newest version

    def knows(
        self, life: str, shard: str, version: int, epoch: int, primary: str, in_sync: frozenset[str]
    ) -> None:
        """In this life of a member it holds `version` of the shard's register to be decided.

        Raises:
            Violation: one of the two rules is broken.
        """
        before = self._known.get((life, shard), (0, 0))
        if epoch < before[0] or version < before[1]:
            raise Violation(
                f"epochs-rise: {life} knew shard {shard} at epoch {before[0]} (version {before[1]}) and now "
                f"holds epoch {epoch} (version {version}) to be decided"
            )
        self._known[life, shard] = (epoch, version)
        first = self._decided.setdefault((shard, version), (epoch, primary, in_sync))
        if first != (epoch, primary, in_sync):
            raise Violation(
                f"epochs-rise: shard {shard} version {version} was decided twice: epoch {first[0]} primary "
                f"{first[1]} with {_listed(first[2])}, and epoch {epoch} primary {primary} with"
                f" {_listed(in_sync)} at {life}"
            )
        newest, highest = self._highest.get(shard, (0, 0))
        if version > newest:
            if epoch < highest:
                raise Violation(
                    f"epochs-rise: shard {shard} fell from epoch {highest} (version {newest}) to {epoch} "
                    f"(version {version})"
                )
            self._highest[shard] = (version, epoch)

    def counted_on(self, shard: str, before_epoch: int) -> frozenset[str]:
        """The in-sync set that was decided last under an epoch before that one."""
        for version in range(self._highest.get(shard, (0, 0))[0], 0, -1):
            decided = self._decided.get((shard, version))  # None: nobody heard of it
            if decided is not None and decided[0] < before_epoch:
                return decided[2]
        return frozenset()


def _listed(members: frozenset[str]) -> str:
    return ", ".join(sorted(members))
