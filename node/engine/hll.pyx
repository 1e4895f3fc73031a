"""HyperLogLog: how many different elements there were, to within 0.81 %, in 12 KB at most.

An element's hash (MurmurHash64A) names one of 16,384 registers by its low 14 bits; the register keeps the longest
run of zero bits, counted from 1, that the other 50 have begun with. The bytes are Redis's, so that values travel:

    "HYLL"  encoding(1)  unused(3)  cardinality(8, its top bit: stale)  registers

    encoding 0, dense     6 bits a register, the first one in the low bits of the first byte
    encoding 1, sparse    00LLLLLL            1 to 64 registers of 0
                          01LLLLLL llllllll   1 to 16,384 registers of 0
                          1VVVVVLL            1 to 4 registers of a value from 1 to 32

Two servers agree on a sketch to the byte only if they split and join the sparse runs at the same places, so hll_raise
does that as Redis does: the run that covers the register is split in up to three, and then of five runs from the one before
on, neighbours of equal value are joined.

The estimator is Ertl's: no table, no bias, one formula from 0 to 2^64.

Sources: Flajolet et al., HyperLogLog (2007); O. Ertl, New cardinality estimation algorithms for HyperLogLog sketches,
arXiv 1702.01284; https://redis.io/docs/latest/develop/data-types/probabilistic/hyperloglogs/
"""

from libc.math cimport llround, sqrt
from libc.string cimport memcmp, memcpy, memmove, memset

cdef enum:
    INDEX_BITS = 14
    RANK_BITS = 50  # 64 - INDEX_BITS
    ENCODING_DENSE = 0
    ENCODING_SPARSE = 1
    SHORT_ZEROS_MAX = 64
    VALUE_RUN_MAX = 4
    SPARSE_VALUE_MAX = 32
    RUNS_JOINED = 5

cdef uint64_t MURMUR_SEED = 0xADC83B19
cdef uint64_t MURMUR_FACTOR = 0xC6A4A7935BD1E995
cdef double ALPHA = 0.721347520444481703680  # 1 / (2 ln 2)


cdef uint64_t _murmur(Span text) noexcept nogil:
    cdef uint64_t hash = MURMUR_SEED ^ (<uint64_t> text.len_bytes * MURMUR_FACTOR)
    cdef uint64_t word
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t rest
    while text.len_bytes - at >= 8:
        memcpy(&word, text.at + at, 8)
        word *= MURMUR_FACTOR
        word ^= word >> 47
        word *= MURMUR_FACTOR
        hash ^= word
        hash *= MURMUR_FACTOR
        at += 8
    rest = text.len_bytes - at
    if rest > 0:
        word = 0
        memcpy(&word, text.at + at, <size_t> rest)
        hash ^= word
        hash *= MURMUR_FACTOR
    hash ^= hash >> 47
    hash *= MURMUR_FACTOR
    return hash ^ (hash >> 47)


cdef int hll_pattern(Span element, int *register_index) noexcept nogil:
    cdef uint64_t hash = _murmur(element)
    cdef int rank = 1
    register_index[0] = <int> (hash & (HLL_REGISTERS - 1))
    hash = (hash >> INDEX_BITS) | (<uint64_t> 1 << RANK_BITS)  # so that it ends
    while hash & 1 == 0:
        rank += 1
        hash >>= 1
    return rank


# --- the header ----------------------------------------------------------------------------------------

cdef bint hll_looks_right(Span value) noexcept nogil:
    if value.len_bytes < HLL_HEADER_BYTES or memcmp(value.at, b"HYLL", 4) != 0 or value.at[4] > ENCODING_SPARSE:
        return False
    return value.at[4] == ENCODING_SPARSE or value.len_bytes == HLL_DENSE_BYTES


cdef bint hll_is_dense(Span value) noexcept nogil:
    return value.at[4] == ENCODING_DENSE


cdef uint64_t hll_cached(Span value, bint *valid) noexcept nogil:
    cdef uint64_t cardinality
    memcpy(&cardinality, value.at + 8, 8)
    valid[0] = cardinality >> 63 == 0
    return cardinality if valid[0] else 0


cdef void hll_cache(uint8_t *bytes, uint64_t cardinality) noexcept nogil:
    memcpy(bytes + 8, &cardinality, 8)


cdef void hll_forget(uint8_t *bytes) noexcept nogil:
    bytes[15] |= 0x80


cdef void hll_new(Sketch *sketch) noexcept nogil:
    memset(sketch.bytes, 0, HLL_HEADER_BYTES)
    memcpy(sketch.bytes, b"HYLL", 4)
    sketch.bytes[4] = ENCODING_SPARSE
    _write_zeros(sketch.bytes + HLL_HEADER_BYTES, HLL_REGISTERS)
    sketch.len_bytes = HLL_HEADER_BYTES + 2


cdef bint hll_load(Sketch *sketch, Span value) noexcept nogil:
    if value.len_bytes > HLL_DENSE_BYTES:
        return False
    memcpy(sketch.bytes, value.at, <size_t> value.len_bytes)
    sketch.len_bytes = value.len_bytes
    return True


# --- dense registers ------------------------------------------------------------------------------------

cdef inline int _dense_get(const uint8_t *registers, int index) noexcept nogil:
    cdef int bit = index * 6
    cdef int byte = bit >> 3
    cdef unsigned int pair = registers[byte]
    if bit & 7 > 2:  # it reaches into the next byte
        pair |= <unsigned int> registers[byte + 1] << 8
    return <int> ((pair >> (bit & 7)) & HLL_REGISTER_MAX)


cdef inline void _dense_set(uint8_t *registers, int index, int value) noexcept nogil:
    cdef int bit = index * 6
    cdef int byte = bit >> 3
    cdef int shift = bit & 7
    registers[byte] = <uint8_t> ((registers[byte] & ~(HLL_REGISTER_MAX << shift)) | (value << shift))
    if shift > 2:
        registers[byte + 1] = <uint8_t> (
            (registers[byte + 1] & ~(HLL_REGISTER_MAX >> (8 - shift))) | (value >> (8 - shift))
        )


# --- sparse runs ------------------------------------------------------------------------------------------

# One run: its length in registers, its value, its length in bytes.
cdef struct _Run:
    int count
    int value
    int len_bytes


cdef inline bint _read_run(const uint8_t *at, const uint8_t *end, _Run *run) noexcept nogil:
    if at[0] & 0x80:
        run.value = ((at[0] >> 2) & 31) + 1
        run.count = (at[0] & 3) + 1
        run.len_bytes = 1
    elif at[0] & 0x40:
        if end - at < 2:
            return False
        run.value = 0
        run.count = (((at[0] & 0x3F) << 8) | at[1]) + 1
        run.len_bytes = 2
    else:
        run.value = 0
        run.count = at[0] + 1
        run.len_bytes = 1
    return True


cdef inline uint8_t *_write_zeros(uint8_t *at, int count) noexcept nogil:
    if count > SHORT_ZEROS_MAX:
        at[0] = <uint8_t> (0x40 | ((count - 1) >> 8))
        at[1] = <uint8_t> (count - 1)
        return at + 2
    at[0] = <uint8_t> (count - 1)
    return at + 1


cdef inline uint8_t *_write_run(uint8_t *at, int value, int count) noexcept nogil:
    if count == 0:
        return at
    if value == 0:
        return _write_zeros(at, count)
    at[0] = <uint8_t> (0x80 | (value - 1) << 2 | (count - 1))
    return at + 1


# Joins neighbours of equal value among the runs from `at` on.
cdef void _join(Sketch *sketch, uint8_t *at) noexcept nogil:
    cdef uint8_t *end = sketch.bytes + sketch.len_bytes
    cdef int left = RUNS_JOINED
    cdef int count
    while at < end and left > 0:
        left -= 1
        if not at[0] & 0x80:
            at += 2 if at[0] & 0x40 else 1
            continue
        if at + 1 < end and at[1] & 0x80 and (at[0] ^ at[1]) & 0x7C == 0:
            count = (at[0] & 3) + (at[1] & 3) + 2
            if count <= VALUE_RUN_MAX:
                at[0] = <uint8_t> ((at[0] & 0xFC) | (count - 1))
                memmove(at + 1, at + 2, <size_t> (end - at - 2))
                end -= 1
                sketch.len_bytes -= 1
                continue
        at += 1


cdef int _raise_sparse(Sketch *sketch, int index, int value, int64_t sparse_bytes_max) noexcept nogil:
    cdef uint8_t *at = sketch.bytes + HLL_HEADER_BYTES
    cdef uint8_t *end = sketch.bytes + sketch.len_bytes
    cdef uint8_t *before = at
    cdef uint8_t fresh[5]
    cdef uint8_t *fresh_end
    cdef int first = 0
    cdef int grown
    cdef _Run run
    if value > SPARSE_VALUE_MAX:
        return HLL_TOO_SPARSE
    while True:
        if at >= end or not _read_run(at, end, &run):
            return HLL_DAMAGED
        if index < first + run.count:
            break
        before = at
        at += run.len_bytes
        first += run.count
    if run.value >= value:
        return HLL_SAME
    fresh_end = _write_run(fresh, run.value, index - first)
    fresh_end = _write_run(fresh_end, value, 1)
    fresh_end = _write_run(fresh_end, run.value, first + run.count - 1 - index)
    grown = <int> (fresh_end - fresh) - run.len_bytes
    if grown > 0 and sketch.len_bytes + grown > sparse_bytes_max:
        return HLL_TOO_SPARSE
    memmove(at + run.len_bytes + grown, at + run.len_bytes, <size_t> (end - at - run.len_bytes))
    memcpy(at, fresh, <size_t> (fresh_end - fresh))
    sketch.len_bytes += grown
    _join(sketch, before)
    return HLL_CHANGED


cdef int hll_raise(Sketch *sketch, int register_index, int value, int64_t sparse_bytes_max) noexcept nogil:
    cdef int done
    if sketch.bytes[4] == ENCODING_SPARSE:
        # More than a dense one takes would be no gain, and there is no room here.
        done = _raise_sparse(sketch, register_index, value, min(sparse_bytes_max, <int64_t> HLL_DENSE_BYTES))
        if done == HLL_CHANGED:
            hll_forget(sketch.bytes)
        if done != HLL_TOO_SPARSE:
            return done
        if not hll_make_dense(sketch):
            return HLL_DAMAGED
    if _dense_get(sketch.bytes + HLL_HEADER_BYTES, register_index) >= value:
        return HLL_SAME
    _dense_set(sketch.bytes + HLL_HEADER_BYTES, register_index, value)
    hll_forget(sketch.bytes)
    return HLL_CHANGED


cdef bint hll_make_dense(Sketch *sketch) noexcept nogil:
    cdef uint8_t registers[HLL_REGISTERS]
    cdef Span value
    cdef int index
    if sketch.bytes[4] == ENCODING_DENSE:
        return True
    value.at = sketch.bytes
    value.len_bytes = sketch.len_bytes
    memset(registers, 0, HLL_REGISTERS)
    if not hll_merge(registers, value):
        return False
    memset(sketch.bytes + HLL_HEADER_BYTES, 0, HLL_DENSE_BYTES - HLL_HEADER_BYTES)
    for index in range(HLL_REGISTERS):
        if registers[index] != 0:
            _dense_set(sketch.bytes + HLL_HEADER_BYTES, index, registers[index])
    sketch.bytes[4] = ENCODING_DENSE
    sketch.len_bytes = HLL_DENSE_BYTES
    return True


# --- counting ------------------------------------------------------------------------------------------------

cdef bint hll_merge(uint8_t *registers, Span value) noexcept nogil:
    cdef const uint8_t *at = value.at + HLL_HEADER_BYTES
    cdef const uint8_t *end = value.at + value.len_bytes
    cdef int index = 0
    cdef int register
    cdef _Run run
    if value.at[4] == ENCODING_DENSE:
        for index in range(HLL_REGISTERS):
            register = _dense_get(at, index)
            if register > registers[index]:
                registers[index] = <uint8_t> register
        return True
    while at < end:
        if not _read_run(at, end, &run) or run.count > HLL_REGISTERS - index:
            return False
        for index in range(index, index + run.count):
            if run.value > registers[index]:
                registers[index] = <uint8_t> run.value
        index += 1
        at += run.len_bytes
    return index == HLL_REGISTERS


# Both are series of the paper; they end because a double has only so many bits.
cdef double _sigma(double x) noexcept nogil:
    cdef double before
    cdef double y = 1
    cdef double z = x
    if x == 1.0:
        return 1e308 * 10
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if before == z:
            return z


cdef double _tau(double x) noexcept nogil:
    cdef double before
    cdef double y = 1.0
    cdef double z = 1 - x
    if x == 0.0 or x == 1.0:
        return 0.0
    while True:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) * (1 - x) * y
        if before == z:
            return z / 3


cdef uint64_t hll_estimate(const uint8_t *registers) noexcept nogil:
    cdef int found[HLL_RANKS]
    cdef double m = HLL_REGISTERS
    cdef double z
    cdef int index
    memset(found, 0, sizeof(found))
    for index in range(HLL_REGISTERS):
        found[registers[index] & HLL_REGISTER_MAX] += 1
    z = m * _tau((m - found[RANK_BITS + 1]) / m)
    for index in range(RANK_BITS, 0, -1):
        z += found[index]
        z *= 0.5
    z += m * _sigma(found[0] / m)
    return <uint64_t> llround(ALPHA * m * m / z)
