"""The ordered index (ordered.pyx) for Python: of numbers, with a heap to itself. Tests try it with this."""

from libc.stdint cimport INT64_MAX, UINT64_MAX, int64_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap, heap_delete, heap_new
from node.engine.ordered cimport (
    Ordered,
    OrderedCursor,
    ordered_append,
    ordered_at,
    ordered_cut,
    ordered_free_some,
    ordered_held_bytes,
    ordered_insert,
    ordered_next,
    ordered_previous,
    ordered_rank,
    ordered_remove,
    ordered_replace,
    ordered_seek,
    ordered_word,
)


cdef struct Numbers:
    uint64_t number
    int shift  # so many low bits of a word do not count


cdef int _order_numbers(const void *probe, uint64_t word) noexcept nogil:
    cdef const Numbers *wanted = <const Numbers *> probe
    cdef uint64_t own = wanted.number >> wanted.shift
    word >>= wanted.shift
    return -1 if own < word else 1 if own > word else 0


cdef class NumberIndex:
    """An ordered index whose words are numbers in their own order."""

    cdef Heap *heap
    cdef Ordered index

    def __cinit__(self):
        self.heap = heap_new()

    def __dealloc__(self):
        cdef int64_t budget_words = INT64_MAX
        if self.heap != NULL:
            ordered_free_some(self.heap, &self.index, &budget_words)
            heap_delete(self.heap)

    def __len__(self):
        return self.index.count

    def insert(self, uint64_t number):
        """Whether it was not there yet."""
        cdef Numbers probe = Numbers(number, 0)
        return ordered_insert(self.heap, &self.index, _order_numbers, &probe, number) == 1

    def append(self, uint64_t number):
        ordered_append(self.heap, &self.index, number)

    def remove(self, uint64_t number):
        """Whether it was there."""
        cdef Numbers probe = Numbers(number, 0)
        cdef uint64_t word = 0
        return ordered_remove(self.heap, &self.index, _order_numbers, &probe, &word) and word == number

    def rank(self, uint64_t number, *, bint after=False, int shift=0):
        """How many stand before it, its `shift` low bits set aside; `after`: and beside it."""
        cdef Numbers probe = Numbers(number, shift)
        return ordered_rank(&self.index, _order_numbers, &probe, after)

    def at(self, uint64_t rank):
        """The number of that rank; None behind the last."""
        cdef OrderedCursor cursor
        return ordered_word(&cursor) if ordered_at(&self.index, rank, &cursor) else None

    def walk_from(self, uint64_t number, *, bint after=False, int shift=0):
        """From the first that does not stand before `number` (`after`: that stands behind it) to the last."""
        cdef Numbers probe = Numbers(number, shift)
        cdef OrderedCursor cursor
        cdef bint more = ordered_seek(&self.index, _order_numbers, &probe, after, &cursor)
        found = []
        while more:
            found.append(ordered_word(&cursor))
            more = ordered_next(&cursor)
        return found

    def walk_back(self, uint64_t rank):
        """From the number of that rank to the first."""
        cdef OrderedCursor cursor
        cdef bint more = ordered_at(&self.index, rank, &cursor)
        found = []
        while more:
            found.append(ordered_word(&cursor))
            more = ordered_previous(&cursor)
        return found

    def replace(self, uint64_t rank, uint64_t number):
        cdef OrderedCursor cursor
        if not ordered_at(&self.index, rank, &cursor):
            raise IndexError(f"rank {rank}: there are {self.index.count}")
        ordered_replace(&cursor, number)

    def cut(self, uint64_t rank, uint32_t room):
        """Takes out up to `room` (1 to 1,000) numbers from that rank on, as many as one leaf holds."""
        cdef uint64_t into[1000]
        cdef uint32_t count
        if not 1 <= room <= 1000:
            raise ValueError(f"room for {room} numbers, it must be 1 to 1,000")
        count = ordered_cut(self.heap, &self.index, rank, into, room)
        return [into[at] for at in range(count)]

    def free_some(self, int64_t budget_words):
        return ordered_free_some(self.heap, &self.index, &budget_words)

    def audit(self):
        """Bytes in nodes. Raises ValueError when anything disagrees, the heap's own count too."""
        held = ordered_held_bytes(&self.index)
        if held == UINT64_MAX:
            raise ValueError("counts, first words or levels disagree")
        if not held == self.index.used_bytes == self.heap.used_bytes:
            raise ValueError(
                f"the heap gave out {self.heap.used_bytes} bytes, the index says {self.index.used_bytes}, it holds {held}"
            )
        return held
