"""Strings as rows of small numbers: BITFIELD, BITFIELD_RO.

A field reads like a big-endian number that need not start at a byte; bit 0 is the highest bit of byte 0:

    byte        0                 1                 2
    bit         0 1 2 3 4 5 6 7   8 9 ...       15  16 ...
    u5 at 6                 4 3   2 1 0

A field of 64 bits touches nine bytes at most, so one word and a byte hold any of them.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from node.engine.bits cimport bit_offset, is_string, part_of, writable_bits
from node.engine.entry cimport Entry, entry_mutable_bytes, entry_string
from node.engine.keyspace cimport Key
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is, span_of, span_slice, span_to_int64

cdef extern from *:
    """
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define GRAPEVINE_BIG_ENDIAN(word) __builtin_bswap64(word)
    #else
    #define GRAPEVINE_BIG_ENDIAN(word) (word)
    #endif
    """
    uint64_t _big_endian "GRAPEVINE_BIG_ENDIAN"(uint64_t word) nogil

cdef enum:
    FIELD_BYTES_MAX = 9  # 64 bits that start inside a byte

cdef enum:
    FIELD_GET = 0
    FIELD_SET = 1
    FIELD_INCRBY = 2

cdef enum:
    OVERFLOW_WRAP = 0
    OVERFLOW_SAT = 1
    OVERFLOW_FAIL = 2

cdef enum:
    STEP_END = 0
    STEP_FOUND = 1
    STEP_REFUSED = 2

# One GET, SET or INCRBY. `overflow` stays from one to the next.
cdef struct Step:
    int verb
    bint is_signed
    int width
    int overflow
    int64_t offset
    int64_t operand  # what SET stores, INCRBY adds


# i1 to i64, u1 to u63. On failure the error is written and 0 returned.
cdef bint _field_type(Session s, Span word, Step *step) except -1:
    cdef int64_t width = 0
    cdef Span number
    if word.len_bytes > 1 and (word.at[0] == 105 or word.at[0] == 117):  # 'i', 'u'
        step.is_signed = word.at[0] == 105
        span_slice(word, 1, word.len_bytes - 1, &number)
        if span_to_int64(number, &width) and 1 <= width <= (64 if step.is_signed else 63):
            step.width = <int> width
            return True
    s.reply_error("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")
    return False


# Reads the next step from argv[index] on and moves index behind it. STEP_REFUSED: the error is written.
cdef int _next_step(Session s, int *index, Step *step) except -1:
    cdef int at = index[0]
    cdef int words
    while at < s.argc:
        if span_is(s.argv[at], "OVERFLOW") and at + 1 < s.argc:
            if span_is(s.argv[at + 1], "WRAP"):
                step.overflow = OVERFLOW_WRAP
            elif span_is(s.argv[at + 1], "SAT"):
                step.overflow = OVERFLOW_SAT
            elif span_is(s.argv[at + 1], "FAIL"):
                step.overflow = OVERFLOW_FAIL
            else:
                s.reply_error("ERR Invalid OVERFLOW type specified")
                return STEP_REFUSED
            at += 2
            continue
        words = 4
        if span_is(s.argv[at], "GET"):
            step.verb = FIELD_GET
            words = 3
        elif span_is(s.argv[at], "SET"):
            step.verb = FIELD_SET
        elif span_is(s.argv[at], "INCRBY"):
            step.verb = FIELD_INCRBY
        else:
            words = s.argc  # more than there are
        if s.argc - at < words:
            s.reply_syntax_error()
            return STEP_REFUSED
        if not _field_type(s, s.argv[at + 1], step) or not bit_offset(s, s.argv[at + 2], step.width, &step.offset):
            return STEP_REFUSED
        if step.verb != FIELD_GET and not s.int64_at(at + 3, &step.operand):
            return STEP_REFUSED
        index[0] = at + words
        return STEP_FOUND
    index[0] = at
    return STEP_END


# The up to nine bytes around a field, zeros behind the value's end: the first eight as a big-endian number.
cdef inline uint64_t _window(Span value, int64_t offset, uint8_t *ninth) noexcept nogil:
    cdef uint8_t bytes[FIELD_BYTES_MAX]
    cdef uint64_t word
    cdef Span part = part_of(value, offset >> 3, FIELD_BYTES_MAX)
    memset(bytes, 0, FIELD_BYTES_MAX)
    if part.len_bytes > 0:
        memcpy(bytes, part.at, <size_t> part.len_bytes)
    memcpy(&word, bytes, 8)
    ninth[0] = bytes[8]
    return _big_endian(word)


# The field's bits, at the lower end of the word.
cdef uint64_t _field(Span value, int64_t offset, int width) noexcept nogil:
    cdef uint8_t ninth
    cdef uint64_t word = _window(value, offset, &ninth)
    cdef int lead = <int> (offset & 7)
    if lead > 0:
        word = word << lead | <uint64_t> ninth >> (8 - lead)
    return word >> (64 - width)


# Stores the lower `width` bits of bits in a field that lies wholly inside the value.
cdef void _store_field(Entry *entry, int64_t offset, int width, uint64_t bits) noexcept nogil:
    cdef Span value = entry_string(entry, NULL)  # a raw one since writable_bits
    cdef Span part = part_of(value, offset >> 3, FIELD_BYTES_MAX)
    cdef uint8_t bytes[FIELD_BYTES_MAX]
    cdef int lead = <int> (offset & 7)
    cdef uint64_t mask = ~<uint64_t> 0 << (64 - width)
    cdef uint64_t top = bits << (64 - width)
    cdef uint8_t ninth
    cdef uint64_t word = _window(value, offset, &ninth)
    word = _big_endian(word & ~(mask >> lead) | top >> lead)
    memcpy(bytes, &word, 8)
    bytes[8] = ninth
    if lead > 0:
        bytes[8] = <uint8_t> (ninth & ~(mask << (8 - lead)) | top << (8 - lead))
    memcpy(entry_mutable_bytes(entry) + (offset >> 3), bytes, <size_t> part.len_bytes)


cdef inline int64_t _extended(uint64_t bits, int width) noexcept nogil:
    return <int64_t> (bits << (64 - width)) >> (64 - width)


# base + by in a signed field. Returns 0 when it does not fit and must fail; else the sum is in `fitted`.
cdef bint _fit_signed(int64_t base, int64_t by, int width, int overflow, int64_t *fitted) noexcept nogil:
    cdef int64_t top = INT64_MAX >> (64 - width)
    cdef int64_t bottom = INT64_MIN >> (64 - width)
    # top - by and bottom - by can't overflow: the signs agree where they are worked out. What SET is given may lie so far
    # below that the way up to top does not fit 64 bits: too large, says Redis.
    cdef bint above = base > top or (by > 0 and base > top - by) or (width < 64 and base < top - INT64_MAX)
    cdef bint below = base < bottom or (by < 0 and base < bottom - by)
    if not above and not below:
        fitted[0] = base + by
    elif overflow == OVERFLOW_FAIL:
        return False
    elif overflow == OVERFLOW_SAT:
        fitted[0] = top if above else bottom
    else:
        fitted[0] = _extended(<uint64_t> base + <uint64_t> by, width)
    return True


# As _fit_signed, in an unsigned field of 63 bits at most. SET's negative numbers are large ones here.
cdef bint _fit_unsigned(uint64_t base, int64_t by, int width, int overflow, int64_t *fitted) noexcept nogil:
    cdef uint64_t top = ~<uint64_t> 0 >> (64 - width)
    cdef bint above = base > top or (by > 0 and <uint64_t> by > top - base)
    cdef bint below = not above and by < 0 and by < -<int64_t> base
    if not above and not below:
        fitted[0] = <int64_t> (base + <uint64_t> by)
    elif overflow == OVERFLOW_FAIL:
        return False
    elif overflow == OVERFLOW_SAT:
        fitted[0] = <int64_t> top if above else 0
    else:
        fitted[0] = <int64_t> ((base + <uint64_t> by) & top)
    return True


# Runs one step and writes its reply. `value` is the string as it is; entry its entry, for writes.
cdef int _run_step(Session s, const Step *step, Span value, Entry *entry, bint grew, int64_t *changes) except -1:
    cdef uint64_t bits = _field(value, step.offset, step.width)
    cdef int64_t old = _extended(bits, step.width) if step.is_signed else <int64_t> bits
    cdef int64_t base, by, new = 0
    cdef bint fits
    if step.verb == FIELD_GET:
        return s.reply_int64(old)
    base = old if step.verb == FIELD_INCRBY else step.operand
    by = step.operand if step.verb == FIELD_INCRBY else 0
    if step.is_signed:
        fits = _fit_signed(base, by, step.width, step.overflow, &new)
    else:
        fits = _fit_unsigned(<uint64_t> base, by, step.width, step.overflow, &new)
    if not fits:
        return s.reply_null()
    _store_field(entry, step.offset, step.width, <uint64_t> new)
    if grew or new != old:
        changes[0] += 1
    return s.reply_int64(new if step.verb == FIELD_INCRBY else old)


# Twice over the words: first everything is checked (nothing may happen before an error), then it runs.
cdef int _bitfield_over(Session s, bint only_reads) except -1:
    cdef Key key = s.key_at(1)
    cdef Step step
    cdef int index = 2, outcome
    cdef int64_t count = 0, last_bit = -1, changes = 0
    cdef bint grew = False
    cdef Entry *entry
    cdef Span value = span_of(NULL, 0)
    cdef uint8_t scratch[24]
    step.overflow = OVERFLOW_WRAP
    while True:
        outcome = _next_step(s, &index, &step)
        if outcome == STEP_REFUSED:
            return 0
        if outcome == STEP_END:
            break
        count += 1
        if step.verb != FIELD_GET:
            last_bit = max(last_bit, step.offset + step.width - 1)
    if last_bit < 0:
        entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    elif only_reads:
        return s.reply_error("ERR BITFIELD_RO only supports the GET subcommand")
    else:
        entry = s.keyspace.find(s.database, &key)
    if not is_string(s, entry):
        return 0
    if last_bit >= 0:
        entry = writable_bits(s, &key, entry, last_bit, &grew)
    if entry != NULL:
        value = entry_string(entry, scratch)
    s.reply_array(count)
    index = 2
    step.overflow = OVERFLOW_WRAP
    while _next_step(s, &index, &step) == STEP_FOUND:
        _run_step(s, &step, value, entry, grew, &changes)
    if grew and changes == 0:
        # All writes failed for overflow, but the string grew to have room for them. A real server tells
        # nobody, and its replicas then have a shorter value; we tell ours, but not those who watch the key.
        return s.changed_aside(1)
    return s.changed(changes)


cdef int _bitfield(Session s) except -1:
    return _bitfield_over(s, False)


cdef int _bitfield_ro(Session s) except -1:
    return _bitfield_over(s, True)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"bitfield", <void *> _bitfield)
    registry.add_compiled(b"bitfield_ro", <void *> _bitfield_ro)
