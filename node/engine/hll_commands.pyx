"""The commands on HyperLogLog sketches, which are strings to everybody else."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from node.engine.entry cimport TYPE_STRING, Entry, entry_mutable_bytes, entry_string, entry_type
from node.engine.hll cimport (
    HLL_CHANGED,
    HLL_DAMAGED,
    HLL_DENSE_BYTES,
    HLL_HEADER_BYTES,
    HLL_REGISTERS,
    Sketch,
    hll_cache,
    hll_cached,
    hll_estimate,
    hll_forget,
    hll_is_dense,
    hll_load,
    hll_looks_right,
    hll_make_dense,
    hll_merge,
    hll_new,
    hll_pattern,
    hll_raise,
)
from node.engine.keyspace cimport Key
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_is, span_of


cdef int _damaged(Session s) except -1:
    return s.reply_error("INVALIDOBJ Corrupted HLL object detected")


# 1 for a sketch or a missing key; otherwise the error is written.
cdef bint _is_sketch(Session s, Entry *entry) except -1:
    cdef uint8_t scratch[24]
    if entry == NULL:
        return True
    if entry_type(entry) != TYPE_STRING:
        s.reply_wrong_type()
        return False
    if not hll_looks_right(entry_string(entry, scratch)):
        s.reply_error("WRONGTYPE Key is not a valid HyperLogLog string value.")
        return False
    return True


cdef int _store(Session s, Key *key, Entry *entry, const Sketch *sketch) except -1:
    if entry == NULL:
        entry = s.keyspace.put_blank(s.database, key, sketch.len_bytes)
    else:
        entry = s.keyspace.resize_string(s.database, key, entry, sketch.len_bytes)
    memcpy(entry_mutable_bytes(entry), sketch.bytes, <size_t> sketch.len_bytes)
    return 0


# The key's sketch, or a new one. 0: too long to be one.
cdef bint _begin(Sketch *sketch, Entry *entry) noexcept:
    cdef uint8_t scratch[24]
    if entry == NULL:
        hll_new(sketch)
        return True
    return hll_load(sketch, entry_string(entry, scratch))


cdef int _pfadd(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef Sketch sketch
    cdef int index, register, value, done
    cdef int64_t updated = entry == NULL
    if not _is_sketch(s, entry):
        return 0
    if not _begin(&sketch, entry):
        return _damaged(s)
    for index in range(2, s.argc):
        value = hll_pattern(s.argv[index], &register)
        done = hll_raise(&sketch, register, value, s.keyspace.limits.sketch_sparse_bytes)
        if done == HLL_DAMAGED:
            return _damaged(s)
        updated += done == HLL_CHANGED
    if updated > 0:
        hll_forget(sketch.bytes)
        _store(s, &key, entry, &sketch)
        s.changed(updated)
    return s.reply_int64(updated > 0)


cdef int _pfcount(Session s) except -1:
    cdef uint8_t registers[HLL_REGISTERS]
    cdef uint8_t scratch[24]
    cdef Key key
    cdef Entry *entry
    cdef Span value
    cdef uint64_t cardinality
    cdef bint valid = False
    cdef int index
    memset(registers, 0, HLL_REGISTERS)
    for index in range(1, s.argc):
        key = s.key_at(index)
        entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
        if not _is_sketch(s, entry):
            return 0
        if entry == NULL:
            continue
        value = entry_string(entry, scratch)
        if s.argc == 2:
            cardinality = hll_cached(value, &valid)
            if valid:
                return s.reply_int64(<int64_t> cardinality)
        if not hll_merge(registers, value):
            return _damaged(s)
    if s.argc > 2 or entry == NULL:
        return s.reply_int64(<int64_t> hll_estimate(registers) if s.argc > 2 else 0)
    cardinality = hll_estimate(registers)
    if s.keyspace.follower and not s.keyspace.applying:
        return s.reply_int64(<int64_t> cardinality)
    # What was computed is kept in the value: a write, which replicas are told of.
    entry = s.keyspace.resize_string(s.database, &key, entry, value.len_bytes)
    hll_cache(entry_mutable_bytes(entry), cardinality)
    s.changed(1)
    return s.reply_int64(<int64_t> cardinality)


cdef int _pfmerge(Session s) except -1:
    cdef uint8_t registers[HLL_REGISTERS]
    cdef uint8_t scratch[24]
    cdef Key key
    cdef Entry *entry
    cdef Sketch sketch
    cdef Span value
    cdef bint dense = False
    cdef int index
    memset(registers, 0, HLL_REGISTERS)
    for index in range(1, s.argc):
        key = s.key_at(index)
        # The target's use is the write.
        if index == 1 or s.no_touch:
            entry = s.keyspace.look(s.database, &key)
        else:
            entry = s.keyspace.read(s.database, &key)
        if not _is_sketch(s, entry):
            return 0
        if entry == NULL:
            continue
        value = entry_string(entry, scratch)
        dense = dense or hll_is_dense(value)
        if not hll_merge(registers, value):
            return _damaged(s)
    key = s.key_at(1)
    entry = s.keyspace.find(s.database, &key)
    if not _begin(&sketch, entry) or (dense and not hll_make_dense(&sketch)):
        return _damaged(s)
    for index in range(HLL_REGISTERS):
        if registers[index] > 0 and hll_raise(
            &sketch, index, registers[index], s.keyspace.limits.sketch_sparse_bytes
        ) == HLL_DAMAGED:
            return _damaged(s)
    hll_forget(sketch.bytes)
    _store(s, &key, entry, &sketch)
    s.changed(1)
    return s.reply_ok()


# --- for whoever looks inside -------------------------------------------------------------------------------

cdef int _reply_runs(Session s, Span value) except -1:
    cdef const uint8_t *at = value.at + HLL_HEADER_BYTES
    cdef const uint8_t *end = value.at + value.len_bytes
    cdef bytes text
    words = []
    while at < end:
        if at[0] & 0x80:
            words.append(b"v:%d,%d" % (((at[0] >> 2) & 31) + 1, (at[0] & 3) + 1))
        elif at[0] & 0x40:
            if end - at < 2:
                break
            words.append(b"Z:%d" % ((((at[0] & 0x3F) << 8) | at[1]) + 1))
            at += 1
        else:
            words.append(b"z:%d" % (at[0] + 1))
        at += 1
    text = b" ".join(words)
    return s.reply_bulk(span_of(<const char *> text, len(text)))


cdef int _pfdebug(Session s) except -1:
    cdef uint8_t registers[HLL_REGISTERS]
    cdef uint8_t scratch[24]
    cdef Key key = s.key_at(2)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef Sketch sketch
    cdef Span value
    cdef int index
    cdef bint was_dense
    if entry == NULL:
        return s.reply_error("ERR The specified key does not exist")
    if not _is_sketch(s, entry):
        return 0
    value = entry_string(entry, scratch)
    was_dense = hll_is_dense(value)
    if span_is(s.argv[1], "ENCODING"):
        return s.reply_simple("dense" if was_dense else "sparse")
    if span_is(s.argv[1], "DECODE"):
        if was_dense:
            return s.reply_error("ERR HLL encoding is not sparse")
        return _reply_runs(s, value)
    if not span_is(s.argv[1], "GETREG") and not span_is(s.argv[1], "TODENSE"):
        return s.reply_error_bytes(b"ERR Unknown PFDEBUG subcommand '" + span_bytes(s.argv[1]) + b"'")
    if not was_dense:
        if not hll_load(&sketch, value) or not hll_make_dense(&sketch):
            return _damaged(s)
        _store(s, &key, entry, &sketch)
        s.changed_aside(1)
        entry = s.keyspace.find(s.database, &key)
    if span_is(s.argv[1], "TODENSE"):
        return s.reply_int64(not was_dense)
    memset(registers, 0, HLL_REGISTERS)
    hll_merge(registers, entry_string(entry, scratch))
    s.reply_array(HLL_REGISTERS)
    for index in range(HLL_REGISTERS):
        s.reply_int64(registers[index])
    return 0


cdef int _pfselftest(Session s) except -1:
    """Counts a hundred thousand elements: the estimate must stay within five standard errors all the way."""
    cdef Sketch sketch
    cdef uint8_t registers[HLL_REGISTERS]
    cdef int64_t element
    cdef int register, value
    cdef double error
    hll_new(&sketch)
    for element in range(1, 100001):
        value = hll_pattern(span_of(&element, 8), &register)
        hll_raise(&sketch, register, value, s.keyspace.limits.sketch_sparse_bytes)
        if element % 10000 == 0:
            memset(registers, 0, HLL_REGISTERS)
            hll_merge(registers, span_of(sketch.bytes, sketch.len_bytes))
            error = <double> hll_estimate(registers) / element - 1
            if error > 0.0407 or error < -0.0407:
                return s.reply_error("TESTFAILED the estimate is more than 4.07 % off")
    if sketch.len_bytes != HLL_DENSE_BYTES:
        return s.reply_error("TESTFAILED 100,000 elements left the sketch sparse")
    return s.reply_ok()


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"pfadd", <void *> _pfadd)
    registry.add_compiled(b"pfcount", <void *> _pfcount)
    registry.add_compiled(b"pfmerge", <void *> _pfmerge)
    registry.add_compiled(b"pfdebug", <void *> _pfdebug)
    registry.add_compiled(b"pfselftest", <void *> _pfselftest)
