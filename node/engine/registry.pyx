"""Commands by name.

Python-side specs (node.commands.table) and compiled functions meet here: a compiled module announces
its functions by name first, then `add` joins each spec with the function of that name, or with the
spec's own Python handler.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from node.engine.span cimport Span, span_bytes

cdef dict _FLAGS = {
    "write": FLAG_WRITE,
    "readonly": FLAG_READONLY,
    "denyoom": FLAG_DENYOOM,
    "admin": FLAG_ADMIN,
    "pubsub": FLAG_PUBSUB,
    "noscript": FLAG_NOSCRIPT,
    "blocking": FLAG_BLOCKING,
    "loading": FLAG_LOADING,
    "stale": FLAG_STALE,
    "fast": FLAG_FAST,
    "no_auth": FLAG_NO_AUTH,
    "movablekeys": FLAG_MOVABLEKEYS,
    "asking": FLAG_ASKING,
    "no_multi": FLAG_NO_MULTI,
    "allow_busy": FLAG_ALLOW_BUSY,
    "may_replicate": FLAG_MAY_REPLICATE,
}

# Flags that other parts read from the spec (COMMAND's reply, the monitor, the slow log) and dispatch ignores.
cdef frozenset _INFORMATIVE = frozenset(
    ("skip_monitor", "skip_slowlog", "no_async_loading", "no_mandatory_keys", "sort_for_script", "random")
)

cdef Py_ssize_t LONGEST_WORD = 64


cdef class Command:
    def __init__(self, object spec, dict compiled, str parent="", Command inherit=None):
        self.spec = spec
        self.name = spec.name.lower()
        own_parent, _, own = self.name.rpartition("|")
        if own_parent != parent:
            raise ValueError(f"command {self.name} stands under {parent or 'no command'!r}")
        self.word = own.encode("ascii")
        self.compiled = NULL
        self.handler = spec.handler
        # A spec with a handler means it, also for a name that has a compiled function: a router refuses what a
        # node executes.
        address = compiled.get(self.name.encode("ascii")) if spec.handler is None else None
        if address is not None:
            self.compiled = <void *> <uintptr_t> address
        elif self.handler is None and inherit is not None:
            self.compiled = inherit.compiled
            self.handler = inherit.handler
        self.arity = spec.arity
        self.flags = 0
        for flag in sorted(spec.flags):
            if flag in _FLAGS:
                self.flags |= <uint32_t> _FLAGS[flag]
            elif flag not in _INFORMATIVE:
                raise ValueError(f"command {self.name}: unknown flag {flag!r}")
        self.first_key = spec.first_key
        self.last_key = spec.last_key
        self.key_step = spec.key_step
        if self.first_key > 0 and self.key_step <= 0:
            raise ValueError(f"command {self.name}: key_step must be positive where there are keys")
        self.get_keys = spec.get_keys
        self.brief = self.compiled != NULL and (self.flags & FLAG_FAST or self.name == "set")
        self.children = None
        if spec.subcommands:
            self.children = {}
            for child in spec.subcommands:
                made = Command(child, compiled, self.name, self)
                self.children[made.word] = made
        elif self.compiled == NULL and self.handler is None:
            raise ValueError(f"command {self.name}: neither a compiled function nor a handler answers it")

    def __dealloc__(self):
        free(self.timings)

    cdef int begin_timings(self) except -1:
        self.timings = <uint64_t *> calloc(TIMING_CLASSES, sizeof(uint64_t))
        if self.timings == NULL:
            raise MemoryError("no memory to count a command's timings")
        return 0

    def latencies(self):
        """Timed calls by duration: pairs of (exclusive upper bound in ticks, calls), shortest first."""
        cdef int index
        cdef uint64_t bound
        found = []
        if self.timings != NULL:
            for index in range(TIMING_CLASSES):
                if self.timings[index]:
                    if index < 8:
                        bound = index + 1
                    else:
                        bound = (<uint64_t> (8 + (index & 7) + 1)) << ((index >> 3) - 1)
                    found.append((bound, self.timings[index]))
        return found

    @property
    def is_compiled(self):
        return self.compiled != NULL

    def reset_statistics(self):
        self.calls = 0
        self.rejected = 0
        self.failed = 0
        self.ticks = 0
        free(self.timings)
        self.timings = NULL
        if self.children is not None:
            for child in self.children.values():
                child.reset_statistics()


cdef inline uint32_t _spread(const uint8_t *at, Py_ssize_t len_bytes) noexcept:
    # FNV-1a over the lower-cased word; names are short and chosen by us, so strength does not matter.
    cdef uint32_t value = 2166136261U
    cdef Py_ssize_t index
    for index in range(len_bytes):
        value = (value ^ (at[index] | 32)) * 16777619U
    return value ^ (value >> 15)


cdef inline bint _same_word(const uint8_t *sent, const uint8_t *lower, Py_ssize_t len_bytes) noexcept:
    cdef Py_ssize_t index
    cdef uint8_t byte
    for index in range(len_bytes):
        byte = sent[index]
        if 65 <= byte <= 90:
            byte |= 32
        if byte != lower[index]:
            return False
    return True


cdef class Registry:
    def __cinit__(self):
        self._by_word = {}
        self._compiled = {}
        self._cells = NULL
        self._cell_count = 0

    def __dealloc__(self):
        free(self._cells)

    cdef int add_compiled(self, bytes word, void *compiled) except -1:
        if word in self._compiled:
            raise ValueError(f"two compiled functions answer {word!r}")
        self._compiled[word] = <uintptr_t> compiled
        return 0

    def add(self, spec):
        """Joins a spec with what answers it.

        Raises:
            ValueError: the name is taken, a flag is unknown, or nothing answers the command: our own fault.
        """
        made = Command(spec, self._compiled)
        if made.word in self._by_word:
            raise ValueError(f"two specs for the command {made.name}")
        if len(made.word) > LONGEST_WORD:
            raise ValueError(f"command {made.name}: the name is too long")
        self._by_word[made.word] = made
        self._rebuild()

    def _rebuild(self):
        cdef uint32_t count = 64
        cdef uint32_t index
        cdef Cell *cells
        cdef Command command
        while count < 4 * <uint32_t> len(self._by_word):
            count *= 2
        cells = <Cell *> calloc(count, sizeof(Cell))
        if cells == NULL:
            raise MemoryError("no memory for the command table")
        for command in self._by_word.values():
            index = _spread(<const uint8_t *> <const char *> command.word, len(command.word)) & (count - 1)
            while cells[index].command != NULL:
                index = (index + 1) & (count - 1)
            cells[index] = Cell(<void *> <PyObject *> command, <const uint8_t *> <const char *> command.word, len(command.word))
        free(self._cells)
        self._cells = cells
        self._cell_count = count

    cdef void *find(self, Span word) noexcept:
        cdef uint32_t index
        cdef Cell *cell
        if self._cell_count == 0 or word.len_bytes == 0 or word.len_bytes > LONGEST_WORD:
            return NULL
        index = _spread(word.at, word.len_bytes) & (self._cell_count - 1)
        while True:
            cell = &self._cells[index]
            if cell.command == NULL or (
                cell.len_bytes == word.len_bytes and _same_word(word.at, cell.word, word.len_bytes)
            ):
                return cell.command
            index = (index + 1) & (self._cell_count - 1)

    def get(self, name):
        """The Command of a name such as "get" or "config|get"; None when there is none."""
        parent, _, child = name.lower().partition("|")
        command = self._by_word.get(parent.encode("utf-8", "surrogateescape"))
        if command is None or not child:
            return command
        if command.children is None:
            return None
        return command.children.get(child.encode("utf-8", "surrogateescape"))

    def commands(self):
        """All top-level commands, in the order they were added."""
        return list(self._by_word.values())

    def __len__(self):
        return len(self._by_word)


cdef bytes unknown_command(const Span *argv, int argc):
    cdef int index
    name = span_bytes(argv[0])[:128]
    shown = b""
    for index in range(1, argc):
        if len(shown) >= 128:
            break
        shown += b"'%b' " % span_bytes(argv[index])[: 128 - len(shown)]
    return b"ERR unknown command '%b', with args beginning with: %b" % (name, shown)


cdef bytes unknown_subcommand(Command command, const Span *argv):
    shown = span_bytes(argv[1])[:128]
    return b"ERR unknown subcommand '%b'. Try %b HELP." % (shown, command.name.upper().encode("ascii"))
