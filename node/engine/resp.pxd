# RESP2 and RESP3 writers over a Buf, and the request parser.
# Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
from libc.stdint cimport int64_t, uint8_t

from node.engine.buf cimport Buf, buf_grow, buf_append
from node.engine.span cimport Span
from node.engine.value cimport Value, Values


# --- writing ------------------------------------------------------------------------------------------
cdef int resp_prefixed(Buf *out, uint8_t prefix, int64_t value) except -1  # prefix, decimal, CRLF
cdef int resp_bulk(Buf *out, Span value) except -1
cdef int resp_line(Buf *out, uint8_t prefix, Span text) except -1  # CR and LF in text become blanks
cdef int resp_double(Buf *out, int resp, double value) except -1


# --- reading ------------------------------------------------------------------------------------------
cdef enum:
    PARSE_MORE = 0  # the command is not complete yet
    PARSE_DONE = 1  # argv and argc hold a command; at_bytes is its length
    PARSE_BROKEN = 2  # the stream is lost: `error` says why, the connection must end
    PARSE_EMPTY = 3  # an empty line or `*0`: nothing to do; at_bytes is its length

# An argument that was received into a block of its own: the input has its head and its CRLF, and nothing in between.
cdef struct Arrived:
    Py_ssize_t index  # among the arguments of its command
    Value *value  # the pin is the parser's

# Progress through one command. Offsets count from the command's first byte, so the bytes may move
# (from the shared read buffer into the session's own) between two calls.
cdef struct Parser:
    Span *argv  # owned; while parsing, `at` holds an offset instead of an address
    Py_ssize_t argv_cap
    Py_ssize_t argv_base  # where this command's arguments begin in argv; those before belong to others
    Py_ssize_t argc  # arguments of this command complete so far
    Py_ssize_t expected  # arguments announced by '*'; -1 before the header is read
    Py_ssize_t bulk_len  # announced by '$'; -1 when the next header is not read
    Py_ssize_t at_bytes  # parsed so far
    Py_ssize_t argv_bytes  # sum of argument lengths so far
    Buf arrived  # Arrived items of the command at the front of the input, in order
    Py_ssize_t arrived_next  # index of the next of them that parsing comes to; -1: none
    Value *arriving  # the argument that parsing waits for is being received into it; NULL: into the input
    Buf unquoted  # arguments of an inline command with quotes removed
    const char *error
    uint8_t error_byte  # the offending byte, for texts that show it; 0 none

cdef struct ParserLimits:
    Py_ssize_t bulk_len_max  # proto-max-bulk-len
    Py_ssize_t argc_max
    Py_ssize_t inline_max_bytes

cdef void parser_reset(Parser *parser) noexcept  # ready for the next command; argv_base stays
cdef void parser_restart(Parser *parser) noexcept  # forgets everything, other commands' arguments too
# The arguments of an unfinished command move to the front of argv: those before are done with.
cdef void parser_rebase(Parser *parser) noexcept
cdef void parser_free(Parser *parser) noexcept
# `arriving` is complete: parsing can go on.
cdef int parser_arrived(Parser *parser) except -1
# The command with these arguments has run, or never will.
cdef void parser_drop_arrived(Parser *parser, Values *values) noexcept
# On PARSE_DONE argv[argv_base : argv_base + argc] points into `input`, or into parser.unquoted for an inline
# command: valid while that stays unchanged.
cdef int parser_step(Parser *parser, Span input, const ParserLimits *limits) except -1
# How many more bytes the current argument is known to want; 0 unknown.
cdef Py_ssize_t parser_wanted_bytes(const Parser *parser, Py_ssize_t have_bytes) noexcept
