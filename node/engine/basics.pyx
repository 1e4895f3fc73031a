"""The commands about the conversation itself that must be as fast as it gets, and transactions."""

from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport int64_t

from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport span_bytes

from node.engine.reply import NO_REPLY, CommandError


cdef int _ping(Session s) except -1:
    if s.argc > 2:
        return s.reply_error("ERR wrong number of arguments for 'ping' command")
    if s.argc == 2:
        return s.reply_bulk(s.argv[1])
    return s.reply_simple("PONG")


cdef int _echo(Session s) except -1:
    return s.reply_bulk(s.argv[1])


cdef int _select(Session s) except -1:
    cdef int64_t database = 0
    if not s.int64_at(1, &database):
        return 0
    if database > INT_MAX or database < INT_MIN:
        return s.reply_error("ERR value is out of range, value must between -2147483648 and 2147483647")
    if s.engine.cluster and database != 0:
        return s.reply_error("ERR SELECT is not allowed in cluster mode")
    if database < 0 or database >= s.keyspace.database_count:
        return s.reply_error("ERR DB index is out of range")
    s.database = <int> database
    return s.reply_ok()


cdef int _guarded(Session s, call) except -1:
    try:
        value = call()
    except CommandError as error:
        value = error.failure
    if value is NO_REPLY:
        return 0
    if value is None:
        return s.reply_ok()
    return s.reply_value(value)


cdef int _multi(Session s) except -1:
    return _guarded(s, s.begin_transaction)


cdef int _exec(Session s) except -1:
    return _guarded(s, s.execute_transaction)


cdef int _discard(Session s) except -1:
    return _guarded(s, s.discard_transaction)


cdef int _watch(Session s) except -1:
    cdef int index
    keys = [span_bytes(s.argv[index]) for index in range(1, s.argc)]
    return _guarded(s, lambda: s.watch(keys))


cdef int _unwatch(Session s) except -1:
    s.unwatch()
    return s.reply_ok()


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"ping", <void *> _ping)
    registry.add_compiled(b"echo", <void *> _echo)
    registry.add_compiled(b"select", <void *> _select)
    registry.add_compiled(b"multi", <void *> _multi)
    registry.add_compiled(b"exec", <void *> _exec)
    registry.add_compiled(b"discard", <void *> _discard)
    registry.add_compiled(b"watch", <void *> _watch)
    registry.add_compiled(b"unwatch", <void *> _unwatch)
