"""Machines with disks and processes, the clients that use them, and the checkers that listen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from chaos.sim.checkers import Violation
from chaos.sim.checkers.epochs import EpochsRise
from chaos.sim.checkers.lapses import Lapses
from chaos.sim.checkers.owners import one_owner
from chaos.sim.checkers.reigns import Reign, Reigns
from chaos.sim.checkers.serving import OneServing
from chaos.sim.clients import Client
from chaos.sim.clock import Clock
from chaos.sim.events import Events
from chaos.sim.histories import Histories, Key, Office
from chaos.sim.network import Network
from chaos.sim.process import CLUSTER_ID, Process
from chaos.sim.scenario import Options
from chaos.sim.streams import OUTSIDE, End, Streams
from gossip.messages import Address, Envelope
from gossip.past import Past
from gossip.slots import slot_of
from gossip.state import StateError, decode_state, encode_state
from gossip.topology import SLOT_COUNT, SLOTS_REGISTER
from gossip.votes import Plain, VoterSet
from node.config import Config
from node.engine.keyspace import Keyspace

CONNECT_MS: Final = (1, 3)
KEYS_PER_SHARD: Final = 6
DEPARTED_MAX: Final = 8
CALM_MS: Final = 4_000  # without a fault: longer than an empty primary looks for a replica with data
JOIN_RETRY_MS: Final = 300
EMPTY: Final = Past(True, "", CLUSTER_ID)


class Machine:
    """Keeps its disk and its number through all lives of its process."""

    def __init__(self, number: int, disk: Past, clock: Clock) -> None:
        self.number = number
        self.disk = disk
        self.clock = clock
        self.strike: Callable[[Process], bool] | None = None
        """Called between the execution of a client's command and its reply; True: the turn ends there."""
        self.process: Process | None = None
        self.slow_disk: tuple[int, int] | None = None
        """How long a write takes, when it is slow."""
        self.disk_fails = False
        self.unflushed: list[Past] | None = None
        """While it lies: the state before, and whatever it was told to keep since. None: it does not lie."""
        self.restored = False
        """Its disk is an old copy, or lost what it had confirmed."""
        self.paused = False
        self.put_off: list[Callable[[], None]] = []
        self.lives = 0
        self.formats = 0
        """How often the disk was lost; a new member has a new port."""

    def write(self, state: Past) -> None:
        """The disk says that it holds this now."""
        self.disk = state
        if self.unflushed is not None:
            self.unflushed.append(state)


class Cluster:
    """A cluster of `shards` primaries, the other machines replicas in turn, the first `voters` of them vote.

    Args:
        settings: parameters of the nodes, `name=value`. durability: `write-durability`, likewise.
        clocks: how far ahead (ms) and how fast (ppm) those of each machine are; none: all alike.
        bugs: planted in every process.
    """

    def __init__(
        self,
        events: Events,
        network: Network,
        *,
        nodes: int,
        shards: int,
        voters: int,
        settings: tuple[str, ...] = (),
        clocks: tuple[tuple[int, int], ...] = (),
        durability: str = "async",
        bugs: frozenset[str] = frozenset(),
    ) -> None:
        self.events, self.network = events, network
        self.streams = Streams(events, network)
        self.serving, self.epochs, self.reigns = OneServing(), EpochsRise(), Reigns(durability)
        self.histories = Histories()
        self.lapses = Lapses(durability)
        self.shards = tuple(f"s{number}" for number in range(shards))
        self.failed_over = 0
        self.disturbed_ms = 0
        """When a fault last began or ended."""
        self._settings = (*settings, f"write-durability={durability}")
        self._durability = durability
        self._departed: deque[Process] = deque(maxlen=DEPARTED_MAX)
        self._bugs = bugs
        self._dice = events.dice("cluster")
        self._moment = 0
        self._offices: dict[tuple[int, str], Office] = {}
        self._foreign_keys = False  # whether there are other keys than ours, which come and go
        self._names: dict[str, str] = {"": "nobody"}
        self._by_address: dict[Address, Machine] = {}
        self._by_client_address: dict[Address, Machine] = {}
        self.machines: list[Machine] = []
        self._machine_of: dict[str, Machine] = {}
        self.keys = self._choose_keys()
        self._clients: list[Client] = []
        for number in range(nodes):
            self.machines.append(Machine(number, EMPTY, Clock(events, *(clocks[number] if clocks else ()))))
        processes = [self._boot(machine, self._blank(machine)) for machine in self.machines]
        chosen = VoterSet(2, tuple(process.id for process in processes[:voters]))
        records = tuple(process.core.detector.records()[0] for process in processes)
        for process in processes:
            process.enter(chosen, records, {})
            process.start()
        processes[0].ask(SLOTS_REGISTER, self._share_slots)
        for process in processes:
            shard = self.shards[process.machine.number % shards]
            if process.machine.number < shards:
                process.found(shard)
            else:
                process.update_self(shard_id=shard)
                process.settle()

    def _choose_keys(self) -> tuple[Key, ...]:
        """Some of each shard; every third a counter."""
        share = SLOT_COUNT // len(self.shards)
        wanted = dict.fromkeys(range(len(self.shards)), KEYS_PER_SHARD)
        keys: list[Key] = []
        number = 0
        while any(wanted.values()):
            name = b"k%d" % number
            number += 1
            slot = slot_of(name)
            home = min(slot // share, len(self.shards) - 1)
            if wanted[home]:
                wanted[home] -= 1
                keys.append(
                    Key(name, slot, self.shards[home], "counter" if len(keys) % 3 == 2 else "register")
                )
        return tuple(keys)

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

    def replicas_of(self, machine: Machine) -> list[Machine]:
        """Machines whose process follows the one there."""
        primary = machine.process
        if primary is None:
            return []
        return [
            process.machine
            for process in self.processes()
            if process is not primary and process.node.cluster.election.shard.primary == primary.id
        ]

    def voters(self) -> list[Machine]:
        """The machines of the newest voter set that anybody knows."""
        sets = [process.core.voting.voter_set for process in self.processes()]
        newest = max(sets, key=lambda voters: voters.version)
        return [self._machine_of[voter] for voter in newest.voters if voter in self._machine_of]

    def voters_whole(self) -> bool:
        """Nobody has left the newest voter set for good, and no change of it is under way."""
        sets = [process.core.voting.voter_set for process in self.processes()]
        newest = max(sets, key=lambda voters: voters.version)
        held = [voter for voter in newest.voters if voter in self._machine_of]
        lasting = [voter for voter in held if self._machine_of[voter].disk.member_id == voter]
        return not newest.joining and len(lasting) == len(newest.voters)

    # -- lives

    def _blank(self, machine: Machine) -> Past:
        shard = self.shards[machine.number % len(self.shards)]
        member_id = f"{self._dice.getrandbits(160):040x}"
        self._names[member_id] = f"n{machine.number}" + "'" * machine.formats
        return replace(EMPTY, member_id=member_id, shard_id="" if machine.lives == 0 else shard)

    def _boot(self, machine: Machine, disk: Past) -> Process:
        machine.lives += 1
        life = f"n{machine.number}/{machine.lives}"
        # Replicas move by an errand that waits, and errands that wait need trio.
        fixed = [f"port={7000 + machine.formats}", "cluster-allow-replica-migration=no"]
        config = Config.load(None, [*fixed, *self._settings])
        process = machine.process = Process(self, machine, life, disk, config, self._bugs)
        self._by_address[process.address] = self._machine_of[process.id] = machine
        self._by_client_address[process.client_address] = machine
        return process

    def kill(self, machine: Machine) -> None:
        if machine.process is not None:
            self.events.trace(f"{machine.process.life} is killed")
            self._departed.append(machine.process)
            machine.process.die()
            machine.process = None
            machine.paused = False
            machine.strike = None
            machine.put_off.clear()

    def end_for_good(self, machine: Machine) -> None:
        """Whoever comes there next is a new member."""
        self.kill(machine)
        machine.disk, machine.unflushed, machine.restored = EMPTY, None, False

    def tear(self, machine: Machine, dice: Random) -> None:
        """Its state file lacks its end, or has a wrong byte in it. No member starts with that."""
        whole = encode_state(machine.disk.to_plain())
        at = dice.randrange(len(whole))
        torn = whole[:at] if dice.random() < 0.5 else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        try:
            decode_state(torn, f"of machine {machine.number}")
        except StateError as error:
            self.events.trace(f"machine {machine.number} refuses to start: {error}")
        else:
            raise Violation(f"refused: machine {machine.number} took a state file that is torn at byte {at}")

    def ends_rolled_back(self, process: Process, ours: int, theirs: int) -> None:
        """It says that its state file is an old copy. If that is so, somebody moves the file away.

        Raises:
            Violation: it is not.
        """
        machine = process.machine
        if not machine.restored:
            raise Violation(f"refused: {process.life} takes its disk for an old copy: {ours}, not {theirs}")
        self.events.trace(f"{process.life} stops: its disk has serial {ours}, others heard of {theirs}")
        self.end_for_good(machine)  # at once: were all healed meanwhile, it would start with that file
        self.events.at(self.events.now_ms + JOIN_RETRY_MS, lambda: self.restart(machine, lose_disk=True))

    def restart(self, machine: Machine, *, lose_disk: bool) -> None:
        """Begin a new life; without its disk as a new member that joins through anybody."""
        if machine.process is not None:
            return
        if lose_disk or machine.disk.registers is None:
            machine.formats += 1
            machine.disk = EMPTY
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
            for due in put_off:
                due()
            if process.alive:
                process.wake()

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

    def dial(self, source: Process | None, address: Address, done: Callable[[End | None], None]) -> None:
        """A connection to a client port; `done` as in Process.dial. `source` None: from outside."""
        machine = self._by_client_address.get(address)
        number = OUTSIDE if source is None else source.machine.number

        def answer(end: End | None) -> None:
            def tell() -> None:
                if source is not None:
                    if not source.alive:
                        if end is not None:
                            end.close(reset=True)
                        return
                    if end is not None:
                        source.own(end)
                    source.at_once(lambda: done(end))
                else:
                    done(end)

            self.events.at(self.events.now_ms + self.streams.delay_ms(), tell)

        def attempt() -> None:
            if machine is None or not self.network.connected(number, machine.number):
                return  # no answer: whoever dials loses patience
            process = machine.process
            if process is None or process.client_address != address:
                answer(None)
                return
            here, there = self.streams.pair(number, machine.number)
            process.own(there)
            process.at_once(lambda: process.node.accept(there, f"10.1.0.{number}:1"))
            answer(here)

        self.events.at(self.events.now_ms + self.streams.delay_ms(), attempt)

    # -- clients ---------------------------------------------------------------------------------------------

    def start_clients(self, options: Options) -> None:
        """As many as the scenario has."""
        self._foreign_keys = bool(options.lasts_ms[1])
        for number in range(options.clients):
            client = Client(self, number, self.keys, options)
            self._clients.append(client)
            client.start()

    def stop_clients(self) -> None:
        for client in self._clients:
            client.stop()

    def client_addresses(self) -> tuple[Address, ...]:
        """Where clients look for nodes: one port of each machine."""
        return tuple((f"10.0.0.{machine.number + 1}", 7000 + machine.formats) for machine in self.machines)

    def life_at(self, address: Address) -> str:
        """Who listens there now."""
        machine = self._by_client_address.get(address)
        process = None if machine is None else machine.process
        return "" if process is None else process.life

    def moment(self) -> int:
        """Later than every moment before; for histories."""
        self._moment += 1
        return self._moment

    # -- what the checkers are told --------------------------------------------------------------------------

    def contents(self, keyspace: Keyspace, shard: str) -> dict[bytes, bytes]:
        """The keys of one shard that are there."""
        found: dict[bytes, bytes] = {}
        for key in self.keys:
            if key.shard == shard:
                value = keyspace.get(0, key.name)
                if value is not None:
                    found[key.name] = value
        if len(found) != keyspace.size(0) and not self._foreign_keys:
            raise Violation(f"prefix: {keyspace.size(0)} keys, of which {len(found)} were ever written")
        return found

    def takes_office(self, process: Process, shard: str, epoch: int) -> None:
        """It leads from now on."""
        node = process.node
        history = node.replication.history
        self.failed_over += self.reigns.present(shard) is not None
        keys = self.contents(node.engine.keyspace, shard)
        self.histories.begins(shard, Office(epoch, process.life), keys)
        continued, offset = history.id, node.engine.effects.offset
        if not self.reigns.knows(history.id) and history.second_id:
            continued, offset = history.second_id, history.second_end
        in_sync = self.epochs.counted_on(shard, epoch)
        self.reigns.begins(
            Reign(shard, epoch, process.life, history.id, keys),
            continued=continued,
            offset=offset,
            witness=self._witness(process),
            alive=frozenset(other.life for other in self.processes()),
            counted_on=frozenset(other.life for other in self.processes() if self.name(other.id) in in_sync),
        )

    def holders(self, history: str, offset: int) -> tuple[str, ...]:
        """Who has everything before `offset` of that history, or had when it died not long ago: its word may
        still be on its way."""
        known = (*self.processes(), *self._departed)
        return tuple(process.life for process in known if process.node.holds(history, offset))

    def _witness(self, process: Process) -> str:
        """Somebody in sync with a whole copy, who could be heard while `process` looked for one; '' if nobody
        certainly could."""
        if self.events.now_ms - self.disturbed_ms < CALM_MS:
            return ""
        in_sync = process.node.cluster.election.shard.in_sync
        for other in self.processes():
            election = other.node.cluster.election
            has_data = other.node.replication.complete and election.announced_offset > 0
            if other is not process and other.id in in_sync and not other.machine.paused and has_data:
                return other.life
        return ""

    def answered(self, process: Process, office: tuple[str, int] | None, *, held: bool) -> Office:
        """A reply that is no error leaves to a client, under this office (shard and epoch).

        One that was held says what was true when the command ran, and every copy that counts agreed to it
        since: it may leave late. Whether it was right is for the histories.

        Raises:
            Violation: somebody else serves that shard now, or there is no office.
        """
        if office is None:
            raise Violation(f"one-serving: {process.life} answers a client and is no primary")
        self.events.mark(f"{process.life} acknowledges {office[0]}")
        if not held:
            self.serving.acknowledges(office[0], office[1], process.life, self.events.now_ms)
        under = self._offices.get((office[1], process.life))
        if under is None:  # one object for all that is answered under it
            under = self._offices[office[1], process.life] = Office(office[1], process.life)
        return under

    # -- after healing

    def slots(self) -> tuple[int, ...]:
        """One slot of each shard: all slots of one share its fate while nothing migrates."""
        share = SLOT_COUNT // len(self.shards)
        return tuple(number * share for number in range(len(self.shards)))

    def waits_for_people(self, shard_id: str) -> bool:
        """Whether nobody has a copy that may lead, and the disk of its primary, or of a copy that counts, is
        gone: such a shard waits for a person, by design. Who lost its disk cannot say that it is empty."""
        processes = self.processes()
        views = [process.topology.shards.get(shard_id) for process in processes]
        view = max((view for view in views if view is not None), key=lambda view: view.epoch, default=None)
        if view is None:
            return False
        awaited = {view.primary, *(view.in_sync if view.quorum else ())}
        if awaited <= {process.id for process in processes}:
            return False
        for process in processes:
            election = process.node.cluster.election
            entitled = process.id in view.in_sync if view.quorum else election.data_epoch == view.epoch
            whole = process.node.replication.complete and election.data_epoch > 0
            if election.shard.id == shard_id and whole and entitled:
                return False
        return True

    def _judged(self) -> list[tuple[int, str]]:
        """Slots and their shards that must be served in the end."""
        homes = zip(self.slots(), self.shards, strict=True)
        return [(slot, shard_id) for slot, shard_id in homes if not self.waits_for_people(shard_id)]

    def trouble(self) -> str:
        """What does not work yet, '' when everything does."""
        processes = self.processes()
        if len(processes) < len(self.machines):
            return f"{len(self.machines) - len(processes)} processes are down"
        judged = self._judged()
        for slot, shard_id in judged:
            serving = [process for process in processes if process.serves(shard_id)]
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
            follows = process.node.cluster.election.shard.id
            unlinked = process.office is None and not process.node.replication.link_up
            if unlinked and not self.waits_for_people(follows):
                return f"{process.life} has no primary to copy"
        return ""

    def check_owners(self) -> None:
        """Raises Violation unless everybody names the same owner of every slot."""
        slots = [slot for slot, _shard in self._judged()]
        one_owner(
            {
                process.life: {slot: self.name(process.owner_of(slot)) for slot in slots}
                for process in self.processes()
            },
            slots,
        )

    def check_histories(self) -> None:
        """Raises Violation unless what clients saw was allowed."""
        self.histories.check(self._durability, self.reigns.bereft)

    def check_copies(self) -> None:
        """Raises Violation unless every replica with a link, once it has all, holds what its primary
        holds."""
        for process in self.processes():
            node = process.node
            shard = node.cluster.election.shard.id
            if process.office is None and node.replication.in_sync:
                keys = self.contents(node.engine.keyspace, shard)
                history = node.replication.history.id
                self.reigns.check_copy(process.life, shard, history, node.replication.offset, keys)
                primary = self.primary_of(shard)
                if primary is None or primary.process is None:
                    continue
                leader = primary.process.node
                same = (leader.replication.history.id, leader.replication.offset) == (
                    history,
                    node.replication.offset,
                )
                if same and leader.digest != node.digest:
                    raise Violation(
                        f"prefix: {process.life} and {primary.process.life} are both at offset"
                        f" {node.replication.offset} and their digests differ"
                    )
