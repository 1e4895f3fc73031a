"""Strings as runs of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Fields of several bits are in bitfields.pyx.

Bit 0 is the highest bit of byte 0, and the last one of a byte comes before the first one of the next.

Counting, searching and combining large values runs at the speed of memory: words instead of bytes, and every
operand is read once, in blocks that stay in the first cache while all operands pass over them.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from node.engine.entry cimport (
    ENCODING_LARGE,
    ENCODING_RAW,
    TYPE_STRING,
    Entry,
    entry_encoding,
    entry_expiry_ms,
    entry_mutable_bytes,
    entry_string,
    entry_type,
    entry_value,
)
from node.engine.keyspace cimport EXPIRY_NONE, Key
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is, span_of, span_slice, span_to_int64

# The four loops over plain memory, in C for two things Cython has no words for: a function compiled for a processor
# feature (x86-64's baseline counts bits with a table in a library call, the POPCNT instruction is ten times
# faster; chosen when running, so one build runs everywhere), and a vector type without alignment.
cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #define GRAPEVINE_AND 0
    #define GRAPEVINE_OR 1
    #define GRAPEVINE_XOR 2

    /* Four accumulators: the next word's count need not wait for the last one's sum. */
    static inline __attribute__((always_inline)) uint64_t count_words(const uint8_t *at, size_t len_bytes) {
        uint64_t a = 0, b = 0, c = 0, d = 0, word[4];
        for (; len_bytes >= 32; at += 32, len_bytes -= 32) {
            memcpy(word, at, 32);
            a += (uint64_t) __builtin_popcountll(word[0]);
            b += (uint64_t) __builtin_popcountll(word[1]);
            c += (uint64_t) __builtin_popcountll(word[2]);
            d += (uint64_t) __builtin_popcountll(word[3]);
        }
        if (len_bytes) {
            memset(word, 0, 32);
            memcpy(word, at, len_bytes);
            for (int index = 0; index < 4; index++) a += (uint64_t) __builtin_popcountll(word[index]);
        }
        return a + b + c + d;
    }

    #if defined(__x86_64__)
    __attribute__((target("popcnt"))) static uint64_t count_words_popcnt(const uint8_t *at, size_t len_bytes) {
        return count_words(at, len_bytes);
    }
    #endif

    static uint64_t bits_count(const uint8_t *at, size_t len_bytes) {
    #if defined(__x86_64__)
        if (__builtin_cpu_supports("popcnt")) return count_words_popcnt(at, len_bytes);
    #endif
        return count_words(at, len_bytes);
    }

    /* How many bytes at the front equal `fill`. */
    static size_t bytes_equal(const uint8_t *at, size_t len_bytes, uint8_t fill) {
        const uint64_t same = fill * UINT64_C(0x0101010101010101);
        uint64_t word[4];
        size_t done = 0;
        for (; len_bytes - done >= 32; done += 32) {
            memcpy(word, at + done, 32);
            if ((word[0] ^ same) | (word[1] ^ same) | (word[2] ^ same) | (word[3] ^ same)) break;
        }
        while (done < len_bytes && at[done] == fill) done++;
        return done;
    }

    typedef uint64_t bits_vector __attribute__((vector_size(16), aligned(1), may_alias));

    /* `into` may be `left` itself: each step has read before it writes. */
    #define COMBINE(OPERATOR) \\
        for (; len_bytes - done >= 64; done += 64) { \\
            const bits_vector *l = (const bits_vector *) (left + done), *r = (const bits_vector *) (right + done); \\
            bits_vector a = l[0] OPERATOR r[0], b = l[1] OPERATOR r[1]; \\
            bits_vector c = l[2] OPERATOR r[2], d = l[3] OPERATOR r[3]; \\
            bits_vector *to = (bits_vector *) (into + done); \\
            to[0] = a; to[1] = b; to[2] = c; to[3] = d; \\
        } \\
        for (; done < len_bytes; done++) into[done] = left[done] OPERATOR right[done];

    static void bits_combine(
        int how, uint8_t *into, const uint8_t *left, const uint8_t *right, size_t len_bytes
    ) {
        size_t done = 0;
        if (how == GRAPEVINE_AND) { COMBINE(&) }
        else if (how == GRAPEVINE_OR) { COMBINE(|) }
        else { COMBINE(^) }
    }

    static void bits_invert(uint8_t *into, const uint8_t *from, size_t len_bytes) {
        size_t done = 0;
        for (; len_bytes - done >= 64; done += 64) {
            const bits_vector *f = (const bits_vector *) (from + done);
            bits_vector a = ~f[0], b = ~f[1], c = ~f[2], d = ~f[3];
            bits_vector *to = (bits_vector *) (into + done);
            to[0] = a; to[1] = b; to[2] = c; to[3] = d;
        }
        for (; done < len_bytes; done++) into[done] = (uint8_t) ~from[done];
    }
    """
    const int OP_AND "GRAPEVINE_AND"
    const int OP_OR "GRAPEVINE_OR"
    const int OP_XOR "GRAPEVINE_XOR"
    uint64_t bits_count(const uint8_t *at, size_t len_bytes) nogil
    size_t bytes_equal(const uint8_t *at, size_t len_bytes, uint8_t fill) nogil
    void bits_combine(int how, uint8_t *into, const uint8_t *left, const uint8_t *right, size_t len_bytes) nogil
    void bits_invert(uint8_t *into, const uint8_t *source, size_t len_bytes) nogil
    int __builtin_clz(unsigned int word) nogil
    int __builtin_popcount(unsigned int word) nogil

cdef enum:
    OP_NOT = 3
    BLOCK_BYTES = 8192  # of each operand in turn; with the result a quarter to a half of a first-level cache


# --- helpers ---------------------------------------------------------------------------------------------

cdef bint is_string(Session s, Entry *entry) except -1:
    if entry != NULL and entry_type(entry) != TYPE_STRING:
        s.reply_wrong_type()
        return False
    return True


# What our primary sends was within its limit, which may be higher than ours.
cdef bint bit_offset(Session s, Span word, int width, int64_t *offset) except -1:
    cdef int64_t value = 0
    cdef int64_t unit = 1
    cdef Span number = word
    if width > 0 and word.len_bytes > 0 and word.at[0] == 35:  # '#'
        span_slice(word, 1, word.len_bytes - 1, &number)
        unit = width
    # A field may begin at the last bit that is allowed and end 63 bits later: no sum with it may overflow.
    if (
        not span_to_int64(number, &value)
        or value < 0
        or value > (INT64_MAX - 64) // unit
        or (not s.apply_stream and (value * unit) >> 3 >= s.engine.limits.bulk_len_max)
    ):
        s.reply_error("ERR bit offset is not an integer or out of range")
        return False
    offset[0] = value * unit
    return True


cdef Entry *writable_bits(Session s, Key *key, Entry *entry, int64_t last_bit, bint *grew) except NULL:
    cdef uint8_t scratch[24]
    cdef int64_t old_bytes = -1
    cdef int64_t want_bytes = (last_bit >> 3) + 1
    if entry != NULL:
        old_bytes = entry_string(entry, scratch).len_bytes
    grew[0] = want_bytes > old_bytes
    return s.keyspace.resize_string(s.database, key, entry, <Py_ssize_t> max(want_bytes, old_bytes))


# Redis's rules for a range within `total`: negative positions count from the end, both ends are inside.
# Returns 0 when nothing is left.
cdef bint _clip(int64_t *first, int64_t *last, int64_t total) noexcept nogil:
    if first[0] < 0:
        first[0] += total
    if last[0] < 0:
        last[0] += total
    first[0] = max(first[0], <int64_t> 0)
    last[0] = max(last[0], <int64_t> 0)
    last[0] = min(last[0], total - 1)
    return first[0] <= last[0]


# BYTE or BIT. On failure the error is written and 0 returned.
cdef bint _unit(Session s, int index, bint *in_bits) except -1:
    if span_is(s.argv[index], "BIT"):
        in_bits[0] = True
    elif span_is(s.argv[index], "BYTE"):
        in_bits[0] = False
    else:
        s.reply_syntax_error()
        return False
    return True


# --- one bit ---------------------------------------------------------------------------------------------

cdef int _setbit(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef int64_t offset = 0, wanted = 0
    cdef Entry *entry
    cdef bint grew = False
    cdef uint8_t *byte
    cdef int shift, old
    if not bit_offset(s, s.argv[2], 0, &offset):
        return 0
    if not span_to_int64(s.argv[3], &wanted) or wanted >> 1 != 0:
        return s.reply_error("ERR bit is not an integer or out of range")
    entry = s.keyspace.find(s.database, &key)
    if not is_string(s, entry):
        return 0
    entry = writable_bits(s, &key, entry, offset, &grew)
    byte = entry_mutable_bytes(entry) + (offset >> 3)  # writable_bits made room for it
    shift = 7 - <int> (offset & 7)
    old = byte[0] >> shift & 1
    if grew or old != wanted:
        byte[0] = <uint8_t> (byte[0] & ~(1 << shift) | <int> wanted << shift)
        s.changed(1)
    return s.reply_int64(old)


cdef int _getbit(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef int64_t offset = 0
    cdef Entry *entry
    cdef uint8_t scratch[24]
    cdef Span byte
    if not bit_offset(s, s.argv[2], 0, &offset):
        return 0
    entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    if entry == NULL:
        return s.reply_int64(0)
    if not is_string(s, entry):
        return 0
    if not span_slice(entry_string(entry, scratch), offset >> 3, 1, &byte):
        return s.reply_int64(0)
    return s.reply_int64(byte.at[0] >> (7 - (offset & 7)) & 1)


# --- counting and searching ------------------------------------------------------------------------------

# Set bits from first to last, both inside the value.
cdef int64_t _count(Span value, int64_t first, int64_t last) noexcept nogil:
    cdef Span part
    if not span_slice(value, first >> 3, (last >> 3) - (first >> 3) + 1, &part):
        return 0
    return (
        <int64_t> bits_count(part.at, <size_t> part.len_bytes)
        - __builtin_popcount(part.at[0] & ~(0xFF >> (first & 7)) & 0xFF)
        - __builtin_popcount(part.at[part.len_bytes - 1] & (0x7F >> (last & 7)))
    )


# The first position from first to last, both inside the value, that holds `bit`; -1: none does.
cdef int64_t _search(Span value, int64_t first, int64_t last, bint bit) noexcept nogil:
    cdef Span part
    cdef Py_ssize_t at = 0
    cdef uint8_t other = 0 if bit else 0xFF
    cdef unsigned int found
    cdef int64_t position
    if not span_slice(value, first >> 3, (last >> 3) - (first >> 3) + 1, &part):
        return -1
    found = (part.at[0] ^ other) & (0xFF >> (first & 7))
    if found == 0:
        at = 1 + <Py_ssize_t> bytes_equal(part.at + 1, <size_t> (part.len_bytes - 1), other)
        if at == part.len_bytes:
            return -1
        found = part.at[at] ^ other
    position = ((first >> 3) + at) * 8 + __builtin_clz(found) - 24  # of a byte in 32 bits
    return position if position <= last else -1


cdef int _bitcount(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    cdef uint8_t scratch[24]
    cdef Span value
    cdef int64_t first = 0, last = -1, total
    cdef bint in_bits = False
    # A missing key answers 0 whatever the other words are, as a real server does before 7.2.
    if entry == NULL:
        return s.reply_int64(0)
    if not is_string(s, entry):
        return 0
    value = entry_string(entry, scratch)
    if s.argc == 3 or s.argc > 5:
        return s.reply_syntax_error()
    if s.argc > 3:
        if not s.int64_at(2, &first) or not s.int64_at(3, &last):
            return 0
        if first < 0 and last < 0 and first > last:
            return s.reply_int64(0)
        if s.argc == 5 and not _unit(s, 4, &in_bits):
            return 0
    total = <int64_t> value.len_bytes * 8 if in_bits else value.len_bytes  # below 2**35
    if not _clip(&first, &last, total):
        return s.reply_int64(0)
    if not in_bits:
        first *= 8
        last = last * 8 + 7
    return s.reply_int64(_count(value, first, last))


cdef int _bitpos(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef int64_t bit = 0, first = 0, last = -1, total, position
    cdef Entry *entry
    cdef uint8_t scratch[24]
    cdef Span value
    cdef bint in_bits = False
    if not s.int64_at(2, &bit):
        return 0
    if bit != 0 and bit != 1:
        return s.reply_error("ERR The bit argument must be 1 or 0.")
    entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    if entry == NULL:  # zeros without end
        return s.reply_int64(-1 if bit else 0)
    if not is_string(s, entry):
        return 0
    value = entry_string(entry, scratch)
    if s.argc > 6:
        return s.reply_syntax_error()
    if s.argc > 3 and not s.int64_at(3, &first):
        return 0
    if s.argc == 6 and not _unit(s, 5, &in_bits):
        return 0
    if s.argc > 4 and not s.int64_at(4, &last):
        return 0
    total = <int64_t> value.len_bytes * 8 if in_bits else value.len_bytes
    if not _clip(&first, &last, total):
        return s.reply_int64(-1)
    if not in_bits:
        first *= 8
        last = last * 8 + 7
    position = _search(value, first, last, bit)
    # Without an end of its own the range goes on behind the value, where all bits are clear.
    if position < 0 and bit == 0 and s.argc < 5:
        position = last + 1
    return s.reply_int64(position)


# --- combining whole values ------------------------------------------------------------------------------

cdef struct Operand:
    Span value  # may lie in digits
    Entry *entry  # NULL: a missing key, which counts as an empty string
    uint8_t digits[24]


cdef int _bitop(Session s) except -1:
    cdef int how
    cdef Operand *operands
    if span_is(s.argv[1], "AND"):
        how = OP_AND
    elif span_is(s.argv[1], "OR"):
        how = OP_OR
    elif span_is(s.argv[1], "XOR"):
        how = OP_XOR
    elif span_is(s.argv[1], "NOT"):
        how = OP_NOT
    else:
        return s.reply_syntax_error()
    if how == OP_NOT and s.argc != 4:
        return s.reply_error("ERR BITOP NOT must be called with a single source key.")
    operands = <Operand *> malloc(<size_t> (s.argc - 3) * sizeof(Operand))
    if operands == NULL:
        raise MemoryError(f"no memory for {s.argc - 3} operands")
    try:
        return _bitop_over(s, how, operands, s.argc - 3)
    finally:
        free(operands)


cdef int _bitop_over(Session s, int how, Operand *operands, int count) except -1:
    cdef Key key
    cdef Key target = s.key_at(2)
    cdef Entry *old
    cdef Entry *result
    cdef Py_ssize_t longest = 0
    cdef bint in_place = False
    cdef int index
    for index in range(count):
        key = s.key_at(index + 3)
        operands[index].entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
        if not is_string(s, operands[index].entry):
            return 0
        operands[index].value = span_of(NULL, 0)
        if operands[index].entry != NULL:
            operands[index].value = entry_string(operands[index].entry, operands[index].digits)
        longest = max(longest, operands[index].value.len_bytes)
    # May delete an expired target, but then it is none of the operands: those are alive.
    old = s.keyspace.find(s.database, &target)
    if longest == 0:
        if old != NULL:
            s.keyspace.remove(s.database, &target)
            s.changed(1)
        return s.reply_int64(0)
    for index in range(count):
        in_place = in_place or (old != NULL and operands[index].entry == old)
    if in_place:
        # The target is an operand too: it grows where it is, zeros behind it, which changes no result.
        if entry_expiry_ms(old) != EXPIRY_NONE:
            result = s.keyspace.set_expiry(s.database, &target, old, EXPIRY_NONE)
        else:
            result = old
        result = s.keyspace.resize_string(s.database, &target, result, longest)
        for index in range(count):
            if operands[index].entry == old:
                operands[index].value = span_of(entry_mutable_bytes(result), longest)
    elif (
        old != NULL
        and entry_type(old) == TYPE_STRING
        and (entry_encoding(old) == ENCODING_RAW or (entry_encoding(old) == ENCODING_LARGE and entry_value(old).pins == 0))
        and entry_expiry_ms(old) == EXPIRY_NONE
        and entry_string(old, NULL).len_bytes == longest
    ):
        # The last result of the same size: its pages are there, which new ones of the system are not.
        result = s.keyspace.resize_string(s.database, &target, old, longest)
    else:
        result = s.keyspace.put_blank(s.database, &target, longest)
    _combine(how, operands, count, entry_mutable_bytes(result), longest, in_place)
    s.changed(1)
    return s.reply_int64(longest)


# Writes len_bytes of result. Operands that end earlier go on with zeros. When the result's memory is also an
# operand's, each block is worked out beside it first, because later operands still have to read it.
cdef void _combine(
    int how, const Operand *operands, int count, uint8_t *into, Py_ssize_t len_bytes, bint in_place
) noexcept nogil:
    cdef uint8_t beside[BLOCK_BYTES]
    cdef uint8_t *work
    cdef Span left, right
    cdef Py_ssize_t at = 0, size, done
    cdef int index
    while at < len_bytes:
        size = min(<Py_ssize_t> BLOCK_BYTES, len_bytes - at)
        if in_place:
            work = beside
        else:
            work = into + at
        left = part_of(operands[0].value, at, size)
        if how == OP_NOT:  # of one operand, as long as the result
            bits_invert(work, left.at, <size_t> left.len_bytes)
            done = left.len_bytes
        elif count == 1:
            if left.len_bytes > 0:
                memcpy(work, left.at, <size_t> left.len_bytes)
            done = left.len_bytes
        else:
            right = part_of(operands[1].value, at, size)
            if right.len_bytes > left.len_bytes:
                left, right = right, left
            done = right.len_bytes
            bits_combine(how, work, left.at, right.at, <size_t> done)
            if how != OP_AND and left.len_bytes > done:
                memcpy(work + done, left.at + done, <size_t> (left.len_bytes - done))
                done = left.len_bytes
        memset(work + done, 0, <size_t> (size - done))
        for index in range(2, count):
            right = part_of(operands[index].value, at, size)
            bits_combine(how, work, work, right.at, <size_t> right.len_bytes)
            if how == OP_AND:
                memset(work + right.len_bytes, 0, <size_t> (size - right.len_bytes))
        if in_place:
            memcpy(into + at, beside, <size_t> size)
        at += size


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"setbit", <void *> _setbit)
    registry.add_compiled(b"getbit", <void *> _getbit)
    registry.add_compiled(b"bitcount", <void *> _bitcount)
    registry.add_compiled(b"bitpos", <void *> _bitpos)
    registry.add_compiled(b"bitop", <void *> _bitop)
