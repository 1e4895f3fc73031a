"""What a command answers, turned into bytes.

The writers are methods of the session's base class rather than functions over a buffer: which bytes say
"nothing" or "a map" depends on what this client said in HELLO, and an error is counted where it is written.

A large value is not copied. The reply has its head and its end in `out`, and a *pin* says what belongs in between:

    out   $104857600 CR LF | CR LF +OK CR LF        a position in `out` is where it was without pins
                           ^
    pins                   at 12: a value (value.pyx), from which byte, how many

Pinned bytes count as unread output like written ones. A pin lies inside of one reply, so whatever keeps back or
forgets replies by their places in `out` need only look at pins where it forgets.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memmove, strlen

from node.engine.buf cimport buf_append, buf_drop_front, buf_free, buf_reserve
from node.engine.entry cimport ENCODING_LARGE, Entry, entry_encoding, entry_string, entry_value
from node.engine.resp cimport resp_bulk, resp_double, resp_line, resp_prefixed
from node.engine.span cimport Span, span_of
from node.engine.value cimport VALUE_BYTES_MIN, value_pin, value_span, value_unpin

from node.engine.reply import NULL_ARRAY, CommandError, Failure, Push, SetReply, Status, Verbatim

cdef enum:
    PINS_BYTES_KEPT = 4096  # of those that were sent, while others wait behind them


cdef class Replies:
    def __del__(self):  # while the keyspace is there still, which __dealloc__ could not say
        self.drop_pins()

    def __dealloc__(self):
        buf_free(&self.out)
        buf_free(&self.pins)

    def set_protocol(self, int resp):
        """HELLO 2 or HELLO 3."""
        if resp not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
        self.resp = resp

    def set_reply_mode(self, str mode):
        """CLIENT REPLY: "on", "off" or "skip"."""
        if mode == "on":
            self.reply_mode = REPLIES_ON
        elif mode == "off":
            self.reply_mode = REPLIES_OFF
        elif self.reply_mode != REPLIES_OFF:
            self.reply_mode = REPLIES_SKIP_NEXT

    cdef int mute(self, Py_ssize_t mark) except -1:
        if self.reply_mode != REPLIES_ON:
            self.rewind(mark)
            if self.reply_mode == REPLIES_SKIP_NEXT:
                self.reply_mode = REPLIES_SKIP
            elif self.reply_mode == REPLIES_SKIP:
                self.reply_mode = REPLIES_ON
        return 0

    @property
    def output_pending_bytes(self):
        return self.out.used_bytes - self.out_sent + self.pinned_bytes

    @property
    def output_capacity_bytes(self):
        return self.out.cap_bytes

    # --- pins ----------------------------------------------------------------------------------------------

    cdef int rewind(self, Py_ssize_t mark) except -1:
        cdef Pin *last
        self.out.used_bytes = mark
        while self.pins.used_bytes > self.pin_at:
            last = <Pin *> (self.pins.data + self.pins.used_bytes) - 1
            if last.at_bytes <= mark:
                break
            self.pinned_bytes -= last.len_bytes
            value_unpin(&self.engine.keyspace.store.values, last.value)
            self.pins.used_bytes -= sizeof(Pin)
        return 0

    cdef int drop_pins(self) noexcept:
        while self.pin_at < self.pins.used_bytes:
            value_unpin(&self.engine.keyspace.store.values, (<Pin *> (self.pins.data + self.pin_at)).value)
            self.pin_at += sizeof(Pin)
        buf_free(&self.pins)
        self.pin_at = 0
        self.pin_sent = 0
        self.pinned_bytes = 0
        return 0

    cdef Py_ssize_t move_pins(self, Py_ssize_t index_bytes, Py_ssize_t until_bytes, Py_ssize_t by_bytes) noexcept:
        cdef Pin *pin
        while index_bytes < self.pins.used_bytes:
            pin = <Pin *> (self.pins.data + index_bytes)
            if pin.at_bytes >= until_bytes:
                break
            pin.at_bytes += by_bytes
            index_bytes += sizeof(Pin)
        return index_bytes

    cdef int remove_pins(self, Py_ssize_t index_bytes, Py_ssize_t until_bytes) noexcept:
        cdef Py_ssize_t after = index_bytes
        cdef Pin *pin
        while after < self.pins.used_bytes:
            pin = <Pin *> (self.pins.data + after)
            if pin.at_bytes >= until_bytes:
                break
            self.pinned_bytes -= pin.len_bytes
            value_unpin(&self.engine.keyspace.store.values, pin.value)
            after += sizeof(Pin)
        if after > index_bytes:
            memmove(self.pins.data + index_bytes, self.pins.data + after, <size_t> (self.pins.used_bytes - after))
            self.pins.used_bytes -= after - index_bytes
        return 0

    cdef Py_ssize_t pinned_before(self, Py_ssize_t at_bytes) noexcept:
        cdef Py_ssize_t total = -self.pin_sent
        cdef Py_ssize_t at = self.pin_at
        cdef Pin *pin
        if at_bytes == self.out.used_bytes:
            return self.pinned_bytes
        while at < self.pins.used_bytes:
            pin = <Pin *> (self.pins.data + at)
            if pin.at_bytes >= at_bytes:
                break
            total += pin.len_bytes
            at += sizeof(Pin)
        return 0 if total < 0 else total

    cdef int gather(self, Py_ssize_t limit_bytes, Py_ssize_t budget_bytes, Span *into, int max_count) noexcept:
        cdef Py_ssize_t from_byte = self.out_sent
        cdef Py_ssize_t skipped = self.pin_sent
        cdef Py_ssize_t at = self.pin_at
        cdef Py_ssize_t until
        cdef Pin *pin
        cdef int count = 0
        while count < max_count and budget_bytes > 0:
            pin = <Pin *> (self.pins.data + at) if at < self.pins.used_bytes else NULL
            until = limit_bytes if pin == NULL or pin.at_bytes > limit_bytes else pin.at_bytes
            if from_byte < until:
                into[count] = span_of(self.out.data + from_byte, min(until - from_byte, budget_bytes))
                from_byte = until
            elif pin == NULL or pin.at_bytes >= limit_bytes:
                break
            else:
                into[count] = span_of(pin.from_byte + skipped, min(pin.len_bytes - skipped, budget_bytes))
                skipped = 0
                at += sizeof(Pin)
            budget_bytes -= into[count].len_bytes
            count += 1
        return count

    cdef int advance(self, Py_ssize_t sent_bytes) noexcept:
        cdef Pin *pin
        cdef Py_ssize_t taken
        while sent_bytes > 0 and self.pin_at < self.pins.used_bytes:
            pin = <Pin *> (self.pins.data + self.pin_at)
            if self.out_sent < pin.at_bytes:
                taken = min(pin.at_bytes - self.out_sent, sent_bytes)
                self.out_sent += taken
            else:
                taken = min(pin.len_bytes - self.pin_sent, sent_bytes)
                self.pin_sent += taken
                self.pinned_bytes -= taken
                if self.pin_sent == pin.len_bytes:
                    value_unpin(&self.engine.keyspace.store.values, pin.value)
                    self.pin_sent = 0
                    self.pin_at += sizeof(Pin)
            sent_bytes -= taken
        self.out_sent += sent_bytes
        if self.pin_at > 0 and self.pin_at == self.pins.used_bytes:
            buf_free(&self.pins)
            self.pin_at = 0
        return 0

    # --- writing -------------------------------------------------------------------------------------------

    cdef int reply_ok(self) except -1:
        return buf_append(&self.out, b"+OK\r\n", 5)

    cdef int reply_simple(self, const char *text) except -1:
        return resp_line(&self.out, 43, span_of(text, <Py_ssize_t> strlen(text)))

    cdef int reply_error(self, const char *text) except -1:
        return self.reply_error_bytes(text)

    cdef int reply_error_bytes(self, bytes text) except -1:
        self.engine.count_error(text.split(b" ", 1)[0])
        if self.command is not None:
            self.command.failed += 1
        return resp_line(&self.out, 45, span_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)))

    cdef int reply_int64(self, int64_t value) except -1:
        return resp_prefixed(&self.out, 58, value)

    cdef int reply_bulk(self, Span value) except -1:
        return resp_bulk(&self.out, value)

    cdef int reply_null(self) except -1:
        if self.resp >= 3:
            return buf_append(&self.out, b"_\r\n", 3)
        return buf_append(&self.out, b"$-1\r\n", 5)

    cdef int reply_null_array(self) except -1:
        if self.resp >= 3:
            return buf_append(&self.out, b"_\r\n", 3)
        return buf_append(&self.out, b"*-1\r\n", 5)

    cdef int reply_array(self, int64_t count) except -1:
        return resp_prefixed(&self.out, 42, count)

    cdef int reply_map(self, int64_t pair_count) except -1:
        if self.resp >= 3:
            return resp_prefixed(&self.out, 37, pair_count)
        return resp_prefixed(&self.out, 42, pair_count * 2)

    cdef int reply_set(self, int64_t count) except -1:
        return resp_prefixed(&self.out, 126 if self.resp >= 3 else 42, count)

    cdef int reply_double(self, double value) except -1:
        return resp_double(&self.out, self.resp, value)

    cdef int reply_bool(self, bint value) except -1:
        if self.resp >= 3:
            return buf_append(&self.out, b"#t\r\n" if value else b"#f\r\n", 4)
        return resp_prefixed(&self.out, 58, 1 if value else 0)

    cdef int reply_entry_string(self, Entry *entry) except -1:
        cdef uint8_t scratch[24]
        if entry_encoding(entry) == ENCODING_LARGE:
            return self.reply_pinned(entry_value(entry), value_span(entry_value(entry)))
        return resp_bulk(&self.out, entry_string(entry, scratch))

    cdef int reply_entry_part(self, Entry *entry, Span part) except -1:
        if entry_encoding(entry) == ENCODING_LARGE:
            return self.reply_pinned(entry_value(entry), part)
        return resp_bulk(&self.out, part)

    cdef int reply_pinned(self, Value *value, Span part) except -1:
        cdef Pin pin
        if part.len_bytes < VALUE_BYTES_MIN:
            return resp_bulk(&self.out, part)
        if self.pin_at >= PINS_BYTES_KEPT and self.pin_at * 2 >= self.pins.used_bytes:
            buf_drop_front(&self.pins, self.pin_at)
            self.pin_at = 0
        buf_reserve(&self.pins, sizeof(Pin))
        resp_prefixed(&self.out, 36, part.len_bytes)
        pin.at_bytes = self.out.used_bytes
        pin.value = value
        pin.from_byte = part.at
        pin.len_bytes = part.len_bytes
        buf_append(&self.out, b"\r\n", 2)
        buf_append(&self.pins, &pin, sizeof(Pin))
        value_pin(value)
        self.pinned_bytes += part.len_bytes
        return 0

    cdef int reply_wrong_type(self) except -1:
        return self.reply_error("WRONGTYPE Operation against a key holding the wrong kind of value")

    cdef int reply_syntax_error(self) except -1:
        return self.reply_error("ERR syntax error")

    cdef int reply_not_integer(self) except -1:
        return self.reply_error("ERR value is not an integer or out of range")

    cdef int reply_value(self, object value) except -1:
        cdef bytes data
        if value is None:
            return self.reply_null()
        if value is True or value is False:
            return self.reply_bool(value)
        if isinstance(value, bytes):
            data = value
            return resp_bulk(&self.out, span_of(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))
        if isinstance(value, int):
            return resp_prefixed(&self.out, 58, value)
        if isinstance(value, Status):
            data = value.text
            return resp_line(&self.out, 43, span_of(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))
        if isinstance(value, Failure):
            return self.reply_error_bytes(value.text)
        if isinstance(value, Push):
            self._reply_items(62 if self.resp >= 3 else 42, value.items)
            return 0
        if isinstance(value, (list, tuple)):
            self._reply_items(42, value)
            return 0
        if isinstance(value, dict):
            self.reply_map(len(value))
            for key, item in value.items():
                self.reply_value(key)
                self.reply_value(item)
            return 0
        if isinstance(value, (set, frozenset)):
            self._reply_items(126 if self.resp >= 3 else 42, sorted(value))
            return 0
        if isinstance(value, SetReply):
            self._reply_items(126 if self.resp >= 3 else 42, value.items)
            return 0
        if isinstance(value, float):
            return resp_double(&self.out, self.resp, value)
        if value is NULL_ARRAY:
            return self.reply_null_array()
        if isinstance(value, Verbatim):
            self._reply_verbatim(value)
            return 0
        raise TypeError(f"a handler replied with {type(value).__name__}, which is no reply")

    def _reply_items(self, uint8_t prefix, items):
        resp_prefixed(&self.out, prefix, len(items))
        for item in items:
            self.reply_value(item)

    def _reply_verbatim(self, value):
        cdef bytes data = value.data
        if self.resp >= 3:
            data = value.format + b":" + data
            resp_prefixed(&self.out, 61, len(data))
            buf_append(&self.out, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            buf_append(&self.out, b"\r\n", 2)
        else:
            resp_bulk(&self.out, span_of(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))