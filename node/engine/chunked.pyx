"""The chunked list as Python sees it: for tests and tools."""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t

from node.engine.alloc cimport Heap, heap_delete, heap_new
from node.engine.chunks cimport (
    List,
    ListCursor,
    list_adopt,
    list_audit,
    list_copy,
    list_drop,
    list_end,
    list_free_some,
    list_insert,
    list_item,
    list_join,
    list_new,
    list_next,
    list_previous,
    list_push,
    list_remove,
    list_replace,
    list_seek,
)
from node.engine.run cimport Item, item_of, item_text
from node.engine.span cimport span_bytes, span_of


cdef class ChunkedList:
    """A list with a heap of its own: the structure without keys, commands and clients."""

    cdef Heap *heap
    cdef List *list

    def __cinit__(self):
        self.heap = heap_new()
        self._own(list_new(self.heap))

    def __dealloc__(self):
        if self.heap != NULL:
            self._free(INT64_MAX)
            heap_delete(self.heap)

    cdef int _own(self, List *l) except -1:
        if l == NULL:
            raise MemoryError("no memory for a list")
        self.list = l
        return 0

    cdef bint _free(self, int64_t budget) noexcept:
        if self.list != NULL and list_free_some(self.heap, self.list, &budget):
            return True
        self.list = NULL
        return False

    cdef int _check(self, bint done) except -1:
        if not done:
            raise MemoryError("no memory for a list's element")
        return 0

    def __len__(self):
        return self.list.count

    cdef bytes _read(self, ListCursor *cursor):
        cdef Item item
        cdef uint8_t scratch[24]
        list_item(self.list, cursor, &item)
        return span_bytes(item_text(&item, scratch))

    cdef int _place(self, int64_t index, ListCursor *cursor) except -1:
        if not list_seek(self.list, index, cursor):
            raise IndexError(f"element {index}: there are {self.list.count}")
        return 0

    def push(self, bytes value, bint front):
        cdef Item item = item_of(span_of(<const char *> value, len(value)))
        self._check(list_push(self.heap, self.list, &item, front))

    def get(self, int64_t index):
        cdef ListCursor cursor
        self._place(index, &cursor)
        return self._read(&cursor)

    def insert(self, int64_t index, bytes value, bint behind):
        """Returns what the cursor stands on afterwards."""
        cdef Item item = item_of(span_of(<const char *> value, len(value)))
        cdef ListCursor cursor
        self._place(index, &cursor)
        self._check(list_insert(self.heap, self.list, &cursor, &item, behind))
        return self._read(&cursor)

    def replace(self, int64_t index, bytes value):
        """Returns what the cursor stands on afterwards."""
        cdef Item item = item_of(span_of(<const char *> value, len(value)))
        cdef ListCursor cursor
        self._place(index, &cursor)
        self._check(list_replace(self.heap, self.list, &cursor, &item))
        return self._read(&cursor)

    def remove(self, int64_t index):
        """Returns the element that the cursor went to; None behind the last."""
        cdef ListCursor cursor
        self._place(index, &cursor)
        return self._read(&cursor) if list_remove(self.heap, self.list, &cursor) else None

    def drop(self, int64_t count, bint front):
        list_drop(self.heap, self.list, min(count, self.list.count), front)

    def join(self):
        """Joins what can be joined; returns how often."""
        cdef uint32_t index = self.list.directory.count
        joined = 0
        while index > 0:
            index -= 1
            joined += list_join(self.heap, self.list, index)
        return joined

    def copy(self):
        cdef ChunkedList fresh = ChunkedList()
        fresh._free(INT64_MAX)
        fresh._own(list_copy(fresh.heap, self.list))
        return fresh

    def keep(self, uint32_t index, uint32_t count):
        """Forgets everything but so many chunks."""
        cdef List *fresh = list_new(self.heap)
        if index + count > self.list.directory.count or count == 0:
            raise IndexError(f"chunks {index} to {index + count}: there are {self.list.directory.count}")
        self._check(fresh != NULL and list_adopt(self.heap, fresh, self.list, index, count))
        self._free(INT64_MAX)
        self._own(fresh)

    def walk(self, bint front):
        """Every element, from one end to the other."""
        cdef ListCursor cursor
        found = []
        if list_end(self.list, front, &cursor):
            while True:
                found.append(self._read(&cursor))
                if not (list_next(self.list, &cursor) if front else list_previous(self.list, &cursor)):
                    break
        return found

    def free_step(self, int64_t budget):
        """Frees some chunks of the list, which starts anew once that is done. True: there is more."""
        if self._free(budget):
            return True
        self._own(list_new(self.heap))
        return False

    def audit(self):
        """(bytes counted again, bytes as kept in passing, bytes the heap has given out, chunks); -1 first: damaged."""
        return list_audit(self.list), self.list.head.used_bytes, self.heap.used_bytes, self.list.directory.count
