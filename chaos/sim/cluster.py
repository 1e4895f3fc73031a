"""Machines with disks and processes, the clients that write to them, and the checkers that listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chaos.sim.checkers.epochs import EpochsRise
from chaos.sim.checkers.owners import one_owner
from chaos.sim.checkers.serving import OneServing
from chaos.sim.events import Events
from chaos.sim.network import Network
from chaos.sim.process import Disk, Process
from gossip.messages import Address, Envelope
from gossip.topology import SLOT_COUNT, SLOTS_REGISTER
from gossip.votes import Plain, VoterSet

CONNECT_MS: Final = (1, 3)
JOIN_RETRY_MS: Final = 300


class Machine:
    """Keeps its disk and its number through all lives of its process."""

    def __init__(self, number: int, disk: Disk) -> None:
        self.number = number
        self.disk = disk
        self.process: Process | None = None
        self.paused = False
        self.put_off: list[Callable[[], None]] = []
        self.lives = 0
        self.formats = 0
        """How often the disk was lost; a new member has a new port."""


class Cluster:
    """A cluster of `shards` primaries, the other machines replicas in turn, the first `voters` of them vote.

    Args:
        bugs: planted in every process: 'skip-lease', 'skip-epoch', 'keep-office'.
    """

    def __init__(
        self, events: Events, network: Network, *, nodes: int, shards: int, voters: int, bugs: frozenset[str]
    ) -> None:
        self.events, self.network = events, network
        self.serving, self.epochs = OneServing(), EpochsRise()
        self.shards = tuple(f"s{number}" for number in range(shards))
        self._bugs = bugs
        self._dice = events.dice("cluster")
        self._names: dict[str, str] = {"": "nobody"}
        self._by_address: dict[Address, Machine] = {}
        self.machines: list[Machine] = []
        self._machine_of: dict[str, Machine] = {}
        for number in range(nodes):
            self.machines.append(Machine(number, Disk("", 0)))
        processes = [self._boot(machine, self._blank(machine)) for machine in self.machines]
        chosen = VoterSet(2, tuple(process.id for process in processes[:voters]))
        records = tuple(process.detector.records()[0] for process in processes)
        for process in processes:
            process.be_given_voters(chosen)
            process.detector.merge(records, process.id, events.now_ms)
            process.start()
        processes[0].propose(SLOTS_REGISTER, self._share_slots, lambda _outcome: None)
        for process in processes:
            shard = self.shards[process.machine.number % shards]
            if process.machine.number < shards:
                process.found(shard)
            else:
                process.update_shard(shard)
                process.settle()

    def _share_slots(self, data: Plain) -> Plain:
        share = SLOT_COUNT // len(self.shards)
        last = len(self.shards) - 1
        return data or tuple(
            (number * share, SLOT_COUNT - 1 if number == last else (number + 1) * share - 1, shard)
            for number, shard in enumerate(self.shards)
        )

    def name(self, member_id: str) -> str:
        """Of a member, for people: n2 for the one that began on machine 2."""
        return self._names.get(member_id, member_id[:8])

    def processes(self) -> list[Process]:
        return [machine.process for machine in self.machines if machine.process is not None]

    def machine_of(self, member_id: str) -> Machine | None:
        return self._machine_of.get(member_id)

    def primary_of(self, shard: str) -> Machine | None:
        """The machine that acts as the shard's primary in its newest epoch, if any."""
        offices = [
            (process.office[1], -process.machine.number)
            for process in self.processes()
            if process.office is not None and process.office[0] == shard
        ]
        return self.machines[-max(offices)[1]] if offices else None

    def attached(self, primary: Process) -> list[str]:
        """Replicas whose link to `primary` is up, by id (both ends of a link know that it is)."""
        found: list[str] = []
        for process in self.processes():
            following = process.following
            if process.link_up and following is not None and following.primary == primary.id:
                found.append(process.id)
        return sorted(found)

    # -- lives

    def _blank(self, machine: Machine) -> Disk:
        shard = self.shards[machine.number % len(self.shards)]
        member_id = f"{self._dice.getrandbits(160):040x}"
        self._names[member_id] = f"n{machine.number}" + "'" * machine.formats
        return Disk(member_id, 0, shard_id="" if machine.lives == 0 else shard)

    def _boot(self, machine: Machine, disk: Disk) -> Process:
        machine.lives += 1
        life = f"n{machine.number}/{machine.lives}"
        process = machine.process = Process(self, machine, life, disk, self._bugs)
        self._by_address[process.address] = self._machine_of[process.id] = machine
        return process

    def kill(self, machine: Machine) -> None:
        if machine.process is not None:
            self.events.trace(f"{machine.process.life} is killed")
            machine.process.alive = False
            machine.process = None
            machine.paused = False
            machine.put_off.clear()

    def restart(self, machine: Machine, *, lose_disk: bool) -> None:
        """Begin a new life; without its disk as a new member that joins through anybody."""
        if machine.process is not None:
            return
        if lose_disk or machine.disk.registers is None:
            machine.formats += 1
            machine.disk = Disk("", 0)
        process = self._boot(
            machine, self._blank(machine) if machine.disk.registers is None else machine.disk
        )
        self.events.trace(f"{process.life} starts" + (" with an empty disk" if not process.joined else ""))
        process.start()
        if not process.joined:
            self._join(process)

    def _join(self, process: Process) -> None:
        if process.joined:
            return
        others = [other for other in self.processes() if other.joined and not other.machine.paused]
        if others:
            other = self._dice.choice(others)
            if self.network.connected(process.machine.number, other.machine.number):
                process.join(other)
                return
        process.later(JOIN_RETRY_MS, lambda: self._join(process))

    def pause(self, machine: Machine) -> None:
        if machine.process is not None and not machine.paused:
            self.events.trace(f"{machine.process.life} stands still")
            machine.paused = True

    def resume(self, machine: Machine) -> None:
        """What waited in its sockets comes first, clients before anything else: the worst order."""
        if not machine.paused:
            return
        machine.paused = False
        process = machine.process
        put_off, machine.put_off = machine.put_off, []
        if process is not None:
            self.events.trace(f"{process.life} goes on")
            for slot in self.slots():
                self._write_at(process, slot)
            process.wake()
            for due in put_off:
                due()

    # -- what passes between machines

    def datagram(self, source: Process, address: Address, envelope: Envelope) -> None:
        machine = self._by_address.get(address)
        self.events.mark(f"{source.life} {type(envelope.message).__name__} {address[0]}")
        if machine is None:
            return
        back = source.address

        def arrive() -> None:
            process = machine.process
            if process is not None and process.address == address:
                process.deliver(envelope, back)

        self.network.datagram(source.machine.number, machine.number, arrive)

    def over_connection(self, source: Process, address: Address, then: Callable[[Process], None]) -> None:
        """`then` with the process at the other end, if it is there and can be talked to."""
        machine = self._by_address.get(address)

        def talk() -> None:
            if machine is None or machine.paused or machine is source.machine or not source.joined:
                return
            process = machine.process
            if process is None or process.address != address or not process.joined:
                return
            if self.network.connected(source.machine.number, machine.number):
                then(process)

        source.later(self.network.round_trip_ms(), talk)

    def check_port(self, source: Process, address: Address, then: Callable[[bool], None]) -> None:
        """A connection attempt: accepted, refused, or no answer (then nothing comes of it)."""
        machine = self._by_address.get(address)

        def attempt() -> None:
            if machine is not None and self.network.connected(source.machine.number, machine.number):
                then(machine.process is None or machine.process.address != address)

        source.later(self._dice.randint(*CONNECT_MS), attempt)

    # -- clients

    def slots(self) -> tuple[int, ...]:
        """One slot of each shard: all slots of one share its fate while nothing migrates."""
        share = SLOT_COUNT // len(self.shards)
        return tuple(number * share for number in range(len(self.shards)))

    def write_everywhere(self) -> None:
        """One write to each slot, at every node: clients reach them all, whatever is cut between them."""
        for process in self.processes():
            if not process.machine.paused:
                for slot in self.slots():
                    self._write_at(process, slot)

    def _write_at(self, process: Process, slot: int) -> None:
        office = process.acknowledges(slot)
        if office is not None:
            process.offset += 1
            self.events.mark(f"{process.life} acknowledges {slot}")
            self.serving.acknowledges(office[0], office[1], process.life, self.events.now_ms)

    # -- after healing

    def trouble(self) -> str:
        """What does not work yet, '' when everything does."""
        processes = self.processes()
        if len(processes) < len(self.machines):
            return f"{len(self.machines) - len(processes)} processes are down"
        for slot in self.slots():
            serving = [process for process in processes if process.acknowledges(slot) is not None]
            if len(serving) != 1:
                names = ", ".join(process.life for process in serving) or "nobody"
                return f"slot {slot} is served by {names}"
            for process in processes:
                shard = process.topology.shards.get(process.topology.slot_owner(slot))
                if shard is None or shard.primary != serving[0].id:
                    return f"{process.life} does not know that {serving[0].life} serves slot {slot}"
        for process in processes:
            for other in processes:
                view = process.topology.members.get(other.id)
                if view is None or view.status != "alive":
                    return f"{process.life} does not hold {other.life} alive"
            if process.office is None and not process.link_up:
                return f"{process.life} has no primary to copy"
        return ""

    def check_owners(self) -> None:
        """Raises Violation unless everybody names the same owner of every slot."""
        slots = self.slots()
        one_owner(
            {
                process.life: {slot: self.name(process.owner_of(slot)) for slot in slots}
                for process in self.processes()
            },
            slots,
        )
