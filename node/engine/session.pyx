"""One client's conversation, without I/O.

A session is fed bytes, finds commands in them, checks whether each may run here and now, runs it and
keeps the replies until somebody takes them: the pump (sockets), a test or the simulator (`feed`).

The order of the checks is Redis's (processCommand in its server.c), because clients see which error
comes first: name, arity, queue rules, route, refusals (replicas, role, loading), pause, then the call.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

from node.engine.buf cimport Buf, buf_append, buf_drop_front, buf_free
from node.engine.engine cimport PAUSE_ALL, PAUSE_NONE, SLOT_COUNT, Engine
from node.engine.entry cimport ENCODING_INT, Entry, entry_encoding, entry_int64, entry_string
from node.engine.keyspace cimport Key, Keyspace
from node.engine.registry cimport (
    FLAG_ASKING,
    FLAG_DENYOOM,
    FLAG_LOADING,
    FLAG_MAY_REPLICATE,
    FLAG_MOVABLEKEYS,
    FLAG_NO_MULTI,
    FLAG_READONLY,
    FLAG_STALE,
    FLAG_WRITE,
    Command,
)
from node.engine.resp cimport (
    PARSE_BROKEN,
    PARSE_MORE,
    Parser,
    parser_free,
    parser_rebase,
    parser_reset,
    parser_restart,
    parser_step,
    resp_bulk,
    resp_double,
    resp_line,
    resp_prefixed,
)
from node.engine.span cimport Span, int64_to_bytes, span_bytes, span_is, span_of, span_to_int64

from node.engine.reply import (
    BLOCKED,
    NO_REPLY,
    NULL_ARRAY,
    CommandError,
    Failure,
    Push,
    SetReply,
    Status,
    Verbatim,
)

cdef extern from *:
    const bint GRAPEVINE_PLAIN_MALLOC  # the sanitizer build: no spare room that would hide a read beyond the end

# A drained input buffer larger than this is given back.
cdef Py_ssize_t KEPT_INPUT_BYTES = 0 if GRAPEVINE_PLAIN_MALLOC else 64 * 1024

# What the slow log keeps of a command: Redis's limits.
cdef int SLOW_WORDS_MAX = 32
cdef Py_ssize_t SLOW_WORD_BYTES_MAX = 128

# Beyond these a command has its own time, however simple it is.
cdef int BRIEF_ARGUMENTS_MAX = 8
cdef Py_ssize_t BRIEF_REPLY_BYTES_MAX = 4096

# A reply buffer beyond this stops execution until the client has read some of it; its input is still
# taken in (up to the query buffer limit), so a client that sends everything before it reads anything
# comes through. Memory per client is bounded by this, one reply, and the query buffer limit.
cdef Py_ssize_t OUTPUT_PAUSE_BYTES = 4 * 1024 * 1024

cdef enum:
    DISPATCHED = 0
    STALLED = 1

cdef enum:
    ROUTE_HERE = 0
    ROUTE_ANSWERED = 1


cdef class Session:
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
        self.queue_slot = -1
        self.created_ms = engine.monotonic_ms
        self.active_ms = engine.monotonic_ms
        if session_id:
            self.id = session_id
        else:
            self.id = engine.next_session_id
            engine.next_session_id += 1
        parser_restart(&self.parser)

    def __dealloc__(self):
        parser_free(&self.parser)
        buf_free(&self.inbuf)
        buf_free(&self.held_raw)
        buf_free(&self.out)

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
            buf_append(&self.inbuf, <const uint8_t *> view.buf + taken, view.len - taken)
        finally:
            PyBuffer_Release(&view)
        if buffered:
            self.run_buffered(1 << 30)
            replies += self.take_output()
        while self.more:
            self.run_buffered(1 << 30)
            replies += self.take_output()
        return replies

    def take_output(self):
        """Returns and forgets the replies that wait to be sent."""
        cdef bytes taken
        if self.out.used_bytes == self.out_sent:
            taken = b""
        else:
            taken = PyBytes_FromStringAndSize(
                <const char *> self.out.data + self.out_sent, self.out.used_bytes - self.out_sent
            )
        self.out.used_bytes = 0
        self.out_sent = 0
        return taken

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
        return 0

    cdef Py_ssize_t process(self, const uint8_t *data, Py_ssize_t len_bytes, int command_budget) except -1:
        """Executes the complete commands at the front of data, in order, and returns the bytes they took.

        Stops early, with `more` set, when the budget is spent or the client has 4 MiB of replies to
        read; and without it when the session is blocked, stalled or closing.
        """
        cdef Py_ssize_t consumed = 0
        self.input_at = data
        self.more = False
        while True:
            try:
                self._process(data, len_bytes, &consumed, command_budget)
                return consumed
            except Exception as error:
                # A compiled command broke: a bug of ours, or no memory. `consumed` is behind it. (Guarded
                # here, once for a whole pipeline, and not around each call.)
                self._command_broke(error)
                parser_restart(&self.parser)

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
        cdef Command command
        while consumed_bytes[0] < len_bytes:
            if self.closing or self.blocked or self.stalled:
                break
            if command_budget <= 0 or self.out.used_bytes - self.out_sent > OUTPUT_PAUSE_BYTES:
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
                command = self.engine.registry.find(parser.argv[item.argv_base])
                if command is None:
                    continue
                item.command = <void *> <PyObject *> command
                if 0 < command.first_key < item.argc and command.children is None:
                    item.key = self.keyspace.locate(parser.argv[item.argv_base + command.first_key])
                    item.key_index = command.first_key
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
                self._timed(False)
            if not finished:
                parser_restart(parser)  # what was parsed ahead is parsed again later
                break
            if outcome == PARSE_BROKEN:
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
            if self.closing or self.blocked or self.stalled:
                return 0
            if command_budget[0] <= 0 or self.out.used_bytes - self.out_sent > OUTPUT_PAUSE_BYTES:
                self.more = True
                return 0
            consumed_bytes[0] = item.start_bytes + item.len_bytes  # also when it raises
            if self.apply_stream:
                if self.held is not None or (
                    item.argc == 1 and span_is(self.parser.argv[item.argv_base], b"MULTI")
                ):
                    command_budget[0] -= 1
                    self.argv = self.parser.argv + item.argv_base
                    self.argc = item.argc
                    self._hold(item.start_bytes, item.len_bytes)
                    continue
                # The very bytes go on to our own replicas first: a command that breaks must not
                # leave our stream behind our primary's.
                self._pass_on(item.start_bytes, item.len_bytes)
            if item.argc == 0:
                continue
            command_budget[0] -= 1
            self.argv = self.parser.argv + item.argv_base
            self.argc = item.argc
            self.first_key = item.key
            self.first_key_index = item.key_index
            command = None if item.command == NULL else <Command> <PyObject *> item.command
            if self.dispatch(command) == STALLED:
                consumed_bytes[0] = item.start_bytes
                self.stalled = True
                return 0
        return 1

    # A transaction in our primary's stream is kept until its EXEC is here, then counted, passed on and
    # applied in one go. So neither readers nor a promotion ever meet half of one, and after a break the
    # stream goes on before its MULTI.
    cdef int _hold(self, Py_ssize_t start_bytes, Py_ssize_t len_bytes) except -1:
        if self.held is None:
            self.held = []
        buf_append(&self.held_raw, self.input_at + start_bytes, len_bytes)
        if self.argc == 0:
            return 0
        self.held.append(self._arguments())
        if self.argc != 1 or not span_is(self.argv[0], b"EXEC"):
            return 0
        held = self.held
        self.held = None
        try:
            if self.engine.effects.active:
                self.engine.effects._raw(self.held_raw.data, <uint64_t> self.held_raw.used_bytes)
            self.applied_offset += <uint64_t> self.held_raw.used_bytes
        finally:
            buf_free(&self.held_raw)
        for arguments in held[1:-1]:
            try:
                self._run_arguments(arguments)
            except Exception as error:  # as outside of a transaction: told, and the stream goes on
                self._command_broke(error)
        return 0

    cdef int _pass_on(self, Py_ssize_t start_bytes, Py_ssize_t len_bytes) except -1:
        if self.engine.effects.active:
            self.engine.effects._raw(self.input_at + start_bytes, <uint64_t> len_bytes)
        self.applied_offset += <uint64_t> len_bytes
        return 0

    def _command_broke(self, error):
        cdef Engine engine = self.engine
        name = b"?" if self.command is None else self.command.name.encode("ascii")
        self.out.used_bytes = self.call_mark
        engine.counters.unexpected_errors += 1
        if engine.on_python_error is not None:
            engine.on_python_error(error)
        if self.apply_stream:
            return  # our primary awaits no replies
        if isinstance(error, MemoryError):
            self.reply_error_bytes(b"OOM out of memory while running '%b'" % name)
        else:
            self.reply_error_bytes(b"ERR internal error in '%b': the log has the details" % name)

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
            return self._refuse(self._unknown_command())
        if command.children is not None and self.argc > 1:
            child = command.children.get(span_bytes(self.argv[1]).lower())
            if child is None:
                shown = span_bytes(self.argv[1])[:128]
                return self._refuse(
                    b"ERR unknown subcommand '%b'. Try %b HELP." % (shown, command.name.upper().encode("ascii"))
                )
            command = child
        if (command.arity > 0 and self.argc != command.arity) or self.argc < -command.arity:
            return self._reject(command, 
                b"ERR wrong number of arguments for '%b' command" % command.name.encode("ascii")
            )
        flags = command.flags
        self.active_ms = engine.monotonic_ms

        if self.apply_stream:
            return self._apply(command, mark)

        if engine.cluster and (command.first_key > 0 or flags & FLAG_MOVABLEKEYS):
            if self._route(command) == ROUTE_ANSWERED:
                command.rejected += 1
                return DISPATCHED
        if flags & FLAG_WRITE:
            if engine.read_only:
                return self._reject(command, b"READONLY You can't write against a read only replica.")
            if engine.write_refusal is not None:
                return self._reject(command, engine.write_refusal)
        if engine.evictor.limit_bytes > 0 and not self.keyspace.follower:
            if self.keyspace.used_bytes() > <uint64_t> engine.evictor.limit_bytes:
                if not engine.evictor.make_room() and flags & FLAG_DENYOOM:
                    return self._reject(command, b"OOM command not allowed when used memory > 'maxmemory'.")
        if engine.stale and not flags & FLAG_STALE:
            return self._reject(command, 
                b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            )
        if engine.loading and not flags & FLAG_LOADING:
            return self._reject(command, b"LOADING Redis is loading the dataset in memory")
        if engine.pause_mode != PAUSE_NONE and not self.is_replica:
            if engine.monotonic_ms >= engine.pause_until_ms:
                engine.unpause()
            elif engine.pause_mode == PAUSE_ALL or flags & (FLAG_WRITE | FLAG_MAY_REPLICATE) or (
                self.queued is not None and command.name == "exec"
            ):
                if command.name != "client|unpause":
                    return STALLED
        if self.queued is not None and not self.running_script_or_multi:
            if command.name not in ("exec", "discard", "multi", "watch", "quit", "reset"):
                if flags & FLAG_NO_MULTI:
                    return self._reject(command, b"ERR Command not allowed inside a transaction")
                if not self.queue_broken and not self.watch_broken:  # nobody will run it otherwise
                    self.queued.append(self._arguments())
                return self.reply_simple("QUEUED")
        self.command_count += 1
        self._call(command)
        if self.reply_mode != REPLIES_ON and not self.running_script_or_multi:
            self.out.used_bytes = mark
            if self.reply_mode == REPLIES_SKIP_NEXT:
                self.reply_mode = REPLIES_SKIP
            elif self.reply_mode == REPLIES_SKIP:
                self.reply_mode = REPLIES_ON
        return DISPATCHED

    # The stream of our primary: no checks, no replies (but to GETACK), deletions are the primary's to
    # decide, so keys that look expired here are still alive for these commands.
    def _apply_failed(self, str name, bytes text):
        # Told once for each command and link: a stream full of what we do not know must not flood the log.
        if self.notes is None:
            self.notes = {}
        told = self.notes.setdefault("refused_in_stream", set())
        if name in told or len(told) >= 64:
            return
        told.add(name)
        if self.engine.on_python_error is not None:
            self.engine.on_python_error(
                RuntimeError(
                    f"the primary's stream brought '{name}' and it was refused, so this replica's data differs "
                    f"from now on: {text.decode('latin-1')}"
                )
            )

    cdef int _apply(self, Command command, Py_ssize_t mark) except -1:
        cdef bint asks_ack = command.name == "replconf"
        self.keyspace.applying = True
        try:
            self._call(command)
        finally:
            self.keyspace.applying = False
        if not asks_ack:
            if self.out.used_bytes > mark and self.out.data[mark] == 45:  # '-': we now differ from our primary
                self._apply_failed(command.name, bytes(self.out.data[mark:self.out.used_bytes]).strip())
            self.out.used_bytes = mark
        return DISPATCHED

    cdef int _call(self, Command command) except -1:
        cdef Engine engine = self.engine
        cdef bint brief = command.brief and self.argc <= BRIEF_ARGUMENTS_MAX
        cdef uint64_t begun_ticks
        if not brief and engine.timed_count:
            self._timed(False)
        begun_ticks = engine.ticks_mark  # kept here, because EXEC calls others
        self.command = command
        self.dirty = 0
        self.effect_written = False
        command.calls += 1
        engine.counters.commands += 1
        self.call_mark = self.out.used_bytes
        if command.compiled != NULL:
            (<command_fn> command.compiled)(self)
        else:
            self._call_python(command)
        if self.dirty:
            self._propagate()
        if self.asking and command.name != "asking":
            self.asking = False
        if engine.tick_source != NULL:
            if brief:
                engine.timed_together[engine.timed_count] = <void *> <PyObject *> command
                engine.timed_count += 1
                if (
                    engine.timed_count >= engine.together_max
                    or self.out.used_bytes - self.call_mark > BRIEF_REPLY_BYTES_MAX
                ):
                    self._timed(True)
            else:
                if engine.timed_count:  # of an EXEC
                    self._timed(False)
                engine.ticks_mark = begun_ticks
                engine.timed_together[0] = <void *> <PyObject *> command
                engine.timed_count = 1
                self._timed(True)
        return 0

    cdef int _timed(self, bint ran_last) except -1:
        """Counts the time of what ran since the mark.

        Args:
            ran_last: the last of it is the command in argv.
        """
        cdef Engine engine = self.engine
        cdef int others = engine.timed_count - 1
        cdef Command last = <Command> <PyObject *> engine.timed_together[others]
        cdef uint64_t ticks = engine.count_times()
        if ticks >= engine.slow_ticks:
            self._slow(last, ticks, others, ran_last)
            engine.ticks_mark = engine.tick_source()  # telling it is not the next command's time
        return 0

    cdef int _slow(self, Command command, uint64_t ticks, int others, bint ran_last) except -1:
        cdef Engine engine = self.engine
        cdef int index
        cdef int kept = min(self.argc, SLOW_WORDS_MAX)
        cdef Span word
        if engine.on_slow is None:
            return 0
        words = []
        if self.closing or not ran_last:  # the input it came from may be gone
            words.append(command.name.replace("|", " ").encode("ascii"))
            kept = 0
        for index in range(kept):
            if index == SLOW_WORDS_MAX - 1 and self.argc > SLOW_WORDS_MAX:
                words.append(b"... (%d more arguments)" % (self.argc - SLOW_WORDS_MAX + 1))
                break
            word = self.argv[index]
            if word.len_bytes > SLOW_WORD_BYTES_MAX:
                more = b"... (%d more bytes)" % (word.len_bytes - SLOW_WORD_BYTES_MAX)
                words.append(span_bytes(span_of(word.at, SLOW_WORD_BYTES_MAX)) + more)
            else:
                words.append(span_bytes(word))
        if others:
            words.append(b"... (timed together with the %d commands before it)" % others)
        try:
            engine.on_slow(self, command, <int64_t> (ticks / engine.ticks_per_us), words)
        except Exception as error:  # the command has been answered: this is the observer's failure
            if engine.on_python_error is not None:
                engine.on_python_error(error)
        return 0

    cdef list _arguments(self):
        cdef int index
        return [span_bytes(self.argv[index]) for index in range(self.argc)]

    cdef int _call_python(self, Command command) except -1:
        cdef Py_ssize_t mark = self.out.used_bytes
        try:
            value = command.handler(self, self._arguments())
        except CommandError as error:
            self.out.used_bytes = mark
            value = error.failure
        except Exception as error:
            self._command_broke(error)
            return 0
        if value is NO_REPLY:
            return 0
        if value is BLOCKED:
            self.blocked = True
            return 0
        return self.reply_value(value)

    cdef int _refuse(self, bytes text) except -1:
        """An error before the command ran: inside MULTI it also spoils the transaction."""
        if self.apply_stream:  # our primary awaits no replies: an error would be a command to it
            self._apply_failed(span_bytes(self.argv[0])[:64].decode("latin-1").lower(), text)
            return 0
        if self.queued is not None and not self.running_script_or_multi:
            self.queue_broken = True
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
            self.queued = None
            self.unwatch()
            text = b"EXECABORT Transaction discarded because of: " + text.removeprefix(b"ERR ")
        return self._refuse(text)

    def _unknown_command(self):
        cdef int index
        name = span_bytes(self.argv[0])[:128]
        shown = b""
        for index in range(1, self.argc):
            if len(shown) >= 128:
                break
            shown += b"'%b' " % span_bytes(self.argv[index])[: 128 - len(shown)]
        return b"ERR unknown command '%b', with args beginning with: %b" % (name, shown)

    # ----------------------------------------------------------------------------------------- routing

    cdef int _route(self, Command command) except -1:
        """Cluster mode: are all keys of one slot, and is that slot served here?

        Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
        """
        cdef int last
        cdef int index
        cdef int slot
        cdef list indices = None
        if command.flags & FLAG_MOVABLEKEYS and command.get_keys is not None:
            indices = list(command.get_keys(self._arguments()))
            if not indices:
                return ROUTE_HERE
            for index in indices:
                if not 1 <= index < self.argc:
                    return ROUTE_HERE  # a malformed command: its handler says what is wrong
            self.first_key = self.keyspace.locate(self.argv[<int> indices[0]])
            self.first_key_index = indices[0]
        else:
            if command.first_key >= self.argc:
                return ROUTE_HERE
            if self.first_key_index != command.first_key:
                self.first_key = self.keyspace.locate(self.argv[command.first_key])
                self.first_key_index = command.first_key
            last = command.last_key if command.last_key >= 0 else self.argc + command.last_key
            if last > command.first_key:
                indices = list(range(command.first_key, min(last, self.argc - 1) + 1, command.key_step))
        slot = <int> self.first_key.slot
        if self.engine.slot_owner[slot] < 0:  # before CROSSSLOT, as in Redis
            self._refuse(b"CLUSTERDOWN Hash slot not served")
            return ROUTE_ANSWERED
        if indices is not None:
            for index in indices[1:]:
                if <int> self.keyspace.locate(self.argv[index]).slot != slot:
                    self._refuse(b"CROSSSLOT Keys in request don't hash to the same slot")
                    return ROUTE_ANSWERED
        if self._route_slot(slot, command.flags, indices) == ROUTE_ANSWERED:
            return ROUTE_ANSWERED
        if self.queued is not None and not self.running_script_or_multi:
            if self.queue_broken or self.watch_broken:
                pass  # it will not be queued
            elif self.queue_slot == -1:
                self.queue_slot = slot
            elif self.queue_slot != slot:
                self.queue_slot = -2
        return ROUTE_HERE

    def _route_slot(self, int slot, uint32_t flags, list indices):
        """Whether a slot is served here; answers the client and returns ROUTE_ANSWERED when not."""
        cdef Engine engine = self.engine
        cdef int owner = engine.slot_owner[slot]
        cdef int missing = 0
        cdef bint reading = flags & FLAG_READONLY and not flags & FLAG_WRITE
        if owner < 0:
            self._refuse(b"CLUSTERDOWN Hash slot not served")
            return ROUTE_ANSWERED
        if not engine.serving and not (engine.reads_when_down and reading):
            self._refuse(b"CLUSTERDOWN " + engine.not_serving_reason)
            return ROUTE_ANSWERED
        if engine.importing[slot] and (self.asking or flags & FLAG_ASKING):
            if indices is not None and len(indices) > 1 and self._missing_keys(indices):
                self._refuse(b"TRYAGAIN Multiple keys request during rehashing of slot")
                return ROUTE_ANSWERED
            return ROUTE_HERE
        if owner == engine.self_owner:
            if engine.is_primary:
                if engine.lease_until_ms and engine.monotonic_ms >= engine.lease_until_ms:
                    self._refuse(b"CLUSTERDOWN The primary's lease has ended: it hears no majority of the voters")
                    return ROUTE_ANSWERED
                if engine.migrating_to[slot] >= 0 and indices != []:
                    if indices is None:
                        indices = [self.first_key_index]
                    missing = self._missing_keys(indices)
                    if missing:
                        if missing < len(indices):
                            self._refuse(b"TRYAGAIN Multiple keys request during rehashing of slot")
                        else:
                            self._refuse(b"ASK %d %b" % (slot, engine.owners[engine.migrating_to[slot]]))
                        return ROUTE_ANSWERED
                return ROUTE_HERE
            if self.readonly_mode and reading:
                return ROUTE_HERE
        self._refuse(b"MOVED %d %b" % (slot, engine.owners[owner]))
        return ROUTE_ANSWERED

    def _missing_keys(self, list indices):
        cdef int missing = 0
        cdef int index
        cdef Key key
        for index in indices:
            key = self.keyspace.locate(self.argv[index])
            if self.keyspace.find(0, &key) == NULL:
                missing += 1
        return missing

    # ----------------------------------------------------------------------------------------- effects

    cdef int changed(self, int64_t count) except -1:
        self.dirty += count
        return 0

    cdef int effect(self, int argc) except -1:
        self.effect_written = True
        if self.apply_stream or not self.engine.effects.active:
            return 0
        self._open_transaction_effect()
        return self.engine.effects.begin(self.database, argc)

    cdef int effect_arg(self, Span value) except -1:
        if self.apply_stream:
            return 0
        return self.engine.effects.arg(value)

    cdef int effect_arg_int64(self, int64_t value) except -1:
        if self.apply_stream:
            return 0
        return self.engine.effects.arg_int64(value)

    cdef int effect_arg_word(self, const char *word) except -1:
        if self.apply_stream:
            return 0
        return self.engine.effects.arg_word(word)

    def _open_transaction_effect(self):
        # Effects of one EXEC reach a replica together: MULTI goes out before the first of them.
        if self.running_script_or_multi and self.notes is not None and self.notes.get("effects") == "closed":
            self.engine.effects.begin(self.database, 1)
            self.engine.effects.arg_word("MULTI")
            self.notes["effects"] = "open"

    cdef int _propagate(self) except -1:
        cdef Engine engine = self.engine
        cdef int index
        engine.counters.writes += 1
        if engine.watched:
            self._touch_keys(self.command)
        if self.effect_written or self.apply_stream or not engine.effects.active:
            return 0
        self._open_transaction_effect()
        engine.effects.begin(self.database, self.argc)
        for index in range(self.argc):
            engine.effects.arg(self.argv[index])
        return 0

    def propagate(self, list args):
        """What replicas are told instead of the command's own words; for Python handlers.

        Args:
            args: the command as a list of bytes; called once for each effect.
        """
        cdef bytes value
        self.effect(<int> len(args))
        for item in args:
            value = item
            self.effect_arg(span_of(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)))
        self.dirty += 1

    def mark_changed(self, int64_t count=1):
        """Says that a Python handler changed `count` keys: the command's own words are propagated."""
        self.dirty += count

    cdef int _touch_keys(self, Command command) except -1:
        cdef int last
        cdef int index
        if command.first_key <= 0 and not command.flags & FLAG_MOVABLEKEYS:
            return self.engine.touch_all_watched(-1)  # FLUSHALL, SWAPDB...
        if command.get_keys is not None:
            for index in command.get_keys(self._arguments()):
                self.engine.touch_watched(self.database, span_bytes(self.argv[index]))
            return 0
        if command.spec.key_specs:
            for run in command.spec.key_specs:
                if not run.access.startswith("RO"):  # BITOP's operands, COPY's source
                    for index in run.positions(self.argc):
                        self.engine.touch_watched(self.database, span_bytes(self.argv[index]))
            return 0
        last = command.last_key if command.last_key >= 0 else self.argc + command.last_key
        for index in range(command.first_key, min(last, self.argc - 1) + 1, command.key_step):
            self.engine.touch_watched(self.database, span_bytes(self.argv[index]))
        return 0

    # -------------------------------------------------------------------------------------- transactions

    def begin_transaction(self):
        if self.queued is not None:
            raise CommandError("ERR MULTI calls can not be nested")
        self.queued = []
        self.queue_broken = False
        self.queue_slot = -1

    def discard_transaction(self):
        if self.queued is None:
            raise CommandError("ERR DISCARD without MULTI")
        self.queued = None
        self.unwatch()

    def watch(self, list keys):
        if self.queued is not None:
            raise CommandError("ERR WATCH inside MULTI is not allowed")
        if self.watching is None:
            self.watching = []
        for key in keys:
            place = (self.database, key)
            if place in self.watching:
                continue
            self.watching.append(place)
            self.engine.watched.setdefault(place, []).append(self)

    def unwatch(self):
        if self.watching is not None:
            for place in self.watching:
                sessions = self.engine.watched.get(place)
                if sessions is not None:
                    sessions.remove(self)
                    if not sessions:
                        del self.engine.watched[place]
        self.watching = None
        self.watch_broken = False

    def execute_transaction(self):
        """EXEC: runs what was queued, without anybody in between, and returns NO_REPLY (the replies are written).

        Source: https://redis.io/docs/latest/develop/interact/transactions/
        """
        cdef Span *argv = self.argv
        cdef int argc = self.argc
        cdef Command command = self.command
        if self.queued is None:
            raise CommandError("ERR EXEC without MULTI")
        queued = self.queued
        slot = self.queue_slot
        broken = self.queue_broken
        watch_broken = self.watch_broken
        self.queued = None
        self.unwatch()
        if self.engine.cluster and slot != -1:
            if slot == -2:
                raise CommandError("CROSSSLOT Keys in request don't hash to the same slot")
            if self._route_slot(slot, FLAG_WRITE, []) == ROUTE_ANSWERED:
                return NO_REPLY
        if broken:
            raise CommandError("EXECABORT Transaction discarded because of previous errors.")
        if watch_broken:
            return NULL_ARRAY
        notes = self.notes if self.notes is not None else {}
        self.notes = notes
        notes["effects"] = "closed"
        self.running_script_or_multi = True
        self.reply_array(len(queued))
        try:
            for arguments in queued:
                self._run_arguments(arguments)
        finally:
            self.running_script_or_multi = False
            self.argv = argv
            self.argc = argc
            self.command = command
            self.dirty = 0
            if notes.pop("effects", "") == "open":
                self.engine.effects.begin(self.database, 1)
                self.engine.effects.arg_word("EXEC")
        return NO_REPLY

    def _run_arguments(self, list arguments):
        """Runs one command given as bytes, as if the client had sent it; its reply goes to `out`."""
        cdef Buf spans
        cdef Span span
        cdef bytes item
        spans.data = NULL
        spans.used_bytes = 0
        spans.cap_bytes = 0
        try:
            for item in arguments:
                span = span_of(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item))
                buf_append(&spans, &span, sizeof(Span))
            self.argv = <Span *> spans.data
            self.argc = <int> len(arguments)
            self.first_key_index = 0
            self.dispatch(self.engine.registry.find(self.argv[0]))
        finally:
            self.argv = NULL
            self.argc = 0
            buf_free(&spans)

    @property
    def may_block(self):
        """False while EXEC runs this command: a handler that would wait answers at once instead."""
        return not self.running_script_or_multi and not self.apply_stream

    @property
    def in_transaction(self):
        return self.queued is not None

    @property
    def queued_count(self):
        """Commands queued since MULTI; -1 outside of one (the `multi` field of CLIENT LIST)."""
        return -1 if self.queued is None else len(self.queued)

    @property
    def watching_count(self):
        return 0 if self.watching is None else len(self.watching)

    # ------------------------------------------------------------------------------------------- control

    def set_protocol(self, int resp):
        """HELLO 2 or HELLO 3."""
        if resp not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
        self.resp = resp

    def set_reply_mode(self, str mode):
        """CLIENT REPLY: "on", "off" or "skip"."""
        if mode == "on":
            self.reply_mode = REPLIES_ON
        elif mode == "off":
            self.reply_mode = REPLIES_OFF
        elif self.reply_mode != REPLIES_OFF:
            self.reply_mode = REPLIES_SKIP_NEXT

    def close_after_reply(self, str reason=""):
        """Ends the connection once the replies written so far are sent."""
        self.closing = True
        if reason and not self.close_reason:
            self.close_reason = reason
        if self.waker is not None:
            self.waker(self)

    def block(self):
        """Stops executing this client's commands until `unblock`. Handlers return BLOCKED instead."""
        self.blocked = True

    def unblock(self, value):
        """Answers the command that returned BLOCKED and goes on with the client's next one.

        Args:
            value: any reply of node.engine.reply; NO_REPLY when the reply was written already.
        """
        if not self.blocked:
            return
        self.blocked = False
        self.on_resume = None
        if value is not NO_REPLY:
            self.reply_value(value)
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
        self.apply_stream = True
        self.applied_offset = offset

    def reset(self):
        """RESET: as a fresh connection, but for its id."""
        if self.queued is not None:
            self.queued = None
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
    def output_pending_bytes(self):
        return self.out.used_bytes - self.out_sent

    @property
    def query_buffered_bytes(self):
        return self.inbuf.used_bytes - self.in_at

    @property
    def query_capacity_bytes(self):
        return self.inbuf.cap_bytes

    @property
    def output_capacity_bytes(self):
        return self.out.cap_bytes

    @property
    def last_command(self):
        """The command that runs or ran last, as "get" or "config|get"; "NULL" before the first."""
        return "NULL" if self.command is None else self.command.name

    @property
    def argument_bytes(self):
        return self.parser.argv_bytes

    # ------------------------------------------------------------------------------------------- replies

    cdef int reply_ok(self) except -1:
        return buf_append(&self.out, b"+OK\r\n", 5)

    cdef int reply_simple(self, const char *text) except -1:
        return resp_line(&self.out, 43, span_of(text, <Py_ssize_t> strlen(text)))

    cdef int reply_error(self, const char *text) except -1:
        return self.reply_error_bytes(text)

    cdef int reply_error_bytes(self, bytes text) except -1:
        self.engine.count_error(text.split(b" ", 1)[0])
        if self.command is not None:
            self.command.failed += 1
        return resp_line(&self.out, 45, span_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)))

    cdef int reply_int64(self, int64_t value) except -1:
        return resp_prefixed(&self.out, 58, value)

    cdef int reply_bulk(self, Span value) except -1:
        return resp_bulk(&self.out, value)

    cdef int reply_null(self) except -1:
        if self.resp >= 3:
            return buf_append(&self.out, b"_\r\n", 3)
        return buf_append(&self.out, b"$-1\r\n", 5)

    cdef int reply_null_array(self) except -1:
        if self.resp >= 3:
            return buf_append(&self.out, b"_\r\n", 3)
        return buf_append(&self.out, b"*-1\r\n", 5)

    cdef int reply_array(self, int64_t count) except -1:
        return resp_prefixed(&self.out, 42, count)

    cdef int reply_map(self, int64_t pair_count) except -1:
        if self.resp >= 3:
            return resp_prefixed(&self.out, 37, pair_count)
        return resp_prefixed(&self.out, 42, pair_count * 2)

    cdef int reply_set(self, int64_t count) except -1:
        return resp_prefixed(&self.out, 126 if self.resp >= 3 else 42, count)

    cdef int reply_double(self, double value) except -1:
        return resp_double(&self.out, self.resp, value)

    cdef int reply_bool(self, bint value) except -1:
        if self.resp >= 3:
            return buf_append(&self.out, b"#t\r\n" if value else b"#f\r\n", 4)
        return resp_prefixed(&self.out, 58, 1 if value else 0)

    cdef int reply_entry_string(self, Entry *entry) except -1:
        cdef uint8_t scratch[24]
        return resp_bulk(&self.out, entry_string(entry, scratch))

    cdef int reply_wrong_type(self) except -1:
        return self.reply_error("WRONGTYPE Operation against a key holding the wrong kind of value")

    cdef int reply_syntax_error(self) except -1:
        return self.reply_error("ERR syntax error")

    cdef int reply_not_integer(self) except -1:
        return self.reply_error("ERR value is not an integer or out of range")

    cdef int reply_value(self, object value) except -1:
        cdef bytes data
        if value is None:
            return self.reply_null()
        if value is True or value is False:
            return self.reply_bool(value)
        if isinstance(value, bytes):
            data = value
            return resp_bulk(&self.out, span_of(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))
        if isinstance(value, int):
            return resp_prefixed(&self.out, 58, value)
        if isinstance(value, Status):
            data = value.text
            return resp_line(&self.out, 43, span_of(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))
        if isinstance(value, Failure):
            return self.reply_error_bytes(value.text)
        if isinstance(value, Push):
            self._reply_items(62 if self.resp >= 3 else 42, value.items)
            return 0
        if isinstance(value, (list, tuple)):
            self._reply_items(42, value)
            return 0
        if isinstance(value, dict):
            self.reply_map(len(value))
            for key, item in value.items():
                self.reply_value(key)
                self.reply_value(item)
            return 0
        if isinstance(value, (set, frozenset)):
            self._reply_items(126 if self.resp >= 3 else 42, sorted(value))
            return 0
        if isinstance(value, SetReply):
            self._reply_items(126 if self.resp >= 3 else 42, value.items)
            return 0
        if isinstance(value, float):
            return resp_double(&self.out, self.resp, value)
        if value is NULL_ARRAY:
            return self.reply_null_array()
        if isinstance(value, Verbatim):
            self._reply_verbatim(value)
            return 0
        raise TypeError(f"a handler replied with {type(value).__name__}, which is no reply")

    def _reply_items(self, uint8_t prefix, items):
        resp_prefixed(&self.out, prefix, len(items))
        for item in items:
            self.reply_value(item)

    def _reply_verbatim(self, value):
        cdef bytes data = value.data
        if self.resp >= 3:
            data = value.format + b":" + data
            resp_prefixed(&self.out, 61, len(data))
            buf_append(&self.out, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            buf_append(&self.out, b"\r\n", 2)
        else:
            resp_bulk(&self.out, span_of(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))

    # ----------------------------------------------------------------------------------------- arguments

    cdef Key key_at(self, int index) noexcept:
        if index == self.first_key_index and index > 0:
            return self.first_key
        return self.keyspace.locate(self.argv[index])

    cdef bint int64_at(self, int index, int64_t *value) except -1:
        if span_to_int64(self.argv[index], value):
            return True
        self.reply_not_integer()
        return False
