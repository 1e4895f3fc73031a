"""What a command answers, turned into bytes.

The writers are methods of the session's base class rather than functions over a buffer: which bytes say
"nothing" or "a map" depends on what this client said in HELLO, and an error is counted where it is written.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport strlen

from node.engine.buf cimport buf_append, buf_free
from node.engine.entry cimport Entry, entry_string
from node.engine.resp cimport resp_bulk, resp_double, resp_line, resp_prefixed
from node.engine.span cimport Span, span_of

from node.engine.reply import NULL_ARRAY, CommandError, Failure, Push, SetReply, Status, Verbatim


cdef class Replies:
    def __dealloc__(self):
        buf_free(&self.out)

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
            self.out.used_bytes = mark
            if self.reply_mode == REPLIES_SKIP_NEXT:
                self.reply_mode = REPLIES_SKIP
            elif self.reply_mode == REPLIES_SKIP:
                self.reply_mode = REPLIES_ON
        return 0

    @property
    def output_pending_bytes(self):
        return self.out.used_bytes - self.out_sent

    @property
    def output_capacity_bytes(self):
        return self.out.cap_bytes

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
        return resp_bulk(&self.out, entry_string(entry, scratch))

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