"""What all sessions of one process share.

The engine reads no clock: whoever drives it (the pump, a test, the simulator) says what time it is.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.limits cimport INT_MAX
from libc.stdint cimport UINT64_MAX, int16_t, int64_t, uint8_t, uint64_t

from node.engine.database cimport Database
from node.engine.effects cimport Effects
from node.engine.entry cimport Entry, entry_type
from node.engine.evictor cimport Evictor
from node.engine.gate cimport Gate
from node.engine.keyspace cimport Key, Keyspace
from node.engine.registry cimport Command, Registry, timing_class
from node.engine.span cimport span_of
from node.engine.table cimport table_find
from node.engine.waiters cimport Link, Queue, Wait, Waiters

from node.engine.reply import Failure


cdef class Engine:
    def __cinit__(self, *, bint cluster=False, int databases=16, bytes hash_key, int64_t clock_ms):
        cdef int slot
        if len(hash_key) != 16:
            raise ValueError("hash_key must be 16 bytes")
        if not 1 <= databases <= 16384:
            raise ValueError("databases must be 1..16384")
        self.cluster = cluster
        self.registry = Registry()
        self.effects = Effects()
        self.gate = Gate()
        self.keyspace = Keyspace(
            cluster=cluster, databases=1 if cluster else databases, hash_key=hash_key, clock_ms=clock_ms,
            effects=self.effects,
        )
        self.evictor = Evictor(self.keyspace)
        for slot in range(SLOT_COUNT):
            self.slot_owner[slot] = -1
            self.migrating_to[slot] = -1
            self.importing[slot] = 0
        self.owners = []
        self.self_owner = -1
        self.is_primary = True
        self.serving = True
        self.not_serving_reason = b"The cluster is down"
        self.lease_until_ms = 0
        self.write_refusal = None
        self.errors_by_code = {}
        self.waiters = Waiters()
        self.watched = {}
        self.evictor.watched = self.watched
        self.evictor.on_evicted = self.touch_key
        self.next_session_id = 1
        self.limits.bulk_len_max = 512 * 1024 * 1024
        self.limits.argc_max = INT_MAX
        self.limits.inline_max_bytes = 64 * 1024
        self.tick_source = NULL
        self.ticks_per_us = 0.0
        self.slow_us = -1
        self.together_max = TIMED_TOGETHER_MAX
        self.slow_ticks = UINT64_MAX
        self.cycle_us = -1
        self.latency_tracking = True

    def bind_context(self, context):
        """Names the running node that Python handlers find at session.engine.context."""
        self.context = context

    def add_command(self, spec):
        self.registry.add(spec)

    def set_clock_ms(self, int64_t now_ms, int64_t monotonic_ms=0):
        """Says what time it is.

        Args:
            now_ms: wall clock, Unix time in ms: expiry is told by it.
            monotonic_ms: a clock that never steps (CLOCK_BOOTTIME): leases and pauses are told by it.
        """
        self.keyspace.set_clock_ms(now_ms)
        self.monotonic_ms = monotonic_ms

    @property
    def now_ms(self):
        return self.keyspace.now_ms

    # ------------------------------------------------------------------------------------------- routing

    def set_owners(self, list endpoints):
        """Replaces the addresses that MOVED and ASK name, by owner index. At most 32,767."""
        if len(endpoints) > 32767:
            raise ValueError("too many owners")
        self.owners = [bytes(endpoint) for endpoint in endpoints]
        self.routes_changed = True

    def set_slot_range(self, int first, int last, int owner):
        """Gives slots first..last to an owner index; -1 leaves them unassigned."""
        cdef int slot
        if not 0 <= first <= last < SLOT_COUNT:
            raise ValueError(f"slot range {first}-{last} is outside 0-{SLOT_COUNT - 1}")
        if not -1 <= owner < len(self.owners):
            raise ValueError(f"owner {owner} has no endpoint")
        for slot in range(first, last + 1):
            self.slot_owner[slot] = <int16_t> owner
        self.routes_changed = True

    def set_self_owner(self, int owner, bint primary):
        """Says which owner index is this process's shard (-1: none), and whether we are its primary."""
        self.self_owner = owner
        self.is_primary = primary
        self.routes_changed = True

    def set_serving(self, bint serving, bytes reason=b"The cluster is down"):
        self.serving = serving
        self.not_serving_reason = reason
        self.routes_changed = True

    def set_migrating(self, int slot, int owner):
        """Marks a slot as on its way to an owner index (CLUSTER SETSLOT MIGRATING); -1 ends it."""
        if not 0 <= slot < SLOT_COUNT or not -1 <= owner < len(self.owners):
            raise ValueError(f"slot {slot} or owner {owner} is out of range")
        self.migrating_to[slot] = <int16_t> owner

    def set_leaving(self, int slot):
        """Refuses whatever wants a key of this slot of ours, until `set_migrating` says otherwise: it may be
        another shard's any moment, and what it has then is dropped.
        """
        if not 0 <= slot < SLOT_COUNT:
            raise ValueError(f"slot {slot} is out of range")
        self.migrating_to[slot] = LEAVING

    def set_importing(self, int slot, bint importing):
        if not 0 <= slot < SLOT_COUNT:
            raise ValueError(f"slot {slot} is out of range")
        self.importing[slot] = importing
        self.routes_changed = True

    def slot_state(self, int slot):
        """(owner index, migrating-to index, importing) of a slot; the second is -2 for one that is leaving."""
        if not 0 <= slot < SLOT_COUNT:
            raise ValueError(f"slot {slot} is out of range")
        return self.slot_owner[slot], self.migrating_to[slot], bool(self.importing[slot])

    # -------------------------------------------------------------------------------------------- pausing

    def pause(self, int64_t until_ms, bint all_commands):
        """CLIENT PAUSE: holds clients back until until_ms on the monotonic clock. The later end wins."""
        self.pause_mode = max(self.pause_mode, PAUSE_ALL if all_commands else PAUSE_WRITE)
        self.pause_until_ms = max(self.pause_until_ms, until_ms)

    def unpause(self):
        self.pause_mode = PAUSE_NONE
        self.pause_until_ms = 0

    @property
    def paused(self):
        return self.pause_mode != PAUSE_NONE and self.monotonic_ms < self.pause_until_ms

    @property
    def monotonic_now_ms(self):
        return self.monotonic_ms

    # ------------------------------------------------------------------------------------------- watching

    cdef int touch_watched(self, int database, bytes key, bint changed) except -1:
        """A command has written to a key. `changed`: in a way that those who watch it are to know."""
        cdef tuple place = (database, key)
        if self.waiters.pair_count:
            self.waiters.touch(database, key)
        watches = self.watched.get(place)
        if watches is not None:
            there = self._holds(database, key)
            for watch in watches:
                watch.touch(place, there, changed)
        return 0

    cdef bint _holds(self, int database, bytes name) except -1:
        """Whether a key is there, be its time over or not: it is not dropped, for a command may be in the midst of
        telling its effects."""
        cdef Database *opened = self.keyspace.databases[database]
        cdef Key key = self.keyspace.locate(span_of(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)))
        return opened != NULL and table_find(&opened.table[key.slot], key.hash, key.name) != NULL

    cdef int touch_all_watched(self, int database) except -1:
        if self.waiters.pair_count:
            self.waiters.touch_all(database)
        for (watched_database, _key), watches in self.watched.items():
            if database < 0 or watched_database == database:
                for watch in watches:
                    watch.broken = True
        return 0

    cdef int touch_cleared(self, int database) except -1:
        """A database (-1: all) is about to be emptied: only keys that are there change by that."""
        for (watched_database, key), watches in self.watched.items():
            if (database < 0 or watched_database == database) and self.keyspace.exists(watched_database, key):
                for watch in watches:
                    watch.broken = True
        return 0

    cdef int touch_swapped(self, int left, int right) except -1:
        """Two databases are about to change places: what is in neither of them stays away."""
        for (watched_database, key), watches in self.watched.items():
            if watched_database in (left, right) and (
                self.keyspace.exists(left, key) or self.keyspace.exists(right, key)
            ):
                for watch in watches:
                    watch.broken = True
        return 0

    def touch_key(self, int database, bytes key):
        """A key changed by other means than a command with that key among its arguments."""
        if self.watched or self.waiters.pair_count:
            self.touch_watched(database, key, True)

    def touch_database(self, int database):
        """Every key of a database (-1: of all) may have changed: a full sync."""
        if self.watched or self.waiters.pair_count:
            self.touch_all_watched(database)

    # -------------------------------------------------------------------------------------------- waiting

    cdef int serve_waiters(self) except -1:
        """Commands that wait for keys which have changed run again: by key in order of change, then of waiting."""
        cdef Queue queue
        cdef Link link
        cdef Link after
        cdef Wait wait
        cdef int type
        if self._serving_waiters:  # one that is served may change keys itself: the loop below comes to them
            return 0
        self._serving_waiters = True
        try:
            while self.waiters.due:
                # The change may be a new primary's, whose data it is from now on: nothing may be taken of it here.
                self.review_waiters()
                for queue in self.waiters.take_touched():
                    type = self._type_at(queue.place)
                    link = queue.first
                    while link is not None and link.wait is not None:
                        after = link.after
                        wait = link.wait
                        if type < 0 and not queue.gone_count:
                            break
                        if (wait.type == type or wait.also_when_gone) and wait.session.run_again(queue.place[1]):
                            type = self._type_at(queue.place)
                        link = after
        finally:
            self._serving_waiters = False
        return 0

    def _type_at(self, tuple place):
        cdef int database = place[0]
        cdef bytes name = place[1]
        cdef Key key = self.keyspace.locate(span_of(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)))
        cdef Entry *entry = self.keyspace.find(database, &key)
        return -1 if entry == NULL else entry_type(entry)

    def expire_waiters(self):
        """Answers those whose time is over; to be called when `waiters.next_deadline_ms` has come."""
        for wait in self.waiters.take_expired(self.monotonic_ms):
            wait.session.unblock(wait.on_timeout)

    def review_waiters(self):
        """Answers those who wait for keys that are not served here any more: a few times a second."""
        cdef bint lease_over = self.lease_until_ms != 0 and self.monotonic_ms >= self.lease_until_ms
        if not self.waiters.pair_count or not (
            self.routes_changed
            or lease_over
            or self.read_only != self._was_read_only
            or self.keyspace.follower != self._was_follower
        ):
            return
        self.routes_changed = False
        self._was_read_only = self.read_only
        self._was_follower = self.keyspace.follower
        for wait in self.waiters.all_waits():
            refusal = wait.session.refusal()
            if refusal is not None:
                wait.session.unblock(Failure(refusal))

    # ------------------------------------------------------------------------------------------- counting

    cdef int count_error(self, bytes code) except -1:
        self.counters.errors += 1
        if code in self.errors_by_code:
            self.errors_by_code[code] += 1
        elif len(self.errors_by_code) < 128:  # codes can come from Python handlers' texts: bounded
            self.errors_by_code[code] = 1
        return 0

    # -------------------------------------------------------------------------------------------- timing

    cdef int set_tick_source(self, tick_fn source, double ticks_per_us) except -1:
        self.tick_source = source
        self.ticks_per_us = ticks_per_us
        self.set_slow_us(self.slow_us)
        return 0

    cdef uint64_t count_times(self) except? 0:
        """Ends what is being timed, counts it for its commands, and returns how long it took in all."""
        cdef uint64_t now_ticks = self.tick_source()
        # Counters of two processors may disagree: nothing ever took less than no time.
        cdef uint64_t ticks = now_ticks - self.ticks_mark if now_ticks > self.ticks_mark else 0
        cdef uint64_t share = ticks // <uint64_t> self.timed_count
        cdef int index
        cdef int time_class = timing_class(share)
        cdef Command command
        for index in range(self.timed_count):
            command = <Command> <PyObject *> self.timed_together[index]
            command.ticks += share
            if self.latency_tracking:
                if command.timings == NULL:
                    command.begin_timings()
                command.timings[time_class] += 1
        self.timed_count = 0
        self.ticks_mark = now_ticks
        return ticks

    cdef bint make_room(self) except -1:
        """What a command does about memory over the limit; a long one is told to `on_cycle`."""
        cdef uint64_t began_ticks, ended_ticks
        cdef bint done
        cdef int64_t duration_us
        if self.cycle_us < 0 or self.tick_source == NULL or self.on_cycle is None:
            return self.evictor.make_room()
        began_ticks = self.tick_source()
        done = self.evictor.make_room()
        ended_ticks = self.tick_source()
        if ended_ticks > began_ticks:
            duration_us = <int64_t> (<double> (ended_ticks - began_ticks) / self.ticks_per_us)
            if duration_us >= self.cycle_us:
                self.on_cycle("eviction-cycle", duration_us)
        return done

    def set_cycle_us(self, int64_t cycle_us):
        """Evictions of one command that take at least so long are told to `on_cycle`; -1: they are not timed."""
        self.cycle_us = cycle_us

    def set_slow_us(self, int64_t slow_us):
        """Calls that take at least so long are told to `on_slow`; -1: none are."""
        cdef double ticks = slow_us * self.ticks_per_us
        self.slow_us = slow_us
        self.together_max = TIMED_TOGETHER_MAX if slow_us < 0 or slow_us >= 1000 else 1
        if slow_us < 0 or ticks >= 9e18:
            self.slow_ticks = UINT64_MAX
        else:
            self.slow_ticks = <uint64_t> ticks

    def set_limits(self, *, int64_t bulk_len_max=512 * 1024 * 1024, int64_t argc_max=INT_MAX):
        """proto-max-bulk-len, and the largest announced number of arguments (Redis's limit by default).

        Neither costs memory when announced: both are paid for as the bytes arrive.
        """
        self.limits.bulk_len_max = <Py_ssize_t> bulk_len_max
        self.limits.argc_max = <Py_ssize_t> argc_max

    def statistics(self):
        """The counters since start or the last reset, as a dict of ints."""
        return self.counters

    def reset_statistics(self):
        self.counters.commands = 0
        self.counters.connections = 0
        self.counters.rejected_connections = 0
        self.counters.net_input_bytes = 0
        self.counters.net_output_bytes = 0
        self.counters.net_repl_output_bytes = 0
        self.counters.errors = 0
        self.counters.unexpected_errors = 0
        self.counters.reads = 0
        self.counters.writes = 0
        self.counters.query_limit_disconnections = 0
        self.counters.output_limit_disconnections = 0
        self.errors_by_code.clear()
        for command in self.registry.commands():
            command.reset_statistics()
