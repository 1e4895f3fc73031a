"""Who waits for which key. For whoever writes a blocking command, this is all there is to know:

A blocking command is an ordinary handler that tries, and when there is nothing to take says who should try again:

    def blpop(session, args):
        wait_ms = session.wait_ms(args[-1])               # or s.wait_ms_at(index, &wait_ms) in a compiled one
        keys = [session.ready_key] if session.ready_key is not None else args[1:-1]
        for key in keys:
            item = ...                                    # as LPOP would
            if item is not None:
                session.propagate([b"LPOP", key])         # the effect is the command that does not wait
                return [key, item]
        return session.block_on(args[1:-1], wait_ms, TYPE_LIST)

- `block_on` answers BLOCKED, or at once what a timeout answers, where nobody may wait (EXEC, scripts, a replica's
  stream). A compiled command says `return s.wait_for(first, last, wait_ms, TYPE_LIST)` with indices in argv.
- When a key was changed by anybody and holds a value of that type, the same handler runs again, in order of
  waiting; `session.ready_key` then names the key (Redis serves the key that was written first, not the first one
  of the command). It may take something and answer, or call `block_on` again: it then keeps its place and its
  deadline, whatever it says.
- `words` replaces the words that run again: XREAD puts the id that `$` stood for.
- `on_timeout` is the reply when time is over; NULL_ARRAY unless told.
- Nobody has to announce that a key is ready: every command that changes keys does that by the way it says so
  (`changed`, `mark_changed`, `propagate`, `touch_key`). It costs nothing while nobody waits.

The rest is done here and in the session: waiting ends with the timeout, the connection, CLIENT UNBLOCK, and with
MOVED or UNBLOCKED when the slot or the role of primary goes elsewhere. Who waits is served after the command or
the transaction that changed the key has ended, and before the next one of anybody.

This file is the bookkeeping only:

    (database, key) -> Queue   first <-> ... <-> last     one Link for each session that waits for the key
    Wait               _links: its Links in all queues; leaving takes one step for each key
    _touched           queues to look at, in the order in which their keys were changed
    _deadlines         a heap; entries of waits that are over are dropped when they come up or are too many

Rejected: a list of sessions for each key (leaving costs its length: 10,000 workers at one queue are common); a
callback that serves instead of the handler (a second way to write the same command); timers by polling.
"""

from node.engine cimport entry

from heapq import heapify, heappop, heappush

# What a wait is for; the entry's own numbers.
TYPE_LIST = entry.TYPE_LIST
TYPE_ZSET = entry.TYPE_ZSET
TYPE_STREAM = entry.TYPE_STREAM

# Entries of the heap that are over before it is built anew.
STALE_DEADLINES_MAX = 1024


cdef class Wait:
    """One session's wait. `number` orders waits of one deadline."""

    def __cinit__(
        self, session, int64_t deadline_ms, int database, int type, bint also_when_gone, list words, on_timeout
    ):
        self.session = session
        self.deadline_ms = deadline_ms
        self.database = database
        self.type = type
        self.also_when_gone = also_when_gone
        self.words = words
        self.on_timeout = on_timeout
        self._links = []
        self._over = False

    @property
    def keys(self):
        """The keys, as bytes."""
        cdef Link link
        return [link.queue.place[1] for link in self._links]


cdef class Waiters:
    def __cinit__(self):
        self._queues = {}
        self._touched = []
        self._deadlines = []

    cdef Wait add(self, Wait wait, list keys):
        """Lets a session wait for keys (each once); returns None, and keeps nothing, when it would be too much."""
        cdef Queue queue
        cdef Link link
        if self.pair_count + len(keys) > PAIRS_MAX:
            return None
        for key in dict.fromkeys(keys):
            place = (wait.database, key)
            queue = self._queues.get(place)
            if queue is None:
                queue = Queue.__new__(Queue)
                queue.place = place
                self._queues[place] = queue
            link = Link.__new__(Link)
            link.wait = wait
            link.queue = queue
            link.before = queue.last
            if queue.last is None:
                queue.first = link
            else:
                queue.last.after = link
            queue.last = link
            queue.gone_count += wait.also_when_gone
            wait._links.append(link)
        self.count += 1
        self.pair_count += len(wait._links)
        if wait.deadline_ms > 0:
            self._number += 1
            heappush(self._deadlines, (wait.deadline_ms, self._number, wait))
            self.next_deadline_ms = self._deadlines[0][0]
        return wait

    cdef int remove(self, Wait wait) except -1:
        """Ends a wait in all its queues. Harmless when it is over already."""
        cdef Link link
        cdef Queue queue
        if wait._over:
            return 0
        wait._over = True
        self.count -= 1
        self.pair_count -= len(wait._links)
        for link in wait._links:
            queue = link.queue
            if link.before is None:
                queue.first = link.after
            else:
                link.before.after = link.after
            if link.after is None:
                queue.last = link.before
            else:
                link.after.before = link.before
            link.wait = None
            queue.gone_count -= wait.also_when_gone
            if queue.first is None:
                del self._queues[queue.place]
        wait._links = []
        if len(self._deadlines) > 2 * self.count + STALE_DEADLINES_MAX:
            self._deadlines = [item for item in self._deadlines if not (<Wait> item[2])._over]
            heapify(self._deadlines)
        return 0

    cdef int touch(self, int database, bytes key) except -1:
        """A key has changed: those who wait for it are to be looked at."""
        cdef Queue queue = self._queues.get((database, key))
        if queue is not None and not queue.touched:
            queue.touched = True
            self._touched.append(queue)
            self.due = True
        return 0

    cdef int touch_all(self, int database) except -1:
        """Every key of a database (-1: of all) may have changed."""
        for place in list(self._queues):
            if database < 0 or place[0] == database:
                self.touch(place[0], place[1])
        return 0

    cdef list take_touched(self):
        """The queues to look at, once; what is touched from now on comes the next time."""
        cdef Queue queue
        taken = self._touched
        self._touched = []
        self.due = False
        for queue in taken:
            queue.touched = False
        return taken

    cdef list take_expired(self, int64_t now_ms):
        """Waits whose time is over; they are still to be removed."""
        expired = []
        while self._deadlines:
            deadline_ms, _number, wait = self._deadlines[0]
            if deadline_ms > now_ms and not (<Wait> wait)._over:
                break
            heappop(self._deadlines)
            if not (<Wait> wait)._over:
                expired.append(wait)
        self.next_deadline_ms = self._deadlines[0][0] if self._deadlines else 0
        return expired

    cdef list all_waits(self):
        """Every wait that has a key, once."""
        cdef Queue queue
        cdef Link link
        found = {}
        for queue in self._queues.values():
            link = queue.first
            while link is not None:
                found[id(link.wait)] = link.wait
                link = link.after
        return list(found.values())

    @property
    def deadline_count(self):
        """Deadlines that are kept, those of waits that are over included."""
        return len(self._deadlines)

    def waiting_for(self, int database, bytes key):
        """Ids of the sessions that wait for a key, the first one first."""
        cdef Queue queue = self._queues.get((database, key))
        cdef Link link = None if queue is None else queue.first
        found = []
        while link is not None:
            found.append(link.wait.session.id)
            link = link.after
        return found
