"""DUMP and RESTORE: one value as bytes that any Redis of the same age understands.

    type (1)  value, as in a snapshot  version (2, little endian)  crc64 (8, little endian)

The version is the oldest whose readers know the type, so that a value can go back to an older Redis as long as it is
nothing new.

Source: https://redis.io/docs/latest/commands/restore/
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.crc64 cimport crc64_update
from node.engine.entry cimport Entry
from node.engine.heat cimport heat_set_frequency, heat_set_idle
from node.engine.keyspace cimport EXPIRY_NONE, Key
from node.engine.rdb_values cimport PIECE_NONE, ValueReader
from node.engine.rdb_write cimport value_kind, write_value
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is, span_of

from node.engine.rdb_values import SnapshotError

cdef enum:
    VERSION_OLDEST = 9
    VERSION_NEWEST = 12
    FOOTER_BYTES = 10

# Types that readers of version 9 do not know.
cdef dict VERSION_OF_KIND = {19: 10, 24: 12}


cdef class _Payload(ValueReader):
    # Reads the whole value; 0: damaged, or something we cannot load.
    cdef bint read(self, Span value) except -1:
        self._at = value.at + 1
        self._end = value.at + value.len_bytes
        self.offset = 1
        try:
            self.begin_value(value.at[0])
            while self._piece != PIECE_NONE:
                self._cursor = self._at
                if not self.value_piece():
                    return False
                self.offset += <uint64_t> (self._cursor - self._at)
                self._at = self._cursor
        except SnapshotError:
            return False
        return self._at == self._end


cdef int _dump(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    cdef Buf out
    cdef uint8_t kind
    cdef uint16_t version
    cdef uint64_t crc
    if entry == NULL:
        return s.reply_null()
    out.data = NULL
    out.used_bytes = 0
    out.cap_bytes = 0
    try:
        kind = <uint8_t> value_kind(entry)
        version = VERSION_OF_KIND.get(kind, VERSION_OLDEST)
        buf_append(&out, &kind, 1)
        write_value(&out, entry)
        buf_append(&out, &version, 2)
        crc = crc64_update(0, out.data, out.used_bytes)
        buf_append(&out, &crc, 8)
        return s.reply_bulk(span_of(out.data, out.used_bytes))
    finally:
        buf_free(&out)


cdef bint _is_whole(Span payload) noexcept:
    cdef uint16_t version
    cdef uint64_t crc
    if payload.len_bytes < FOOTER_BYTES:
        return False
    memcpy(&version, payload.at + payload.len_bytes - FOOTER_BYTES, 2)
    memcpy(&crc, payload.at + payload.len_bytes - 8, 8)
    return version <= VERSION_NEWEST and crc == crc64_update(0, payload.at, payload.len_bytes - 8)


cdef int _restore(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef _Payload payload
    cdef Span value = s.argv[3]
    cdef bint replace = False, absolute = False
    cdef int64_t idle_s = -1, frequency = -1, ttl_ms = 0
    cdef int64_t expire_ms = EXPIRY_NONE
    cdef int index = 4
    while index < s.argc:
        if span_is(s.argv[index], "REPLACE"):
            replace = True
        elif span_is(s.argv[index], "ABSTTL"):
            absolute = True
        elif span_is(s.argv[index], "IDLETIME") and index + 1 < s.argc and frequency == -1:
            index += 1
            if not s.int64_at(index, &idle_s):
                return 0
            if idle_s < 0:
                return s.reply_error("ERR Invalid IDLETIME value, must be >= 0")
        elif span_is(s.argv[index], "FREQ") and index + 1 < s.argc and idle_s == -1:
            index += 1
            if not s.int64_at(index, &frequency):
                return 0
            if frequency < 0 or frequency > 255:
                return s.reply_error("ERR Invalid FREQ value, must be >= 0 and <= 255")
        else:
            return s.reply_syntax_error()
        index += 1
    entry = s.keyspace.find(s.database, &key)
    if entry != NULL and not replace:
        return s.reply_error("BUSYKEY Target key name already exists.")
    if not s.int64_at(2, &ttl_ms):
        return 0
    if ttl_ms < 0:
        return s.reply_error("ERR Invalid TTL value, must be >= 0")
    if not _is_whole(value):
        return s.reply_error("ERR DUMP payload version or checksum are wrong")
    payload = _Payload(s.keyspace)
    if value.len_bytes <= FOOTER_BYTES or not payload.read(span_of(value.at, value.len_bytes - FOOTER_BYTES)):
        return s.reply_error("ERR Bad data format")
    if ttl_ms > 0:
        expire_ms = ttl_ms
        if not absolute:
            expire_ms = ttl_ms + s.keyspace.now_ms if ttl_ms <= INT64_MAX - s.keyspace.now_ms else INT64_MAX
        if expire_ms <= s.keyspace.now_ms and not s.keyspace.follower:
            if entry != NULL:
                s.keyspace.remove(s.database, &key)
                s.changed(1)
                s.effect(2)
                s.effect_arg_word("DEL")
                s.effect_arg(key.name)
            return s.reply_ok()
    if not payload.put_value(s.database, &key, expire_ms):
        return s.reply_error("ERR Bad data format")
    entry = s.keyspace.find(s.database, &key)
    if entry != NULL and idle_s >= 0:
        heat_set_idle(&s.keyspace.heat, entry, <uint32_t> min((idle_s * 1000 + 512) // 1024 if idle_s < 17000000 else 0xFFFFFF, 0xFFFFFF))
    elif entry != NULL and frequency >= 0:
        heat_set_frequency(&s.keyspace.heat, entry, <uint32_t> frequency)
    s.changed(1)
    s.effect(6 if expire_ms != EXPIRY_NONE else 5)
    s.effect_arg_word("RESTORE")
    s.effect_arg(key.name)
    s.effect_arg_int64(0 if expire_ms == EXPIRY_NONE else expire_ms)
    s.effect_arg(value)
    s.effect_arg_word("REPLACE")
    if expire_ms != EXPIRY_NONE:
        s.effect_arg_word("ABSTTL")
    return s.reply_ok()


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"dump", <void *> _dump)
    registry.add_compiled(b"restore", <void *> _restore)
    registry.add_compiled(b"restore-asking", <void *> _restore)
