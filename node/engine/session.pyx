"""One client's conversation, without I/O.

A session is fed bytes, finds commands in them, checks whether each may run here and now, runs it and
keeps the replies until somebody takes them: the pump (sockets), a test or the simulator (`feed`).

What it is made of has files of its own: replies.pyx writes answers, held.pyx keeps some of them back, call.pyx
runs one command, blocking.pyx waits in one, routing.pyx knows whose a slot is, transaction.pyx is MULTI and WATCH,
applied.pyx the stream that a primary sends to its replica.

The order of the checks is Redis's (processCommand in its server.c), because clients see which error
comes first: name, arity, queue rules, route, refusals (replicas, role, loading), pause, then the call.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from node.engine.applied cimport Applied
from node.engine.blocking cimport Blocking
from node.engine.buf cimport Buf, buf_append, buf_drop_front, buf_free
from node.engine.engine cimport PAUSE_ALL, PAUSE_NONE, Engine
from node.engine.registry cimport (
    FLAG_DENYOOM,
    FLAG_LOADING,
    FLAG_MAY_REPLICATE,
    FLAG_MOVABLEKEYS,
    FLAG_NO_MULTI,
    FLAG_STALE,
    FLAG_WRITE,
    Command,
    unknown_command,
    unknown_subcommand,
)
from node.engine.resp cimport (
    PARSE_BROKEN,
    PARSE_MORE,
    Arrived,
    Parser,
    parser_arrived,
    parser_drop_arrived,
    parser_free,
    parser_rebase,
    parser_reset,
    parser_restart,
    parser_step,
    resp_bulk,
    resp_line,
)
from node.engine.replies cimport REPLIES_OFF, REPLIES_ON, REPLIES_SKIP
from node.engine.routing cimport route_command, route_transaction
from node.engine.span cimport Span, int64_to_bytes, span_bytes, span_of
from node.engine.transaction cimport Transaction, Watch, is_queued
from node.engine.value cimport VALUE_BYTES_MIN, Value, value_bytes, value_new, value_resize

from node.engine.reply import NO_REPLY, NULL_ARRAY, CommandError

cdef extern from *:
    const bint GRAPEVINE_PLAIN_MALLOC  # the sanitizer build: no spare room that would hide a read beyond the end

# A drained input buffer larger than this is given back.
cdef Py_ssize_t KEPT_INPUT_BYTES = 0 if GRAPEVINE_PLAIN_MALLOC else 64 * 1024

cdef enum:
    ARGUMENT_BYTES_MIN = 4096  # of a large argument, before it gets a block of its own

cdef enum:
    DISPATCHED = 0
    STALLED = 1


cdef class Session(Blocking):
    def __cinit__(self, Engine engine not None, *, str address="", str local_address="", int64_t session_id=0):
        self.engine = engine
        self.keyspace = engine.keyspace
        self.resp = 2
        self.fd = -1
        self.address = address
        self.local_address = local_address
        self.name = b""
        self.library_name = b""
        self.library_version = b""
        self.user = b"default"
        self.close_reason = ""
        self.created_ms = engine.monotonic_ms
        self.active_ms = engine.monotonic_ms
        if session_id:
            self.id = session_id
        else:
            self.id = engine.next_session_id
            engine.next_session_id += 1
        parser_restart(&self.parser)

    def __del__(self):  # while the keyspace is there still
        self.drop_arguments()
        self.drop_pins()

    def __dealloc__(self):
        parser_free(&self.parser)
        buf_free(&self.inbuf)

    # ---------------------------------------------------------------------------------------- driving

    def feed(self, data not None):
        """Takes bytes (any object that shows its bytes) as if a client had sent them; returns the replies.

        The door for tests and the simulator. As in the pump, bytes that meet an empty buffer are worked on
        where they lie; unfinished commands are copied and stay until the rest arrives.
        """
        cdef Py_buffer view
        cdef Py_ssize_t taken = 0
        cdef bint buffered = self.in_at != self.inbuf.used_bytes
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.input_bytes += view.len
            replies = b""
            if not buffered:
                while True:
                    taken += self.process(<const uint8_t *> view.buf + taken, view.len - taken, 1 << 30)
                    replies += self.take_output()
                    if not self.more:
                        break
            self.keep(<const uint8_t *> view.buf + taken, view.len - taken)
        finally:
            PyBuffer_Release(&view)
        if buffered:
            self.run_buffered(1 << 30)
            replies += self.take_output()
        while self.more:
            self.run_buffered(1 << 30)
            replies += self.take_output()
        return replies

    cdef int run_buffered(self, int command_budget) except -1:
        """Executes what waits in inbuf."""
        cdef Py_ssize_t consumed
        if self.in_at >= self.inbuf.used_bytes:
            self.more = False
            return 0
        consumed = self.process(
            self.inbuf.data + self.in_at, self.inbuf.used_bytes - self.in_at, command_budget
        )
        self.in_at += consumed
        if self.in_at == self.inbuf.used_bytes:
            self.in_at = 0
            self.inbuf.used_bytes = 0
            if self.inbuf.cap_bytes > KEPT_INPUT_BYTES:
                buf_free(&self.inbuf)
        elif self.in_at > 64 * 1024 and self.in_at * 2 > self.inbuf.used_bytes:
            # Only when half is spent: moving on every turn would cost the square of a long pipeline.
            buf_drop_front(&self.inbuf, self.in_at)
            self.in_at = 0
        return self.keep_argument()

    # --- large arguments -------------------------------------------------------------------------------

    cdef int keep(self, const uint8_t *data, Py_ssize_t len_bytes) except -1:
        cdef uint8_t *at
        cdef Py_ssize_t room, head_bytes
        cdef bint to_its_end
        while self.parser.arriving != NULL and len_bytes > 0:
            self.argument_room(&at, &room, &to_its_end)
            room = min(room, len_bytes)
            memcpy(at, data, <size_t> room)
            self.argument_received(room)
            data += room
            len_bytes -= room
        if self.in_at == self.inbuf.used_bytes and self._has_argument(len_bytes):
            head_bytes = self.parser.at_bytes
            buf_append(&self.inbuf, data, head_bytes)
            return self._begin_argument(data + head_bytes, len_bytes - head_bytes)
        return buf_append(&self.inbuf, data, len_bytes)

    # Whether so many bytes at the front of the input end within a large argument, some of which is there.
    cdef bint _has_argument(self, Py_ssize_t len_bytes) noexcept:
        return (
            self.parser.bulk_len >= VALUE_BYTES_MIN
            and self.parser.arriving == NULL
            and self.parser.arrived_next != self.parser.argc
            and not self.apply_stream
            and not self.closing
            and ARGUMENT_BYTES_MIN <= len_bytes - self.parser.at_bytes < self.parser.bulk_len
        )

    cdef int keep_argument(self) except -1:
        cdef Py_ssize_t have_bytes = self.inbuf.used_bytes - self.in_at
        cdef Py_ssize_t part_bytes
        if not self._has_argument(have_bytes):
            return 0
        part_bytes = have_bytes - self.parser.at_bytes
        self.inbuf.used_bytes -= part_bytes
        return self._begin_argument(self.inbuf.data + self.inbuf.used_bytes, part_bytes)

    cdef int _begin_argument(self, const uint8_t *data, Py_ssize_t len_bytes) except -1:
        # Never more than twice what came: the announced length is a stranger's word.
        cdef size_t room = <size_t> min(self.parser.bulk_len, len_bytes * 2)
        cdef Value *value = value_new(&self.keyspace.store.values, room, <size_t> self.parser.bulk_len)
        if value == NULL:
            raise MemoryError(f"no memory for an argument of {room} bytes")
        memcpy(value_bytes(value), data, <size_t> len_bytes)
        value.len_bytes = <size_t> len_bytes
        self.parser.arriving = value
        return 0

    cdef int argument_room(self, uint8_t **at, Py_ssize_t *room_bytes, bint *to_its_end) except -1:
        cdef Value *value = self.parser.arriving
        cdef Value *moved
        cdef size_t whole = <size_t> self.parser.bulk_len
        cdef size_t room
        if value.len_bytes == value.room_bytes:
            room = min(whole, value.len_bytes * 2)
            moved = value_resize(&self.keyspace.store.values, value, room, whole)
            if moved == NULL:
                raise MemoryError(f"no memory for an argument of {room} bytes")
            self.parser.arriving = value = moved
        room = min(value.room_bytes, whole)
        at[0] = value_bytes(value) + value.len_bytes
        room_bytes[0] = <Py_ssize_t> (room - value.len_bytes)
        to_its_end[0] = room == whole
        return 0

    cdef int argument_received(self, Py_ssize_t len_bytes) except -1:
        self.parser.arriving.len_bytes += <size_t> len_bytes
        if self.parser.arriving.len_bytes == <size_t> self.parser.bulk_len:
            parser_arrived(&self.parser)
        return 0

    cdef Py_ssize_t waiting_bytes(self) noexcept:
        cdef Py_ssize_t total = self.inbuf.used_bytes - self.in_at
        cdef Arrived *item = <Arrived *> self.parser.arrived.data
        cdef Arrived *end = <Arrived *> (self.parser.arrived.data + self.parser.arrived.used_bytes)
        if self.parser.arriving != NULL:
            total += <Py_ssize_t> self.parser.arriving.len_bytes
        while item != end:
            total += <Py_ssize_t> item.value.len_bytes
            item += 1
        return total

    cdef int drop_arguments(self) noexcept:
        if self.parser.arrived.used_bytes > 0 or self.parser.arriving != NULL:
            parser_drop_arrived(&self.parser, &self.keyspace.store.values)
        return 0

    cdef Value *argument_value(self, int index) noexcept:
        cdef Arrived *item = <Arrived *> self.parser.arrived.data
        cdef Arrived *end = <Arrived *> (self.parser.arrived.data + self.parser.arrived.used_bytes)
        while item != end:
            if value_bytes(item.value) == self.argv[index].at:
                return NULL if item.value.stored else item.value
            item += 1
        return NULL

    cdef Py_ssize_t process(self, const uint8_t *data, Py_ssize_t len_bytes, int command_budget) except -1:
        """Executes the complete commands at the front of data, in order, and returns the bytes they took.

        Stops early, with `more` set, when the budget is spent or the client has 4 MiB of replies to
        read; and without it when the session is blocked, stalled or closing.
        """
        cdef Py_ssize_t consumed = 0
        cdef Py_ssize_t before
        self.input_at = data
        self.more = False
        while True:
            before = consumed
            try:
                self._process(data, len_bytes, &consumed, command_budget)
                if self.apply_stream and self.applied.promptly and not self.closing and self.applied.offset != self.applied.acknowledged:
                    self._write_acknowledgement()
                return consumed
            except Exception as error:
                # A compiled command broke: a bug of ours, or no memory. `consumed` is behind it. (Guarded
                # here, once for a whole pipeline, and not around each call.)
                if self.apply_stream:
                    self.closing = True
                    self.applied.broke(self, error)
                self.broke(error)
                if consumed != before:
                    self.drop_arguments()
                parser_restart(&self.parser)
                if consumed == before:  # not a command but the parser: the same bytes would break it again
                    self.closing = True
                    self.close_reason = "an internal error: the log has the details"
                    return consumed

    cdef int _process(
        self, const uint8_t *data, Py_ssize_t len_bytes, Py_ssize_t *consumed_bytes, int command_budget
    ) except -1:
        """Batch by batch: parse up to 16 commands, ask for the lines their keys live in, run them.

        A lookup waits for three lines of memory, one behind the other: table, bucket, entry. Asked for
        ahead, the waits of a batch overlap.
        """
        cdef Parsed batch[BATCH_COMMANDS]
        cdef Parsed *item
        cdef Parser *parser = &self.parser
        cdef Py_ssize_t at
        cdef int count
        cdef int outcome
        cdef int step
        cdef int index
        cdef bint typed
        cdef bint finished
        cdef int first_key
        while consumed_bytes[0] < len_bytes:
            if self.closing or self.blocked or self.stalled:
                break
            if command_budget <= 0 or self.out.used_bytes - self.out_sent + self.pinned_bytes > OUTPUT_PAUSE_BYTES:
                self.more = True
                break
            at = consumed_bytes[0]
            count = 0
            outcome = PARSE_MORE
            while count < BATCH_COMMANDS and at < len_bytes:
                outcome = parser_step(parser, span_of(data + at, len_bytes - at), &self.engine.limits)
                if outcome == PARSE_MORE or outcome == PARSE_BROKEN:
                    break
                item = &batch[count]
                count += 1
                item.start_bytes = at
                item.len_bytes = parser.at_bytes
                item.argv_base = parser.argv_base
                item.argc = <int> parser.argc
                at += parser.at_bytes
                parser.argv_base += parser.argc
                typed = parser.unquoted.used_bytes > 0
                parser_reset(parser)
                if typed or parser.argv_base > BATCH_ARGUMENTS:
                    break  # the next inline command would overwrite this one's words
            for index in range(count):
                item = &batch[index]
                item.key_index = 0
                item.command = NULL
                if item.argc == 0:
                    continue
                item.command = self.engine.registry.find(parser.argv[item.argv_base])
                if item.command == NULL:
                    continue
                first_key = (<Command> <PyObject *> item.command).first_key
                if 0 < first_key < item.argc and (<Command> <PyObject *> item.command).children is None:
                    item.key = self.keyspace.locate(parser.argv[item.argv_base + first_key])
                    item.key_index = first_key
            if count > 1:
                for step in range(3):
                    for index in range(count):
                        if batch[index].key_index > 0:
                            self.keyspace.prefetch_step(self.database, &batch[index].key, step)
            self.engine.timed_count = 0
            if self.engine.tick_source != NULL:
                self.engine.ticks_mark = self.engine.tick_source()
            finished = self._run_batch(batch, count, consumed_bytes, &command_budget)
            if self.engine.timed_count:
                self.timed(False)
            if not finished:
                parser_restart(parser)  # what was parsed ahead is parsed again later
                break
            if outcome == PARSE_BROKEN:
                if not self.closing and not self.blocked:  # otherwise nobody reads on, or not yet
                    self._protocol_error()
                parser_restart(parser)
                break
            parser_rebase(parser)
            if outcome == PARSE_MORE:
                break
        return 0

    cdef int _run_batch(
        self, Parsed *batch, int count, Py_ssize_t *consumed_bytes, int *command_budget
    ) except -1:
        """Runs parsed commands in order. Returns 0 when it had to stop before the last of them."""
        cdef int index
        cdef Parsed *item
        cdef Command command
        cdef const uint8_t *raw
        for index in range(count):
            item = &batch[index]
            if self.engine.waiters.due:
                self.engine.serve_waiters()
            if self.closing or self.blocked or self.stalled:
                return 0
            if command_budget[0] <= 0 or self.out.used_bytes - self.out_sent + self.pinned_bytes > OUTPUT_PAUSE_BYTES:
                self.more = True
                return 0
            consumed_bytes[0] = item.start_bytes + item.len_bytes  # also when it raises
            self.argv = self.parser.argv + item.argv_base
            self.argc = item.argc
            if self.apply_stream:
                raw = self.input_at + item.start_bytes
                if self.applied.holds(self):
                    command_budget[0] -= 1
                    self.applied.hold(self, raw, item.len_bytes)
                    continue
                self.applied.pass_on(self, raw, item.len_bytes)
            if item.argc == 0:
                continue
            command_budget[0] -= 1
            self.first_key = item.key
            self.first_key_index = item.key_index
            command = None if item.command == NULL else <Command> <PyObject *> item.command
            if self.dispatch(command) == STALLED:
                consumed_bytes[0] = item.start_bytes
                self.stalled = True
                return 0
            if self.parser.arrived.used_bytes > 0:
                parser_drop_arrived(&self.parser, &self.keyspace.store.values)
        if self.engine.waiters.due:
            self.engine.serve_waiters()
        return 1

    def _protocol_error(self):
        text = (<bytes> self.parser.error).decode("ascii")
        if self.parser.error_byte:
            text = text.replace("%c", chr(self.parser.error_byte))
            self.parser.error_byte = 0
        if not self.apply_stream:
            self._refuse(b"ERR " + text.encode("latin-1"))
        self.closing = True
        self.close_reason = text

    # --------------------------------------------------------------------------------------- dispatch

    cdef int dispatch(self, Command command) except -1:
        """Checks and runs the command in argv. `first_key` may hold its first key, located already."""
        cdef Engine engine = self.engine
        cdef Py_ssize_t mark = self.out.used_bytes
        cdef uint32_t flags
        if command is None:
            return self._refuse(unknown_command(self.argv, self.argc))
        if command.children is not None and self.argc > 1:
            child = command.children.get(span_bytes(self.argv[1]).lower())
            if child is None:
                return self._refuse(unknown_subcommand(command, self.argv))
            command = child
        if (command.arity > 0 and self.argc != command.arity) or self.argc < -command.arity:
            return self._reject(command, b"ERR wrong number of arguments for '%b' command" % command.name.encode("ascii"))
        flags = command.flags
        self.active_ms = engine.monotonic_ms

        if self.apply_stream:
            self.applied.call(self, command)
            return DISPATCHED

        if self.transaction is not None and command.name == "exec":
            flags = self.transaction.exec_flags(flags)
            refusal = route_transaction(self, self.transaction, self.route_modes()) if engine.cluster else None
            if refusal is not None:  # before the refusals: another node may take it
                command.rejected += 1
                self.discard_transaction()
                return self._refuse(refusal)
        if engine.cluster and (command.first_key > 0 or flags & FLAG_MOVABLEKEYS):
            refusal = route_command(self, command, self.route_modes())
            if refusal is not None:
                command.rejected += 1
                return self._refuse(refusal)
            if self.transaction is not None and self.first_key_index > 0 and self._queues():
                self.transaction.note_slot(<int> self.first_key.slot)
        if flags & FLAG_WRITE:
            if engine.read_only:
                return self._reject(command, b"READONLY You can't write against a read only replica.")
            if engine.write_refusal is not None:
                return self._reject(command, engine.write_refusal)
        # Not within EXEC: room was made before it, and half of it done is worse than memory a little above the limit.
        if engine.evictor.limit_bytes > 0 and not self.keyspace.follower and not self.running_script_or_multi:
            if self.keyspace.used_bytes() > <uint64_t> engine.evictor.limit_bytes:
                if not engine.make_room() and (
                    flags & FLAG_DENYOOM or (self.transaction is not None and is_queued(command))
                ):
                    return self._reject(command, b"OOM command not allowed when used memory > 'maxmemory'.")
        if engine.stale and not flags & FLAG_STALE:
            return self._reject(command, b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
        if engine.loading and not flags & FLAG_LOADING:
            return self._reject(command, b"LOADING Redis is loading the dataset in memory")
        # Not within EXEC: it was let through as a whole, and its reply has begun.
        if engine.pause_mode != PAUSE_NONE and not self.is_replica and not self.running_script_or_multi:
            if engine.monotonic_ms >= engine.pause_until_ms:
                engine.unpause()
            elif engine.pause_mode == PAUSE_ALL or flags & (FLAG_WRITE | FLAG_MAY_REPLICATE):
                # Where clients wait for an office (the lease ends with the pause then, office.py) ROLE does not:
                # it is how a predecessor learns that we know of ours.
                if command.name != "client|unpause" and (
                    command.name != "role" or engine.pause_until_ms != engine.lease_until_ms
                ):
                    return STALLED
        if self.transaction is not None:
            if is_queued(command):
                if flags & FLAG_NO_MULTI:
                    return self._reject(command, b"ERR Command not allowed inside a transaction")
                if self._queues():
                    self.transaction.queue(self.arguments(), flags)
                self.reply_simple("QUEUED")
                return self.mute(mark)
        self.command_count += 1
        self.call(command)
        if self.asking and command.name != "asking":
            self._end_asking()
        if self.reply_mode != REPLIES_ON and not self.running_script_or_multi and not self.blocked:
            self.mute(mark)
        if engine.gate.written > engine.gate.committed and not self.running_script_or_multi:
            self.hold_reply(mark, engine.gate.written)
        return DISPATCHED

    # ASKING was for the command that is over now, and where that was MULTI, for all up to EXEC.
    cdef void _end_asking(self) noexcept:
        if self.transaction is None and not self.running_script_or_multi:
            self.asking = False

    cdef int _refuse(self, bytes text) except -1:
        """An error before the command ran: inside MULTI it also spoils the transaction."""
        self._end_asking()
        if self.apply_stream:  # our primary awaits no replies: an error would be a command to it
            return self.applied.refused(self, span_bytes(self.argv[0])[:64].decode("latin-1").lower(), text)
        if self.transaction is not None:
            self.transaction.broken = True
        if self.reply_mode == REPLIES_OFF or self.reply_mode == REPLIES_SKIP:
            if self.reply_mode == REPLIES_SKIP:
                self.reply_mode = REPLIES_ON
            return 0
        # Not reply_error_bytes: the failure is not that of the command that ran last.
        self.engine.count_error(text.split(b" ", 1)[0])
        return resp_line(&self.out, 45, span_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)))

    cdef int _reject(self, Command command, bytes text) except -1:
        """A known command that may not run here and now. An EXEC that may not run ends the transaction."""
        command.rejected += 1
        if command.name == "exec":
            self.transaction = None
            self.unwatch()
            text = b"EXECABORT Transaction discarded because of: " + text.removeprefix(b"ERR ")
        return self._refuse(text)

    # Whether a command of this transaction is kept: EXEC will not run one that is spoilt already.
    cdef bint _queues(self) except -1:
        return not self.transaction.broken and not self.watch_broken

    # -------------------------------------------------------------------------------------- transactions

    def begin_transaction(self):
        if self.transaction is not None:
            raise CommandError("ERR MULTI calls can not be nested")
        self.transaction = Transaction()

    def discard_transaction(self):
        if self.transaction is None:
            raise CommandError("ERR DISCARD without MULTI")
        self.transaction = None
        self.unwatch()

    def watch(self, list keys):
        if self.transaction is not None:
            raise CommandError("ERR WATCH inside MULTI is not allowed")
        if self.watching is None:
            self.watching = Watch(self.engine)
        for key in keys:
            self.watching.add(self.database, key)

    def unwatch(self):
        watching = self.watching
        self.watching = None
        if watching is not None:
            (<Watch> watching).forget()

    @property
    def watch_broken(self):
        """A watched key has changed: EXEC will do nothing."""
        return self.watching is not None and self.watching.voids()

    def execute_transaction(self):
        """EXEC: runs what was queued and returns NO_REPLY (the replies are written)."""
        cdef Transaction transaction = self.transaction
        cdef bint watch_broken = self.watch_broken
        if transaction is None:
            raise CommandError("ERR EXEC without MULTI")
        self.transaction = None
        self.unwatch()
        if transaction.broken:
            raise CommandError("EXECABORT Transaction discarded because of previous errors.")
        if watch_broken:
            return NULL_ARRAY
        transaction.run(self)
        return NO_REPLY

    @property
    def in_transaction(self):
        return self.transaction is not None

    @property
    def queued_count(self):
        """Commands queued since MULTI; -1 outside of one (the `multi` field of CLIENT LIST)."""
        return -1 if self.transaction is None else len(self.transaction.queued)

    @property
    def watching_count(self):
        return 0 if self.watching is None else len(self.watching)

    # ------------------------------------------------------------------------------------------- control
    def close_after_reply(self, str reason=""):
        """Ends the connection once the replies written so far are sent."""
        self.closing = True
        if reason and not self.close_reason:
            self.close_reason = reason
        if self.waker is not None:
            self.waker(self)

    def resume(self):
        """The pause of CLIENT PAUSE may be over: looks at the waiting command again."""
        self.stalled = False
        if self.waker is not None:
            self.waker(self)

    def write(self, bytes data not None):
        """Sends bytes to the client as they are (the replication protocol's lines and snapshots)."""
        buf_append(&self.out, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if self.waker is not None:
            self.waker(self)

    def start_feed(self, uint64_t offset):
        """Makes this the link of a replica: the pump sends the effects stream from `offset` on.

        Raises:
            ValueError: the ring no longer holds that offset.
        """
        if not self.engine.effects.holds(offset):
            raise ValueError(
                f"offset {offset} is not in the backlog ({self.engine.effects.start}-{self.engine.effects.offset})"
            )
        self.is_replica = True
        self.is_feed = True
        self.feed_offset = offset
        if offset < self.engine.effects.feeds_from:  # until the pump's next turn counts all feeds
            self.engine.effects.feeds_from = offset
        if self.waker is not None:
            self.waker(self)

    def start_applying(self, uint64_t offset):
        """Makes this the link to our primary: what it sends is applied silently, counted from `offset`."""
        self.applied = Applied(offset)
        self.apply_stream = True

    @property
    def applied_offset(self):
        """How far in our primary's stream this link has come; 0 where there is none."""
        return 0 if self.applied is None else self.applied.offset

    @property
    def applied_failure(self):
        """Why our primary's stream ended here and only a new full copy helps; empty on every other link."""
        return "" if self.applied is None else self.applied.failure

    @property
    def acks_promptly(self):
        """Whether our primary hears of every batch that was applied."""
        return self.applied is not None and self.applied.promptly

    @acks_promptly.setter
    def acks_promptly(self, bint promptly):
        self.applied.promptly = promptly

    def acknowledge(self):
        """Tells our primary how far we are; nothing when the stream has ended with what could not be applied."""
        if self.applied.failure:
            return
        self._write_acknowledgement()
        if self.waker is not None:
            self.waker(self)

    cdef int _write_acknowledgement(self) except -1:
        cdef uint8_t digits[24]
        cdef Py_ssize_t digits_bytes = int64_to_bytes(<int64_t> self.applied.offset, digits)
        buf_append(&self.out, b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n", 27)
        self.applied.acknowledged = self.applied.offset
        return resp_bulk(&self.out, span_of(digits, digits_bytes))

    def reset(self):
        """RESET: as a fresh connection, but for its id."""
        self.transaction = None
        self.unwatch()
        self.resp = 2
        self.database = 0
        self.name = b""
        self.asking = False
        self.readonly_mode = False
        self.reply_mode = REPLIES_ON
        self.no_evict = False
        self.no_touch = False

    @property
    def query_buffered_bytes(self):
        return self.waiting_bytes()

    @property
    def query_capacity_bytes(self):
        return self.inbuf.cap_bytes + self.waiting_bytes() - (self.inbuf.used_bytes - self.in_at)

    @property
    def argument_bytes(self):
        return self.parser.argv_bytes
