"""What is done to a simulated cluster while faults last. One fault of each kind at a time.

A cluster that loses a majority of its voters for good never works again, by design, so at most a minority of
the machines is down or frozen at a time and one disk is lost in a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chaos.sim.cluster import Cluster, Machine
from chaos.sim.scenario import Fault


class Faults:
    """Begin with `start`; no new ones begin after `stop`, which also mends whatever is broken."""

    def __init__(self, cluster: Cluster, faults: tuple[Fault, ...]) -> None:
        self.injected = 0
        self._cluster = cluster
        self._events = cluster.events
        self._dice = cluster.events.dice("faults")
        self._faults = faults
        self._hurt: dict[int, None] = {}
        self._disks_lost = 0
        self._over = False

    def start(self) -> None:
        for fault in self._faults:
            self._plan(fault)

    def stop(self) -> None:
        """Heal everything: the network, the frozen, the dead."""
        self._over = True
        self._events.trace("everything heals")
        self._cluster.network.heal()
        for machine in self._cluster.machines:
            self._cluster.resume(machine)
            self._cluster.restart(machine, lose_disk=False)

    def _plan(self, fault: Fault) -> None:
        self._after(self._dice.randint(*fault.every_ms), lambda: self._inject(fault))

    def _after(self, delay_ms: int, then: Callable[[], None]) -> None:
        self._events.at(self._events.now_ms + delay_ms, lambda: None if self._over else then())

    def _inject(self, fault: Fault) -> None:
        target = self._target(fault)
        if target is None or 2 * (len(self._hurt) + 1) >= len(self._cluster.machines):
            self._plan(fault)
            return
        self.injected += 1
        BEGIN[fault.kind](self, fault, target)

    def _target(self, fault: Fault) -> Machine | None:
        machines = [machine for machine in self._cluster.machines if machine.number not in self._hurt]
        if fault.target == "primary":
            primaries = [self._cluster.primary_of(shard) for shard in self._cluster.shards]
            machines = [machine for machine in machines if machine in primaries]
        return self._dice.choice(machines) if machines else None

    def _until(self, fault: Fault, then: Callable[[], None]) -> None:
        def over() -> None:
            then()
            self._plan(fault)

        self._after(self._dice.randint(*fault.for_ms), over)

    def _kill(self, fault: Fault, target: Machine) -> None:
        lose_disk = fault.lose_disk > 0 and not self._disks_lost and self._dice.random() < fault.lose_disk
        self._disks_lost += lose_disk
        self._hurt[target.number] = None
        self._cluster.kill(target)

        def restart() -> None:
            self._hurt.pop(target.number)
            self._cluster.restart(target, lose_disk=lose_disk)

        self._until(fault, restart)

    def _freeze(self, fault: Fault, target: Machine) -> None:
        self._hurt[target.number] = None
        self._cluster.pause(target)

        def resume() -> None:
            self._hurt.pop(target.number)
            self._cluster.resume(target)

        self._until(fault, resume)

    def _partition(self, fault: Fault, target: Machine) -> None:
        """`target` and some others, fewer than half, on one side."""
        numbers = [machine.number for machine in self._cluster.machines]
        others = [number for number in numbers if number != target.number]
        self._dice.shuffle(others)
        few = [target.number, *others[: self._dice.randint(0, max(0, (len(numbers) - 1) // 2 - 1))]]
        rest = [number for number in numbers if number not in few]
        self._events.trace(f"machines {few} are cut off from {rest}")
        self._cluster.network.part(few, rest)
        self._until(fault, lambda: self._cluster.network.part(few, rest, mend=True))

    def _one_way(self, fault: Fault, target: Machine) -> None:
        """Nothing reaches `target`, or nothing of it arrives anywhere."""
        deaf = self._dice.random() < 0.5
        self._events.trace(f"machine {target.number} is {'deaf' if deaf else 'mute'}")
        network = self._cluster.network
        pairs = [
            (other.number, target.number) if deaf else (target.number, other.number)
            for other in self._cluster.machines
            if other is not target
        ]
        for pair in pairs:
            network.cut(*pair)

        def mend() -> None:
            for pair in pairs:
                network.mend(*pair)

        self._until(fault, mend)

    def _swizzle(self, fault: Fault, _target: Machine) -> None:
        """Cut off half the machines one by one, then heal them in another order."""
        numbers = [machine.number for machine in self._cluster.machines]
        chosen = self._dice.sample(numbers, len(numbers) // 2)
        steps: list[tuple[int, bool]] = [(number, False) for number in chosen]
        self._dice.shuffle(chosen)
        steps += [(number, True) for number in chosen]
        self._swizzle_on(fault, steps, numbers)

    def _swizzle_on(self, fault: Fault, steps: list[tuple[int, bool]], numbers: list[int]) -> None:
        if not steps:
            self._plan(fault)
            return
        number, mend = steps[0]
        self._events.trace(f"machine {number} is {'connected again' if mend else 'cut off'}")
        self._cluster.network.part([number], numbers, mend=mend)
        pause_ms = self._dice.randint(*fault.for_ms)
        self._after(pause_ms, lambda: self._swizzle_on(fault, steps[1:], numbers))


BEGIN: Final[Mapping[str, Callable[[Faults, Fault, Machine], None]]] = {
    "kill": Faults._kill,
    "freeze": Faults._freeze,
    "partition": Faults._partition,
    "one-way": Faults._one_way,
    "swizzle": Faults._swizzle,
}
