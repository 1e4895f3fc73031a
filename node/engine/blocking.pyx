"""A client that waits in a command.

For a key: how a command does that is told at the top of waiters.pyx. Or for an answer from elsewhere (WAIT, a
change of the cluster): the handler returns BLOCKED, and whoever has the answer calls `unblock`.
"""

from libc.math cimport ceill
from libc.stdint cimport INT64_MAX, int64_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from node.engine.decimals cimport parse_decimal
from node.engine.engine cimport Engine
from node.engine.gate cimport EVERYTHING
from node.engine.held cimport HELD_LATE
from node.engine.registry cimport FLAG_WRITE, Command
from node.engine.routing cimport route_slot
from node.engine.span cimport Span, span_bytes, span_of
from node.engine.waiters cimport PAIRS_MAX, Wait

from node.engine.reply import BLOCKED, NO_REPLY, NULL_ARRAY, CommandError, Failure

_NOT_A_TIMEOUT = b"ERR timeout is not a float or out of range"
_NEGATIVE = b"ERR timeout is negative"
_TOO_LONG = b"ERR timeout is out of range"


cdef class Blocking(Call):
    # --------------------------------------------------------------------------------------- waiting for keys

    def block_on(
        self,
        list keys,
        int64_t wait_ms,
        int type,
        *,
        on_timeout=NULL_ARRAY,
        list words=None,
        bint also_when_gone=False,
    ):
        """What a handler returns that found nothing to take: the command will run again when a key has changed.

        Args:
            keys: as bytes, in this session's database; all in one slot in cluster mode.
            wait_ms: how long, 0: for ever. Counts from the first time; ignored when the command runs again.
            type: TYPE_* of node.engine.waiters: what a key must hold to be worth another try.
            on_timeout: the reply when time is over, and at once where nobody may wait.
            words: the command to run again, when it is not the one that runs now.
            also_when_gone: a key that is deleted or replaced by another type is worth a try, too.

        Raises:
            CommandError: all clients together wait for more keys than is good; nothing was kept.
        """
        cdef Engine engine = self.engine
        cdef Wait wait
        if not self.may_block:
            return on_timeout
        if self.waiting is None:
            wait = Wait(
                self,
                engine.monotonic_ms + wait_ms if wait_ms > 0 else 0,
                self.database,
                type,
                also_when_gone,
                self.arguments() if words is None else words,
                on_timeout,
            )
            if engine.waiters.add(wait, keys) is None:
                raise CommandError(f"ERR clients of this node wait for {PAIRS_MAX} keys already: try again later")
            self.waiting = wait
        return BLOCKED

    cdef int wait_for(self, int first, int last, int64_t wait_ms, int type) except -1:
        cdef int index
        try:
            value = self.block_on([span_bytes(self.argv[index]) for index in range(first, last + 1)], wait_ms, type)
        except CommandError as error:
            value = error.failure
        if value is BLOCKED:
            self.blocked = True
            return 0
        return self.reply_value(value)

    def wait_ms(self, bytes word not None):
        """A timeout in seconds with a fraction, as milliseconds; 0: none.

        Raises:
            CommandError: with Redis's words.
        """
        cdef int64_t wait_ms = 0
        refusal = self._read_wait(span_of(PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word)), &wait_ms)
        if refusal is not None:
            raise CommandError(refusal.decode("ascii"))
        return wait_ms

    cdef bint wait_ms_at(self, int index, int64_t *wait_ms) except -1:
        refusal = self._read_wait(self.argv[index], wait_ms)
        if refusal is None:
            return True
        self.reply_error_bytes(refusal)
        return False

    cdef bytes _read_wait(self, Span word, int64_t *wait_ms):
        cdef long double value = 0
        if not parse_decimal(word, &value):
            return _NOT_A_TIMEOUT
        value = ceill(value * 1000)
        if value < 0:
            return _NEGATIVE
        # The moment itself must be told in 64 bits, here and in Redis. Of a command that runs again it has been told.
        if self.waiting is None and value > <long double> (INT64_MAX - self.engine.keyspace.now_ms):
            return _TOO_LONG
        wait_ms[0] = <int64_t> value
        return None

    def run_again(self, bytes key not None):
        """The engine's: `key` has changed. Returns whether the command has answered now."""
        cdef Wait wait = self.waiting
        cdef Command command = self.command
        cdef Py_ssize_t mark = self.out.used_bytes
        command.calls -= 1  # it is the same call that goes on
        self.engine.counters.commands -= 1
        self.blocked = False
        self.ready_key = key
        self.call_mark = mark
        try:
            self.call_words(command, wait.words)
        except Exception as error:
            self.broke(error)
        finally:
            self.ready_key = None
        if self.blocked:
            return False
        self.mute(mark)
        if self.engine.gate.committed != EVERYTHING:
            self.hold_reply(mark, HELD_LATE)
        self._go_on()
        return True

    def refusal(self):
        """Why a wait for keys cannot go on here, as an error's text; None: it can.

        The slot may have gone to another shard, or this process may have become a replica.
        """
        cdef Engine engine = self.engine
        cdef int slot
        keys = self.waiting.keys
        if engine.cluster:
            key = keys[0]
            slot = <int> self.keyspace.locate(span_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))).slot
            if not engine.importing[slot]:
                elsewhere = route_slot(self, slot, self.command.flags, self.route_modes(), [])
                if elsewhere is not None:
                    return elsewhere
        if (engine.read_only or self.keyspace.follower) and self.command.flags & FLAG_WRITE:
            return b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
        return None

    # --------------------------------------------------------------------------------- waiting for an answer

    def block(self):
        """Stops executing this client's commands until `unblock`. Handlers return BLOCKED instead."""
        self.blocked = True

    def unblock(self, value):
        """Answers the command that waits and goes on with the client's next one.

        Args:
            value: any reply of node.engine.reply; NO_REPLY when the reply was written already.
        """
        cdef Py_ssize_t mark = self.out.used_bytes
        if not self.blocked:
            return
        self.blocked = False
        self.on_resume = None
        if value is not NO_REPLY:
            self.reply_value(value)
            self.mute(mark)
        if self.engine.gate.committed != EVERYTHING:
            self.hold_reply(mark, HELD_LATE)  # whoever woke us may not have written its effect yet
        self._go_on()

    def _go_on(self):
        if self.waiting is not None:
            self.engine.waiters.remove(self.waiting)
            self.waiting = None
        if self.waker is not None:
            self.waker(self)

    def stop_waiting(self):
        """The client is gone: nobody answers it any more."""
        if self.waiting is not None:
            self.engine.waiters.remove(self.waiting)
            self.waiting = None
