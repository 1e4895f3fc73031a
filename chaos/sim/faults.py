"""What is done to a simulated cluster while faults last. One fault of each kind at a time.

    kill, freeze                a process ends, or stands still; later it starts again, or goes on
    kill-in-turn                ... between execution and replication, between that and the reply, or after it
    freeze-in-turn              ... between execution and reply
    kill-many                   just under half of the primaries at once
    kill-voters                 voters one by one, until too few are left to decide anything
    partition, one-way, swizzle cuts between machines
    cut-link                    between a primary and one of its replicas only
    cut-voters                  between a primary and everybody but its replicas
    reset                       all connections of a node break
    set-clock                   somebody sets a wall clock, an hour or so, forward or back
    slow-disk                   the state file takes long to write
    disk-errors                 ... cannot be written, and is tried again
    old-disk                    an old copy of the state file is put back: it stops, and comes as a new member
    lost-fsync                  a disk says that it has written and has not; then its machine loses power, and
                                the last writes, or many, are gone
    change-voters               somebody changes the voter set, to three or five members by lot
    leave                       a member says farewell, ends and comes back as a new one
    replace                     a member dies, everybody is told to FORGET it, and a new one takes its place
    hand-over                   a person asks a replica to take over (CLUSTER FAILOVER)
    give-back                   a primary gives its lease back and asks for it again, as when handing over
                                comes to nothing
    force                       a person tells a replica to take over at once (CLUSTER FAILOVER FORCE)
    move                        a machine comes back under another address, its disk with it

A cluster that loses a majority of its voters for good never works again, by design, so at most a minority of
the machines is down or frozen at a time (but for kill-voters, which wants that) and one disk is lost in a
run: emptied, or, with `torn`, damaged so that the member refuses to start and somebody moves its file away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from chaos.sim.cluster import Cluster, Machine
from chaos.sim.process import Process
from chaos.sim.scenario import Fault
from gossip.config import GossipConfig
from gossip.register import RegisterError
from node.engine.reply import CommandError

HOUR_MS: Final = 3_600_000
SLOW_DISK_MS: Final = (50, 600)
STRIKE_PATIENCE_MS: Final = 2_000
COPY_BACK_MS: Final = 50
BOOT_MS: Final = (20, 500)
FAREWELL_MS: Final = 2 * GossipConfig().gossip_interval_ms


class Faults:
    """Begin with `start`; no new ones begin after `stop`, which also mends whatever is broken."""

    def __init__(self, cluster: Cluster, faults: tuple[Fault, ...]) -> None:
        self.injected = 0
        self._cluster = cluster
        self._events = cluster.events
        self._dice = cluster.events.dice("faults")
        self._faults = faults
        self._hurt: dict[int, None] = {}
        self._leaving: dict[Machine, None] = {}
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
        for machine in self._leaving:
            self._cluster.end_for_good(machine)
        for machine in self._cluster.machines:
            machine.strike = None
            machine.slow_disk = None
            machine.disk_fails = False
            machine.unflushed = None
            self._cluster.resume(machine)
            self._cluster.restart(machine, lose_disk=False)

    def _plan(self, fault: Fault) -> None:
        self._after(self._dice.randint(*fault.every_ms), lambda: self._inject(fault))

    def _after(self, delay_ms: int, then: Callable[[], None]) -> None:
        self._events.at(self._events.now_ms + delay_ms, lambda: None if self._over else then())

    def _inject(self, fault: Fault) -> None:
        target = self._target(fault)
        if target is None or not self._may_hurt:
            self._plan(fault)
            return
        self.injected += 1
        self._cluster.disturbed_ms = self._events.now_ms
        BEGIN[fault.kind](self, fault, target)

    @property
    def _may_hurt(self) -> bool:
        """One more, and it is still a minority."""
        return 2 * (len(self._hurt) + 1) < len(self._cluster.machines)

    def _target(self, fault: Fault) -> Machine | None:
        machines = [machine for machine in self._cluster.machines if machine.number not in self._hurt]
        if fault.target != "any":
            primaries = [self._cluster.primary_of(shard) for shard in self._cluster.shards]
            wanted = fault.target == "primary"
            machines = [machine for machine in machines if (machine in primaries) is wanted]
        return self._dice.choice(machines) if machines else None

    def _until(self, fault: Fault, then: Callable[[], None]) -> None:
        def over() -> None:
            self._cluster.disturbed_ms = self._events.now_ms
            then()
            self._plan(fault)

        self._after(self._dice.randint(*fault.for_ms), over)

    def _kill(self, fault: Fault, target: Machine) -> None:
        self._cluster.kill(target)
        self._restart_later(fault, target)

    def _restart_later(self, fault: Fault, target: Machine) -> None:
        lose_disk = fault.lose_disk > 0 and not self._disks_lost and self._dice.random() < fault.lose_disk
        self._disks_lost += lose_disk
        torn = lose_disk and fault.torn
        self._hurt[target.number] = None

        def restart() -> None:
            self._hurt.pop(target.number)
            if torn:
                self._cluster.tear(target, self._dice)
            self._cluster.restart(target, lose_disk=lose_disk)

        self._until(fault, restart)

    def _move(self, fault: Fault, target: Machine) -> None:
        self._cluster.kill(target)
        target.formats += 1  # its ports
        self._restart_later(fault, target)

    def _kill_many(self, fault: Fault, _target: Machine) -> None:
        primaries = [self._cluster.primary_of(shard) for shard in self._cluster.shards]
        there = [machine for machine in primaries if machine is not None and machine.number not in self._hurt]
        for machine in self._dice.sample(there, min(len(there), (len(primaries) - 1) // 2)):
            self._cluster.kill(machine)
            self._hurt[machine.number] = None
            self._after(
                self._dice.randint(*fault.for_ms),
                partial(self._come_back, machine),
            )
        self._until(fault, lambda: None)

    def _come_back(self, machine: Machine) -> None:
        self._hurt.pop(machine.number, None)
        self._cluster.restart(machine, lose_disk=False)

    def _kill_voters(self, fault: Fault, _target: Machine) -> None:
        """One after the other until a majority is gone; then each comes back."""
        voters = self._cluster.voters()
        chosen = self._dice.sample(voters, len(voters) // 2 + 1)
        for number, machine in enumerate(chosen):
            at_ms = number * self._dice.randint(100, 1500)
            self._hurt[machine.number] = None
            self._after(at_ms, partial(self._cluster.kill, machine))
            self._after(
                at_ms + self._dice.randint(*fault.for_ms),
                partial(self._come_back, machine),
            )
        self._after(2_000 * len(chosen) + fault.for_ms[1], lambda: self._plan(fault))

    def _kill_in_turn(self, fault: Fault, target: Machine) -> None:
        """With the next command it executes."""
        stage = self._dice.choice(("executed", "fed", "replied"))

        def strike(process: Process) -> bool:
            target.strike = None
            if stage != "executed":
                process.node.feed_replicas()
            if stage == "replied":
                process.node.let_replies_leave()
            self._events.trace(f"{process.life} dies in a turn: {stage}")
            self._cluster.kill(target)
            self._restart_later(fault, target)
            return True

        self._strike(fault, target, strike)

    def _freeze_in_turn(self, fault: Fault, target: Machine) -> None:
        def strike(process: Process) -> bool:
            target.strike = None
            self._events.trace(f"{process.life} stands still in a turn")
            self._cluster.pause(target)
            target.put_off.append(process.end_turn)
            self._hurt[target.number] = None
            self._until(fault, lambda: self._thaw(target))
            return True

        self._strike(fault, target, strike)

    def _strike(self, fault: Fault, target: Machine, strike: Callable[[Process], bool]) -> None:
        """If nobody asks it anything for long, somebody else is looked for."""

        def unless_too_many(process: Process) -> bool:
            return self._may_hurt and strike(process)

        target.strike = unless_too_many

        def give_up() -> None:
            if target.strike is unless_too_many:
                target.strike = None
                self._plan(fault)

        self._after(STRIKE_PATIENCE_MS, give_up)

    def _thaw(self, target: Machine) -> None:
        self._hurt.pop(target.number)
        self._cluster.resume(target)

    def _freeze(self, fault: Fault, target: Machine) -> None:
        self._hurt[target.number] = None
        self._cluster.pause(target)
        self._until(fault, lambda: self._thaw(target))

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

    def _cut_link(self, fault: Fault, target: Machine) -> None:
        replicas = self._cluster.replicas_of(target)
        if not replicas:
            self._plan(fault)
            return
        replica = self._dice.choice(replicas)
        self._events.trace(f"machines {target.number} and {replica.number} do not reach each other")
        network = self._cluster.network
        network.part([target.number], [replica.number])
        self._until(fault, lambda: network.part([target.number], [replica.number], mend=True))

    def _cut_voters(self, fault: Fault, target: Machine) -> None:
        own = [target.number, *(machine.number for machine in self._cluster.replicas_of(target))]
        rest = [machine.number for machine in self._cluster.machines if machine.number not in own]
        self._events.trace(f"machine {target.number} reaches only {own[1:]}")
        network = self._cluster.network
        network.part([target.number], rest)
        self._until(fault, lambda: network.part([target.number], rest, mend=True))

    def _reset(self, fault: Fault, target: Machine) -> None:
        if target.process is not None:
            self._events.trace(f"{target.process.life} loses its connections")
            target.process.break_connections()
        self._plan(fault)

    def _set_clock(self, fault: Fault, target: Machine) -> None:
        by_ms = self._dice.randint(-2 * HOUR_MS, 2 * HOUR_MS)
        self._events.trace(f"the wall clock of machine {target.number} is set by {by_ms} ms")
        target.clock.set_wall(by_ms)
        self._plan(fault)

    def _slow_disk(self, fault: Fault, target: Machine) -> None:
        self._events.trace(f"the disk of machine {target.number} is slow")
        target.slow_disk = SLOW_DISK_MS

        def mend() -> None:
            target.slow_disk = None

        self._until(fault, mend)

    def _give_back(self, fault: Fault, target: Machine) -> None:
        process = target.process
        if process is None or process.office is None:
            self._plan(fault)
            return
        self._events.trace(f"{process.life} gives its lease back")

        def give_back() -> None:
            process.release_lease()
            process.node.cluster.serve_or_not()
            process.settle()

        def ask_again() -> None:
            process.lease_wanted = True
            process.settle()

        process.at_once(give_back)
        self._after(self._dice.randint(*fault.for_ms), partial(process.at_once, ask_again))
        self._plan(fault)

    def _hand_over(self, fault: Fault, target: Machine) -> None:
        """As CLUSTER FAILOVER at one of its replicas, which answers with an error if it cannot."""
        self._ask_to_lead(fault, target, "")

    def _force(self, fault: Fault, target: Machine) -> None:
        """As `_hand_over`, and its primary is not asked."""
        self._ask_to_lead(fault, target, "force")

    def _ask_to_lead(self, fault: Fault, target: Machine, mode: str) -> None:
        asked = [machine.process for machine in self._cluster.replicas_of(target)]
        linked = [process for process in asked if process is not None and process.node.replication.link_up]
        if linked:
            process = self._dice.choice(linked)
            self._events.trace(f"{process.life} is asked to take over{' by force' if mode else ''}")

            async def fail_over() -> None:
                try:
                    await process.node.cluster.fail_over(mode)
                except (CommandError, RegisterError) as error:
                    self._events.trace(f"{process.life} cannot take over: {error}")

            process.node.cluster.errands.start_own(fail_over)
        self._plan(fault)

    def _disk_errors(self, fault: Fault, target: Machine) -> None:
        self._events.trace(f"the disk of machine {target.number} fails")
        target.disk_fails = True

        def mend() -> None:
            target.disk_fails = False

        self._until(fault, mend)

    def _change_voters(self, fault: Fault, target: Machine) -> None:
        process = target.process
        if process is not None and process.joined and not target.paused:
            present = sorted(view.id for view in process.topology.members.values() if view.usable)
            size = self._dice.choice((3, 5))
            if len(present) >= size:
                chosen = tuple(sorted(self._dice.sample(present, size)))
                names = ", ".join(self._cluster.name(member) for member in chosen)
                self._events.trace(f"{process.life} wants to be decided about by {names}")
                process.change_voters(chosen)
        self._plan(fault)

    def _leave(self, fault: Fault, target: Machine) -> None:
        """Not while a voter is gone for good: the set has to heal in between."""
        process = target.process
        if process is None or target.paused or not self._cluster.voters_whole():
            self._plan(fault)
            return
        self._events.trace(f"{process.life} leaves")
        self._hurt[target.number] = None
        self._leaving[target] = None
        process.leave()
        self._after(FAREWELL_MS, lambda: self._go_for_good(fault, target))

    def _replace(self, fault: Fault, target: Machine) -> None:
        process = target.process
        if process is None or not self._cluster.voters_whole():
            self._plan(fault)
            return
        self._hurt[target.number] = None
        self._go_for_good(fault, target)
        self._events.trace(f"everybody forgets {process.life}")
        for other in self._cluster.processes():
            other.at_once(partial(other.drop, process.id))

    def _go_for_good(self, fault: Fault, target: Machine) -> None:
        self._leaving.pop(target, None)
        self._cluster.end_for_good(target)

        def come_anew() -> None:
            self._hurt.pop(target.number)
            self._cluster.restart(target, lose_disk=True)

        self._until(fault, come_anew)

    def _old_disk(self, fault: Fault, target: Machine) -> None:
        """Somebody copies its directory, and puts that back after it has ended; once in a run."""
        if self._disks_lost:
            return
        self._disks_lost += 1
        self._hurt[target.number] = None
        copy = target.disk

        def put_back() -> None:
            self._events.trace(f"machine {target.number} gets an old copy of its disk")
            self._cluster.kill(target)
            target.disk = copy
            target.restored = True
            self._after(COPY_BACK_MS, lambda: self._cluster.restart(target, lose_disk=False))
            self._until(fault, lambda: self._come_back(target))

        self._after(self._dice.randint(*fault.every_ms), put_back)

    def _lost_fsync(self, fault: Fault, target: Machine) -> None:
        """Between two of these the voter set has to heal: whoever forgot promises votes no more."""
        self._events.trace(f"the disk of machine {target.number} lies")
        target.unflushed = [target.disk]

        def lose_power() -> None:
            states, target.unflushed = target.unflushed or [], None
            healthy = target.number not in self._hurt and self._may_hurt and self._cluster.voters_whole()
            if len(states) < 2 or not healthy:
                self._plan(fault)
                return
            kept = self._dice.randrange(len(states) - 1)
            self._events.trace(
                f"machine {target.number} loses power, and its disk the last {len(states) - 1 - kept} writes"
            )
            self._cluster.kill(target)
            target.disk = states[kept]
            target.restored = True
            self._hurt[target.number] = None
            self._after(self._dice.randint(*BOOT_MS), lambda: self._come_back(target))
            self._plan(fault)

        self._after(self._dice.randint(*fault.for_ms), lose_power)

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
    "old-disk": Faults._old_disk,
    "lost-fsync": Faults._lost_fsync,
    "swizzle": Faults._swizzle,
    "kill-in-turn": Faults._kill_in_turn,
    "freeze-in-turn": Faults._freeze_in_turn,
    "kill-many": Faults._kill_many,
    "kill-voters": Faults._kill_voters,
    "cut-link": Faults._cut_link,
    "cut-voters": Faults._cut_voters,
    "reset": Faults._reset,
    "set-clock": Faults._set_clock,
    "slow-disk": Faults._slow_disk,
    "move": Faults._move,
    "give-back": Faults._give_back,
    "hand-over": Faults._hand_over,
    "force": Faults._force,
    "disk-errors": Faults._disk_errors,
    "change-voters": Faults._change_voters,
    "leave": Faults._leave,
    "replace": Faults._replace,
}
