"""The command that runs: its arguments, its keys, its effects and its time.

This is what a compiled command gets to see of its client (`node.engine.session.Session` is one of these), and
what runs it: calls the function or the Python handler, tells those who watch the keys, hands the effect to the
replicas, and counts the time.

A command that raises (no memory, or a bug of ours) may have done a part of its work: three of the eight members of an
SADD. That part stays, and nobody can say afterwards which it was. So when the keyspace has counted a change since the
command began, the history of effects ends: each replica takes a new full copy. A command that raised before it
changed anything costs them nothing, which is why entries.pyx takes the count back where memory was refused for the
first step. Rejected: to take the changes back (a copy of every value before it is edited), and to tell replicas of
the key as it is now (as large as the value, when there is no memory).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.engine cimport Engine
from node.engine.entry cimport TYPE_STREAM, Entry, entry_type
from node.engine.heat cimport heat_touch
from node.engine.keyspace cimport Key
from node.engine.registry cimport FLAG_MOVABLEKEYS, FLAG_READONLY, FLAG_WRITE, Command
from node.engine.span cimport Span, span_bytes, span_of, span_to_int64

from node.engine.reply import BLOCKED, NO_REPLY, NOTED, CommandError

# What the slow log keeps of a command: Redis's limits.
cdef int SLOW_WORDS_MAX = 32
cdef Py_ssize_t SLOW_WORD_BYTES_MAX = 128

# Beyond these a command has its own time, however simple it is.
cdef int BRIEF_ARGUMENTS_MAX = 8
cdef Py_ssize_t BRIEF_REPLY_BYTES_MAX = 4096

# A compiled command (its argument is declared as a Session there, which every Call is). It reads s.argv, changes
# s.keyspace and writes exactly one reply. User errors are replies, not exceptions; an exception means a bug or
# no memory, and is answered as an internal error.
ctypedef int (*command_fn)(Call s) except -1


# What `dirty` says of a command, 0 being that nothing has changed. It costs nothing while nobody asks:
#
#     0 < dirty < 2**44    how much has changed, in all keys that it writes to; no command can count so far
#     2**44 + index        only the key at argv[index] has
#     dirty < 0            nothing that WATCH looks at: what a stream's groups know, how a sketch is kept
cdef enum:
    ONE_KEY_SHIFT = 44


cdef uint64_t NOTHING_RUNS = <uint64_t> 0xFFFFFFFFFFFFFFFF


# A write that found nothing to change has used its key, too: SADD of a member that is there, SETNX of a lock that is held.
# One that read the key (GETEX) has counted that already.
cdef int _use_key(Call call, Command command) except -1:
    cdef Entry *entry
    cdef Key key
    if command.first_key <= 0 or command.first_key >= call.argc or call.apply_stream:
        return 0
    if call.out.used_bytes == call.call_mark:  # it waits
        return 0
    if call.out.data[call.call_mark] == 45:  # an error
        return 0
    key = call.key_at(command.first_key)
    entry = call.keyspace.find(call.database, &key)
    if entry == NULL or entry_type(entry) == TYPE_STREAM:  # a stream is opened, and so used, before it is known what changes
        return 0
    if not (<object> call).no_touch:  # the session's
        heat_touch(&call.keyspace.heat, entry)
    return 0


cdef class Call(HeldReplies):
    def __cinit__(self):
        self.changes_mark = NOTHING_RUNS

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

    cdef list arguments(self):
        cdef int index
        return [span_bytes(self.argv[index]) for index in range(self.argc)]

    @property
    def last_command(self):
        """The command that runs or ran last, as "get" or "config|get"; "NULL" before the first."""
        return "NULL" if self.command is None else self.command.name

    @property
    def may_block(self):
        """False while EXEC runs this command: a handler that would wait answers at once instead."""
        return not self.running_script_or_multi and not self.apply_stream

    # ------------------------------------------------------------------------------------------- running

    cdef int dispatch(self, Command command) except -1:
        raise NotImplementedError("a call is dispatched by the session it belongs to")

    cdef int call(self, Command command) except -1:
        cdef Engine engine = self.engine
        cdef bint brief = command.brief and self.argc <= BRIEF_ARGUMENTS_MAX
        cdef uint64_t begun_ticks
        cdef int64_t hits = self.keyspace.hits
        if not brief and engine.timed_count:
            self.timed(False)
        begun_ticks = engine.ticks_mark  # kept here, because EXEC calls others
        self.command = command
        self.dirty = 0
        self.effect_written = False
        command.calls += 1
        engine.counters.commands += 1
        self.call_mark = self.out.used_bytes
        self.changes_mark = self.keyspace.changes
        if command.compiled != NULL:
            (<command_fn> command.compiled)(self)
        else:
            self._call_python(command)
        if self.dirty:
            self._propagate()
        elif command.flags & FLAG_WRITE and self.keyspace.hits == hits:
            _use_key(self, command)
        self.changes_mark = NOTHING_RUNS
        if engine.tick_source != NULL:
            if brief:
                engine.timed_together[engine.timed_count] = <void *> <PyObject *> command
                engine.timed_count += 1
                if (
                    engine.timed_count >= engine.together_max
                    or self.out.used_bytes - self.call_mark > BRIEF_REPLY_BYTES_MAX
                ):
                    self.timed(True)
            else:
                if engine.timed_count:  # of an EXEC
                    self.timed(False)
                engine.ticks_mark = begun_ticks
                engine.timed_together[0] = <void *> <PyObject *> command
                engine.timed_count = 1
                self.timed(True)
        return 0

    cdef int timed(self, bint ran_last) except -1:
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

    cdef int _call_python(self, Command command) except -1:
        cdef Py_ssize_t mark = self.out.used_bytes
        self.engine.python_calls += 1
        try:
            value = command.handler(self, self.arguments())
        except CommandError as error:
            self.rewind(mark)
            value = error.failure
        except Exception as error:
            if self.apply_stream:
                raise
            self.broke(error)
            return 0
        if value is NO_REPLY:
            return 0
        if value is NOTED:
            self.engine.python_calls -= 1
            return 0
        if value is BLOCKED:
            self.blocked = True
            return 0
        return self.reply_value(value)

    cdef int broke(self, object error) except -1:
        """Answers a command that raised: a bug of ours, or no memory."""
        cdef Engine engine = self.engine
        name = b"?" if self.command is None else self.command.name.encode("ascii")
        self.rewind(self.call_mark)
        engine.counters.unexpected_errors += 1
        if self.changes_mark != NOTHING_RUNS:
            if self.changes_mark != self.keyspace.changes and not self.apply_stream:
                self._broke_off(error)
            self.changes_mark = NOTHING_RUNS
        if engine.on_python_error is not None:
            engine.on_python_error(error)
        if self.apply_stream:
            return 0  # our primary awaits no replies
        if isinstance(error, MemoryError):
            return self.reply_error_bytes(b"OOM out of memory while running '%b'" % name)
        return self.reply_error_bytes(b"ERR internal error in '%b': the log has the details" % name)

    cdef int _broke_off(self, object error) except -1:
        """What raised has changed something, and what that was nobody knows."""
        cdef Engine engine = self.engine
        if engine.effects.active:
            engine.effects.end_history()
            engine.gate.written = engine.effects.offset
            error.add_note("it had changed something before: replicas take a new full copy")
        engine.touch_database(-1)
        return 0

    cdef int run_arguments(self, list words) except -1:
        """Runs one command given as bytes, as if the client had sent it; its reply goes to `out`."""
        return self._with_words(None, words)

    cdef int call_words(self, Command command, list words) except -1:
        """The same for a command that has been through the checks already."""
        return self._with_words(command, words)

    cdef int _with_words(self, Command command, list words) except -1:
        cdef Buf spans
        cdef Span span
        cdef bytes item
        cdef void *found
        spans.data = NULL
        spans.used_bytes = 0
        spans.cap_bytes = 0
        try:
            for item in words:
                span = span_of(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item))
                buf_append(&spans, &span, sizeof(Span))
            self.argv = <Span *> spans.data
            self.argc = <int> len(words)
            self.first_key_index = 0
            if command is None:
                found = self.engine.registry.find(self.argv[0])
                return self.dispatch(None if found == NULL else <Command> <PyObject *> found)
            return self.call(command)
        finally:
            self.argv = NULL
            self.argc = 0
            buf_free(&spans)

    cdef int route_modes(self) noexcept:
        return (ROUTE_ASKING if self.asking else 0) | (ROUTE_READONLY if self.readonly_mode else 0)

    cdef int hold_reply(self, Py_ssize_t mark, uint64_t offset) except -1:
        """Keeps back the reply from `mark` on, if it says anything about keys."""
        cdef Command command = self.command
        cdef bint wrote = command.flags & FLAG_WRITE or command.name == "exec"
        cdef bint read = command.flags & FLAG_READONLY or command.first_key > 0
        if command.flags & FLAG_MOVABLEKEYS and not read:  # scripts
            wrote = True
        if self.out.used_bytes == mark or self.is_replica or not (wrote or read):
            return 0
        return self.hold(mark, offset, wrote)

    # ----------------------------------------------------------------------------------------- effects

    cdef int changed(self, int64_t count) except -1:
        self.dirty += count
        return 0

    cdef int changed_at(self, int index) except -1:
        self.dirty = (<int64_t> 1 << ONE_KEY_SHIFT) + index
        return 0

    cdef int changed_aside(self, int64_t count) except -1:
        self.dirty -= count
        return 0

    cdef int touched_at(self, int index) except -1:
        if self.engine.watched:
            self.engine.touch_watched(self.database, span_bytes(self.argv[index]), True)
        return 0

    cdef int effect(self, int argc) except -1:
        self.effect_written = True
        if self.apply_stream or not self.engine.effects.active:
            return 0
        self._open_transaction_effects()
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

    # Effects of one EXEC reach a replica together: MULTI goes out before the first of them.
    cdef int _open_transaction_effects(self) except -1:
        if self.transaction_effects == EFFECTS_PENDING:
            self.engine.effects.begin(self.database, 1)
            self.engine.effects.arg_word("MULTI")
            self.transaction_effects = EFFECTS_OPEN
        return 0

    cdef int close_transaction_effects(self) except -1:
        """The EXEC is over: so it is for the replicas, if they have been told of it."""
        cdef bint opened = self.transaction_effects == EFFECTS_OPEN
        self.transaction_effects = EFFECTS_SINGLE
        if opened:
            self.engine.effects.begin(self.database, 1)
            self.engine.effects.arg_word("EXEC")
            self.engine.gate.written = self.engine.effects.offset
        return 0

    def part_effects(self):
        """For a command that changes whose stream this is. What EXEC ran before it is a transaction of its own for the
        replicas: its end would come after the moment from which on the stream is somebody else's."""
        cdef int state = self.transaction_effects
        self.close_transaction_effects()
        if state != EFFECTS_SINGLE:
            self.transaction_effects = EFFECTS_PENDING

    cdef int _propagate(self) except -1:
        cdef Engine engine = self.engine
        cdef int index
        engine.counters.writes += 1
        if engine.watched or engine.waiters.pair_count:
            self._touch_keys(self.command)
        if self.apply_stream or not engine.effects.active:
            return 0
        if not self.effect_written:
            self._open_transaction_effects()
            engine.effects.begin(self.database, self.argc)
            for index in range(self.argc):
                engine.effects.arg(self.argv[index])
        engine.gate.written = engine.effects.offset
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
            return self.engine.waiters.touch_all(-1)  # SWAPDB; watched keys are told by its handler, before
        if self.dirty >> ONE_KEY_SHIFT > 0:
            return self._touch_at(<int> (self.dirty - (<int64_t> 1 << ONE_KEY_SHIFT)))
        if command.spec.key_specs:
            for run in command.spec.key_specs:
                if run.access.startswith("RO"):  # BITOP's operands, COPY's source, what ZUNIONSTORE and SORT read
                    continue
                for index in run.among(self.arguments()) if run.moves else run.positions(self.argc):
                    self._touch_at(index)
            return 0
        if command.get_keys is not None:
            for index in command.get_keys(self.arguments()):
                self._touch_at(index)
            return 0
        last = command.last_key if command.last_key >= 0 else self.argc + command.last_key
        for index in range(command.first_key, min(last, self.argc - 1) + 1, command.key_step):
            self._touch_at(index)
        return 0

    cdef int _touch_at(self, int index) except -1:
        return self.engine.touch_watched(self.database, span_bytes(self.argv[index]), self.dirty > 0)
