"""What a replica's link brings: the stream of our primary, applied silently and counted.

No checks, no replies (but to GETACK). Deletions are the primary's to decide, so keys that look expired here are
still alive for these commands. The very bytes go on to our own replicas, so offsets agree everywhere.

A command that the stream brings and that raises (no memory, or a bug of ours) is half done at best. Then the link ends:
nothing that came behind it is applied or acknowledged, and the follower takes a new full copy.

A transaction is kept until its EXEC is here, then counted, passed on and applied in one go. So neither readers
nor a promotion ever meet half of one, and after a break the stream goes on before its MULTI.
"""

from libc.stdint cimport uint64_t, uint8_t

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.call cimport Call
from node.engine.registry cimport Command
from node.engine.span cimport span_is

from node.engine.reply import StreamRefused

cdef int TOLD_MAX = 64


cdef class Applied:
    def __cinit__(self, uint64_t offset):
        self.offset = offset
        self.held = None
        self.failure = ""
        self._told = set()

    def __dealloc__(self):
        buf_free(&self.held_raw)

    cdef bint holds(self, Call call) noexcept:
        """Whether the command in argv belongs to a transaction."""
        return self.held is not None or (call.argc == 1 and span_is(call.argv[0], b"MULTI"))

    cdef int hold(self, Call call, const uint8_t *raw, Py_ssize_t len_bytes) except -1:
        """Keeps one command of a transaction (an empty line too); its EXEC applies them all."""
        cdef list words
        if self.held is None:
            self.held = []
        buf_append(&self.held_raw, raw, len_bytes)
        if call.argc == 0:
            return 0
        self.held.append(call.arguments())
        if call.argc != 1 or not span_is(call.argv[0], b"EXEC"):
            return 0
        held = self.held
        self.held = None
        try:
            self.pass_on(call, self.held_raw.data, self.held_raw.used_bytes)
        finally:
            buf_free(&self.held_raw)
        for words in held[1:len(held) - 1]:
            call.run_arguments(words)
        return 0

    cdef int pass_on(self, Call call, const uint8_t *raw, Py_ssize_t len_bytes) except -1:
        """Counts bytes of the stream and gives them to our own replicas.

        Before the command runs: one that breaks must not leave our stream behind our primary's.
        """
        if call.engine.effects.active:
            call.engine.effects._raw(raw, <uint64_t> len_bytes)
        self.offset += <uint64_t> len_bytes
        return 0

    cdef int call(self, Call call, Command command) except -1:
        cdef Py_ssize_t mark = call.out.used_bytes
        cdef bint asks_ack = command.name == "replconf"
        call.keyspace.applying = True
        try:
            call.call(command)
        finally:
            call.keyspace.applying = False
        if not asks_ack:
            if call.out.used_bytes > mark and call.out.data[mark] == 45:  # '-': we now differ from our primary
                self.refused(call, command.name, bytes(call.out.data[mark:call.out.used_bytes]).strip())
            call.rewind(mark)
        return 0

    cdef int broke(self, Call call, object error) except -1:
        """What the stream brought has raised: our data may not be our primary's any more."""
        name = "?" if call.command is None else call.command.name
        if not self.failure:
            self.failure = f"the primary's stream broke '{name}', so this replica needs a new full copy: {error}"
        return 0

    cdef int refused(self, Call call, str name, bytes text) except -1:
        """Tells of it once for each command and link: a stream full of what we do not know must not flood the log."""
        if name in self._told or len(self._told) >= TOLD_MAX:
            return 0
        self._told.add(name)
        if call.engine.on_python_error is not None:
            call.engine.on_python_error(
                StreamRefused(
                    f"the primary's stream brought '{name}' and it was refused, so this replica's data differs "
                    f"from now on: {text.decode('latin-1')}"
                )
            )
        return 0
