"""Sets: a run of members inline in the key's entry, in one of two orders, or a table of members.

    intset      | -5 | 7 | 300 | ...       a run (run.pyx) of integers only, ascending; the entry says ENTRY_SORTED
    listpack    | member | member | ...    a run in the order of their coming
    hashtable   Members (members.pyx): an entry for each member, 24 bytes for one of 16

The names are Redis's, and so is the moment at which one becomes another: set-max-intset-entries for integers,
set-max-listpack-entries and -value once a member is none, and a table from there on. Integers of 1 to 9 bytes each,
where Redis's intset has all of them as wide as the widest; so there is no search by halves, but what is gone through
is 512 elements of a few bytes at most.
"""

from libc.stdlib cimport free, malloc, qsort

from node.engine.alloc cimport heap_give
from node.engine.entry cimport (
    ENCODING_NONE,
    ENCODING_OBJECT,
    ENTRY_SORTED,
    TYPE_SET,
    entry_encoding,
    entry_key,
    entry_mutable_bytes,
    entry_object,
    entry_run,
    fits_entry,
)
from node.engine.keyspace cimport EXPIRY_KEEP, EXPIRY_NONE, Edit
from node.engine.members cimport (
    members_count,
    members_empty_some,
    members_find,
    members_new,
    members_put,
    members_remove,
    members_walk,
)
from node.engine.run cimport (
    RUN_INTEGER,
    Item,
    item_bytes,
    item_of,
    item_of_int64,
    item_text,
    item_write,
    run_count,
    run_find,
    run_next,
    run_skip,
)
from node.engine.span cimport span_of
from node.engine.splice cimport splice_run

# --- reading ----------------------------------------------------------------------------------------------

cdef Members *set_members(Entry *entry) noexcept nogil:
    return <Members *> entry_object(entry) if entry_encoding(entry) == ENCODING_OBJECT else NULL


cdef int64_t set_count(Entry *entry) noexcept nogil:
    cdef Members *members = set_members(entry)
    return run_count(entry_run(entry)) if members == NULL else members_count(members)


cdef bint set_has(Keyspace keyspace, Entry *entry, Span member) noexcept:
    cdef Members *members = set_members(entry)
    cdef Py_ssize_t index = 0
    cdef Item item
    if members != NULL:
        return members_find(&keyspace.store, members, member) != NULL
    item = item_of(member)
    if entry.flags & ENTRY_SORTED and item.kind != RUN_INTEGER:
        return False
    return run_find(entry_run(entry), &item, 0, 1, &index) != NULL


cdef void elements_begin(Entry *entry, Elements *elements) noexcept:
    cdef Span run
    elements_begin_members(set_members(entry), elements)
    if elements.members == NULL:
        run = entry_run(entry)
        elements.at = run.at
        elements.end = run.at + run.len_bytes


cdef void elements_begin_members(Members *members, Elements *elements) noexcept:
    elements.members = members
    elements.cursor = 0
    elements.walked = False
    elements.count = 0
    elements.index = 0


cdef bint elements_next(Elements *elements, Span *member) noexcept:
    cdef Item item
    if elements.members == NULL:
        if elements.at == elements.end:
            return False
        elements.at = run_next(elements.at, elements.end, &item)
        member[0] = item_text(&item, elements.digits)
        return True
    while elements.index == elements.count:
        if elements.walked:
            return False
        elements.count = members_walk(elements.members, &elements.cursor, elements.found)
        elements.index = 0
        elements.walked = elements.cursor == 0
    member[0] = entry_key(elements.found[elements.index])
    elements.index += 1
    return True


# --- the large form -----------------------------------------------------------------------------------------

cdef Members *set_begin(Keyspace keyspace) except NULL:
    cdef Members *members = members_new(&keyspace.store, TYPE_SET, sizeof(Members))
    if members == NULL:
        raise MemoryError("no memory for a set")
    return members


cdef int set_put(Keyspace keyspace, Members *members, Span member) except -1:
    if not fits_entry(member.len_bytes):
        raise OverflowError(f"a member of {member.len_bytes} bytes: 4 GiB is the limit")
    if members_put(&keyspace.store, members, member, ENCODING_NONE, span_of(NULL, 0), 0, -1) == NULL:
        raise MemoryError(f"no memory for a member of {member.len_bytes} bytes")
    return 0


cdef void set_drop(Keyspace keyspace, Members *members) noexcept:
    cdef int64_t budget = 0x7FFFFFFFFFFFFFFF
    members_empty_some(&keyspace.store, members, &budget)
    heap_give(keyspace.store.heap, members, sizeof(Members))


cdef Entry *set_make_large(Keyspace keyspace, int database, Key *key, Entry *entry) except NULL:
    cdef Members *members
    cdef Elements elements
    cdef Span member
    if entry_encoding(entry) == ENCODING_OBJECT:
        return entry
    members = set_begin(keyspace)
    try:
        elements_begin(entry, &elements)
        while elements_next(&elements, &member):
            set_put(keyspace, members, member)
    except BaseException:
        set_drop(keyspace, members)
        raise
    return keyspace.put_object(database, key, &members.head, EXPIRY_KEEP)


# --- adding ---------------------------------------------------------------------------------------------------

# An empty set in the form that suits `count` members of which this is the first.
cdef Entry *_create(Keyspace keyspace, int database, Key *key, Span first, int count) except NULL:
    cdef Entry *entry
    cdef bint sorted = item_of(first).kind == RUN_INTEGER and count <= keyspace.limits.set_sorted_members
    if not sorted and count > keyspace.limits.set_run_members:
        return keyspace.put_object(database, key, &set_begin(keyspace).head, EXPIRY_NONE)
    entry = keyspace.put_run(database, key, TYPE_SET, span_of(NULL, 0), EXPIRY_NONE)
    if sorted:
        entry.flags |= ENTRY_SORTED
    return entry


cdef Entry *set_add(
    Keyspace keyspace, int database, Key *key, Entry *entry, const Span *members, int count, int64_t *added
) except NULL:
    cdef bint fresh = entry == NULL
    cdef int index = 0
    cdef bint one = False
    added[0] = 0
    if fresh:
        entry = _create(keyspace, database, key, members[0], count)
    elif entry_encoding(entry) != ENCODING_OBJECT and count > (
        keyspace.limits.set_sorted_members if entry.flags & ENTRY_SORTED else keyspace.limits.set_run_members
    ):
        entry = set_make_large(keyspace, database, key, entry)
    try:
        while index < count and entry_encoding(entry) != ENCODING_OBJECT:
            entry = _add_to_run(keyspace, database, key, entry, members[index], &one)
            if entry_encoding(entry) != ENCODING_OBJECT:  # otherwise it had no room for this one
                added[0] += one
                index += 1
        if index < count:
            added[0] += _add_to_members(keyspace, database, key, entry, members + index, count - index)
    except BaseException:
        if fresh and added[0] == 0:  # nobody may ever see a set without members
            keyspace.remove(database, key)
        raise
    return entry


cdef int64_t _add_to_members(
    Keyspace keyspace, int database, Key *key, Entry *entry, const Span *wanted, int count
) except -1:
    cdef Members *members = <Members *> entry_object(entry)
    cdef int64_t before = members_count(members)
    cdef int index
    cdef Edit edit
    keyspace.begin_edit(database, key, entry, &edit)
    try:
        for index in range(count):
            set_put(keyspace, members, wanted[index])
    finally:
        keyspace.end_edit(&edit)
    return members_count(members) - before


# Adds to a run, or makes the set large, without the member, when the run can't take it.
cdef Entry *_add_to_run(Keyspace keyspace, int database, Key *key, Entry *entry, Span member, bint *added) except NULL:
    cdef Item item = item_of(member)
    cdef Span run = entry_run(entry)
    cdef bint sorted = entry.flags & ENTRY_SORTED != 0
    cdef Py_ssize_t offset = run.len_bytes, need = item_bytes(&item), index = 0
    cdef int64_t limit = keyspace.limits.set_run_members
    added[0] = False
    if sorted and item.kind == RUN_INTEGER:
        if _find_sorted(run, item.integer, &offset):
            return entry
        limit = keyspace.limits.set_sorted_members
    else:
        if not sorted and run_find(run, &item, 0, 1, &index) != NULL:
            return entry
        if member.len_bytes > keyspace.limits.set_run_value_bytes:
            return set_make_large(keyspace, database, key, entry)
        if sorted and _longest_number(run) > keyspace.limits.set_run_value_bytes:
            return set_make_large(keyspace, database, key, entry)
    # An element has one byte at least: most sets need not be counted.
    if run.len_bytes >= limit and run_count(run) >= limit:
        return set_make_large(keyspace, database, key, entry)
    entry = splice_run(keyspace, database, key, entry, offset, 0, need)
    item_write(entry_mutable_bytes(entry) + offset, &item)
    if sorted and item.kind != RUN_INTEGER:
        entry.flags &= <uint8_t> ~ENTRY_SORTED
    added[0] = True
    return entry


# Whether an ascending run holds a number; if not, offset[0] says where it belongs.
cdef bint _find_sorted(Span run, int64_t number, Py_ssize_t *offset) noexcept nogil:
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef const uint8_t *following
    cdef Item item
    while at != end:
        following = run_next(at, end, &item)
        if item.integer >= number:
            offset[0] = at - run.at
            return item.integer == number
        at = following
    offset[0] = run.len_bytes
    return False


# Of the texts of an ascending run of integers: the longest is that of its first or of its last.
cdef Py_ssize_t _longest_number(Span run) noexcept nogil:
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef uint8_t digits[24]
    cdef Py_ssize_t longest = 0
    cdef Item item
    while at != end:
        at = run_next(at, end, &item)
        if longest == 0 or at == end:
            longest = max(longest, item_text(&item, digits).len_bytes)
    return longest


# --- removing -------------------------------------------------------------------------------------------------

cdef Entry *set_remove(Keyspace keyspace, int database, Key *key, Entry *entry, Span member, bint *removed) except? NULL:
    cdef Members *members = set_members(entry)
    cdef Item item
    cdef Span run
    cdef const uint8_t *at
    cdef Py_ssize_t index = 0, len_bytes
    cdef Edit edit
    if members != NULL:
        keyspace.begin_edit(database, key, entry, &edit)
        removed[0] = members_remove(&keyspace.store, members, member)
        keyspace.end_edit(&edit)
        if members_count(members) > 0:
            return entry
    else:
        run = entry_run(entry)
        item = item_of(member)
        at = run_find(run, &item, 0, 1, &index)
        removed[0] = at != NULL
        if at == NULL:
            return entry
        len_bytes = run_skip(at) - at
        if len_bytes < run.len_bytes:
            return splice_run(keyspace, database, key, entry, at - run.at, len_bytes, 0)
    keyspace.remove(database, key)
    return NULL


# --- a result -------------------------------------------------------------------------------------------------

cdef int _compare_numbers(const void *left, const void *right) noexcept nogil:
    cdef int64_t first = (<const int64_t *> left)[0]
    cdef int64_t second = (<const int64_t *> right)[0]
    return (first > second) - (first < second)


cdef Entry *set_store(Keyspace keyspace, int database, Key *key, Members *members) except NULL:
    cdef Elements elements
    cdef Span member
    cdef Item item
    cdef int64_t count = members_count(members)
    cdef bint integers = count <= keyspace.limits.set_sorted_members
    cdef bint small = count <= keyspace.limits.set_run_members
    cdef Py_ssize_t need = 0
    if integers or small:
        elements_begin_members(members, &elements)
        while (integers or small) and elements_next(&elements, &member):
            item = item_of(member)
            need += item_bytes(&item)
            integers = integers and item.kind == RUN_INTEGER
            small = small and member.len_bytes <= keyspace.limits.set_run_value_bytes
    if not integers and not small:
        return keyspace.put_object(database, key, &members.head, EXPIRY_NONE)
    try:
        return _store_run(keyspace, database, key, members, need, integers)
    finally:
        set_drop(keyspace, members)


cdef Entry *_store_run(
    Keyspace keyspace, int database, Key *key, Members *members, Py_ssize_t need, bint integers
) except NULL:
    cdef int64_t count = members_count(members), index = 0
    cdef uint8_t *run = <uint8_t *> malloc(<size_t> need)
    cdef int64_t *numbers = <int64_t *> malloc(<size_t> count * sizeof(int64_t))
    cdef uint8_t *end = run
    cdef Elements elements
    cdef Span member
    cdef Item item
    cdef Entry *entry
    try:
        if run == NULL or numbers == NULL:
            raise MemoryError(f"no memory for a run of {need} bytes")
        elements_begin_members(members, &elements)
        while elements_next(&elements, &member):
            item = item_of(member)
            if integers:
                numbers[index] = item.integer
                index += 1
            else:
                end = item_write(end, &item)
        if integers:
            qsort(numbers, <size_t> count, sizeof(int64_t), _compare_numbers)
            for index in range(count):
                item = item_of_int64(numbers[index])
                end = item_write(end, &item)
        entry = keyspace.put_run(database, key, TYPE_SET, span_of(run, end - run), EXPIRY_NONE)
        if integers:
            entry.flags |= ENTRY_SORTED
        return entry
    finally:
        free(run)
        free(numbers)
