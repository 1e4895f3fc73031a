"""From MULTI to EXEC, and the keys that WATCH names.

Source: https://redis.io/docs/latest/develop/interact/transactions/
"""

from libc.stdint cimport uint32_t

from node.engine.call cimport EFFECTS_PENDING, Call
from node.engine.engine cimport Engine
from node.engine.registry cimport FLAG_DENYOOM, FLAG_LOADING, FLAG_MAY_REPLICATE, FLAG_STALE, FLAG_WRITE, Command
from node.engine.span cimport Span

cdef enum:
    FROM_ONE = FLAG_WRITE | FLAG_DENYOOM | FLAG_MAY_REPLICATE  # EXEC has these when one command has
    FROM_ALL = FLAG_STALE | FLAG_LOADING  # and these when all have


cdef bint is_queued(Command command) except -1:
    return command.name not in ("exec", "discard", "multi", "watch", "quit", "reset")


cdef class Transaction:
    """What a client has queued since its MULTI."""

    def __cinit__(self):
        self.queued = []
        self.broken = False
        self.slot = NO_SLOT
        self.some_flags = 0
        self.every_flag = 0xFFFFFFFF

    cdef int queue(self, list words, uint32_t flags) except -1:
        self.queued.append(words)
        self.some_flags |= flags
        self.every_flag &= flags
        return 0

    cdef uint32_t exec_flags(self, uint32_t flags) noexcept:
        """Those of an EXEC of all this: it is let through as a whole, or not at all."""
        return (flags | (self.some_flags & FROM_ONE)) & (self.every_flag | ~<uint32_t> FROM_ALL)

    cdef int note_slot(self, int slot) except -1:
        """Cluster mode: a command with keys of this slot is about to be queued."""
        if self.slot == NO_SLOT:
            self.slot = slot
        elif self.slot != slot:
            self.slot = SEVERAL_SLOTS
        return 0

    cdef int run(self, Call call) except -1:
        """Runs what was queued, without anybody in between, as one reply and one run of effects."""
        cdef Span *argv = call.argv
        cdef int argc = call.argc
        cdef Command command = call.command
        cdef list words
        cdef Py_ssize_t mark
        call.running_script_or_multi = True
        call.transaction_effects = EFFECTS_PENDING
        call.reply_array(len(self.queued))
        try:
            for words in self.queued:
                mark = call.out.used_bytes
                try:
                    call.run_arguments(words)
                except Exception as error:  # its reply is this; the others have theirs
                    call.call_mark = mark
                    call.broke(error)
        finally:
            call.running_script_or_multi = False
            call.argv = argv
            call.argc = argc
            call.command = command
            call.dirty = 0
            call.close_transaction_effects()
        return 0


cdef class Watch:
    """The keys that one client watches. The engine knows it by each of them and breaks it when one changes.

    `places` says of each (database, key) whether it was there: a key that was and no longer is has changed too, when
    its time came and nobody has touched it since; and one that is named by a command that deletes, was not there and
    is not, has not. While the watch is not broken, what was there still is, unless its time came.
    """

    def __cinit__(self, Engine engine not None):
        self.engine = engine
        self.places = {}
        self.broken = False

    def __len__(self):
        return len(self.places)

    cdef int add(self, int database, bytes key) except -1:
        cdef tuple place = (database, key)
        if place not in self.places:
            self.engine.watched.setdefault(place, []).append(self)
            self.places[place] = self.engine.keyspace.exists(database, key)
        return 0

    def touch(self, tuple place, bint there, bint changed):
        """A command has written to one of the keys.

        Args:
            place: (database, key).
            there: it is there now.
            changed: what is at the key has changed, if anything was or is there.
        """
        if not changed:
            self.places[place] = there  # BITFIELD makes a key in silence
        elif there or self.places[place]:
            self.broken = True

    def voids(self):
        """Whether EXEC will do nothing. Once said it stays so, also when the clock goes back to before a key's time
        was over: what was queued meanwhile has not been kept."""
        keyspace = self.engine.keyspace
        if not self.broken:
            self.broken = any(
                there and not keyspace.exists(database, key) for (database, key), there in self.places.items()
            )
        return self.broken

    cdef int forget(self) except -1:
        """The end of it: nobody tells this one of changes any more."""
        for place in self.places:
            others = self.engine.watched[place]
            others.remove(self)
            if not others:
                del self.engine.watched[place]
        self.places.clear()
        return 0
