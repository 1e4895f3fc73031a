"""Replies that hashes and sets have in common: a piece of a walk, and elements at random.

The members of both stand in the same table, and their small forms differ by one item or two for each element. So HSCAN is
SSCAN with a value behind each name, and HRANDFIELD is SRANDMEMBER likewise.
"""

from libc.stdint cimport INT64_MIN, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.entry cimport Entry, entry_key, entry_run
from node.engine.members cimport members_walk
from node.engine.run cimport Item, item_text, run_next, run_skip
from node.engine.sample cimport sample_below, sample_one, sample_several
from node.engine.scan cimport scan_done, scan_reply, scan_wants
from node.engine.table cimport GATHER_MAX

cdef enum:
    REPEATED_BYTES_LEAST = 16  # of an element that is answered several times: what bounds a reply of our own making


cdef int reply_walked(Session s, Members *members, Scan *scan, bint with_values) except -1:
    cdef Entry *found[GATHER_MAX]
    cdef Entry **wanted
    cdef uint32_t count, which
    cdef Py_ssize_t index, total
    cdef Buf buf = Buf(NULL, 0, 0)
    try:
        while True:
            count = members_walk(members, &scan.cursor, found)
            for which in range(count):
                if scan_wants(scan, entry_key(found[which])) and not s.keyspace.is_expired(found[which]):
                    buf_append(&buf, &found[which], sizeof(Entry *))
            if scan_done(scan, count):
                break
        wanted = <Entry **> buf.data
        total = buf.used_bytes // <Py_ssize_t> sizeof(Entry *)
        scan_reply(s, scan, total * (2 if with_values else 1))
        for index in range(total):
            s.reply_bulk(entry_key(wanted[index]))
            if with_values:
                s.reply_bulk(entry_run(wanted[index]))
    finally:
        buf_free(&buf)
    return 0


cdef bint picks_wanted(Session s, int64_t *wanted) except -1:
    if not s.int64_at(2, wanted):
        return False
    if wanted[0] == INT64_MIN:
        s.reply_error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
        return False
    return True


cdef bint picks_fit(Session s, int64_t wanted) except -1:
    if wanted < 0 and -wanted > s.engine.limits.bulk_len_max // REPEATED_BYTES_LEAST:
        s.reply_error("ERR value is out of range, so large a reply would exceed proto-max-bulk-len")
        return False
    return True


cdef int _reply_member(Session s, const Entry *member, bint with_values) except -1:
    if not with_values:
        return s.reply_bulk(entry_key(member))
    if s.resp >= 3:
        s.reply_array(2)
    s.reply_bulk(entry_key(member))
    return s.reply_bulk(entry_run(member))


cdef int _reply_at(Session s, const uint8_t *at, const uint8_t *end, bint with_values) except -1:
    cdef uint8_t digits[24]
    cdef Item item
    if with_values and s.resp >= 3:
        s.reply_array(2)
    at = run_next(at, end, &item)
    s.reply_bulk(item_text(&item, digits))
    if not with_values:
        return 0
    run_next(at, end, &item)
    return s.reply_bulk(item_text(&item, digits))


cdef int reply_picked(Session s, Members *members, int64_t live, int64_t wanted, bint with_values) except -1:
    cdef Entry **chosen
    cdef int64_t index
    if wanted < 0:
        for index in range(-wanted):
            _reply_member(s, sample_one(s.keyspace, members), with_values)
        return 0
    chosen = sample_several(s.keyspace, members, live, wanted)
    try:
        for index in range(wanted):
            _reply_member(s, chosen[index], with_values)
    finally:
        free(chosen)
    return 0


cdef int reply_picked_of_run(Session s, Span run, int64_t live, int64_t wanted, bint paired, bint with_values) except -1:
    cdef const uint8_t **places = <const uint8_t **> malloc(<size_t> live * sizeof(const uint8_t *))
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef const uint8_t *swapped
    cdef int64_t index, other
    if places == NULL:
        raise MemoryError(f"no memory for the places of {live} elements")
    try:
        for index in range(live):
            places[index] = at
            at = run_skip(at)
            if paired:
                at = run_skip(at)
        if wanted < 0:
            for index in range(-wanted):
                _reply_at(s, places[sample_below(s.keyspace, live)], end, with_values)
            return 0
        for index in range(wanted):
            # All of them: in their order, as Redis.
            other = index if wanted == live else index + sample_below(s.keyspace, live - index)
            swapped = places[other]
            places[other] = places[index]
            places[index] = swapped
            _reply_at(s, swapped, end, with_values)
    finally:
        free(places)
    return 0
