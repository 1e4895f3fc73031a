"""Replies that must not leave yet: with write-durability quorum a client is told nothing that could be lost.

    execute -> reply in the session's buffer, marked with the offset of the stream it depends on
            -> effects to the replicas -> REPLCONF ACK -> commit(offset) -> the reply may leave

Replies are held, not sessions: the pipeline behind a held reply goes on executing and its replies queue up
behind it. What is held counts as unread output of its client, with the limits that apply to that.

A read is marked like a write: with the last change any client made before it. So nobody sees a value that a
failover could still take back. Marking only reads of changed keys would let more of them go at once, and cost
a table of changed keys on the path of each write; an acknowledgement takes less than a millisecond.

The gate knows offsets and sessions only. Who has to acknowledge is decided in node/durability.py.
"""

from heapq import heappop, heappush

from libc.stdint cimport uint64_t

EVERYTHING = <uint64_t> 0xFFFFFFFFFFFFFFFF


cdef class Gate:
    def __cinit__(self):
        self.committed = EVERYTHING
        self.written = 0
        self._waiting = []
        self._released = []

    cdef int wait(self, uint64_t offset, object session) except -1:
        heappush(self._waiting, (offset, session.id, session))
        return 0

    @property
    def closed(self):
        return self.committed != EVERYTHING

    @property
    def waiting_count(self):
        return len(self._waiting)

    @property
    def settled(self):
        """Whether all that clients changed is committed."""
        return self.written <= self.committed

    def close(self, written):
        """From now on replies wait for `commit`.

        Args:
            written: how far the data goes. None of it counts as committed: a primary that was just elected cannot
                know what of it the other copies have.
        """
        self.committed = 0
        self.written = written

    def open(self):
        """Replies leave as soon as they are there, those that waited too."""
        self.committed = EVERYTHING
        self._release()

    def commit(self, offset):
        """Every copy that counts has everything before `offset`; it never falls. True when replies may leave."""
        if self.committed == EVERYTHING or offset <= self.committed:
            return False
        self.committed = offset
        return self._release()

    def _release(self):
        waiting = self._waiting
        released = self._released
        while waiting and waiting[0][0] <= self.committed:
            released.append(heappop(waiting)[2])
        return bool(released)

    def end_held(self, sessions, wrote_text, read_text):
        """Answers every held reply with an error instead. Returns how many there were.

        Args:
            sessions: all there are. Those in the queue are not all that hold a reply: one was woken after the turn in which
                sessions come into the queue, and another was released by a commit that was not enough for its second reply.
            wrote_text: for commands that may have changed something: what happened to that is unknown.
            read_text: for commands that only looked.
        """
        ended = 0
        for session in sessions:
            if session.held_count:
                ended += session.end_held(wrote_text, read_text)
                self._released.append(session)
        self._waiting = []
        return ended

    def take_released(self):
        """The sessions that something may be sent to now."""
        released, self._released = self._released, []
        return released
