"""Cluster mode: are a command's keys of one slot, and is that slot served here?

The order of the answers is Redis's (getNodeByQuery in its cluster.c), because clients see which comes first.
Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from libc.stdint cimport uint32_t

from node.engine.call cimport ROUTE_ASKING, ROUTE_READONLY, Call
from node.engine.engine cimport LEAVING, Engine
from node.engine.keyspace cimport Key
from node.engine.registry cimport FLAG_ASKING, FLAG_MOVABLEKEYS, FLAG_READONLY, FLAG_WRITE, Command
from node.engine.transaction cimport NO_SLOT, SEVERAL_SLOTS, Transaction


cdef bytes route_command(Call call, Command command, int modes):
    cdef int last
    cdef int index
    cdef int slot
    cdef list indices = None
    if command.flags & FLAG_MOVABLEKEYS and command.get_keys is not None:
        call.first_key_index = 0
        indices = list(command.get_keys(call.arguments()))
        if not indices:
            return None
        for index in indices:
            if not 1 <= index < call.argc:
                return None  # a malformed command: its handler says what is wrong
        call.first_key = call.keyspace.locate(call.argv[<int> indices[0]])
        call.first_key_index = indices[0]
    else:
        if command.first_key >= call.argc:
            call.first_key_index = 0
            return None
        if call.first_key_index != command.first_key:
            call.first_key = call.keyspace.locate(call.argv[command.first_key])
            call.first_key_index = command.first_key
        last = command.last_key if command.last_key >= 0 else call.argc + command.last_key
        if last > command.first_key:
            indices = list(range(command.first_key, min(last, call.argc - 1) + 1, command.key_step))
    slot = <int> call.first_key.slot
    if indices is not None:
        if call.engine.slot_owner[slot] < 0:  # before CROSSSLOT, as in Redis
            return b"CLUSTERDOWN Hash slot not served"
        for index in indices[1:]:
            if <int> call.keyspace.locate(call.argv[index]).slot != slot:
                return b"CROSSSLOT Keys in request don't hash to the same slot"
    return route_slot(call, slot, command.flags, modes, indices)


cdef bytes route_transaction(Call call, Transaction transaction, int modes):
    if transaction.slot == NO_SLOT:
        return None
    if transaction.slot == SEVERAL_SLOTS:
        return b"CROSSSLOT Keys in request don't hash to the same slot"
    return route_slot(call, transaction.slot, FLAG_WRITE, modes, [])


cdef bytes route_slot(Call call, int slot, uint32_t flags, int modes, list indices):
    cdef Engine engine = call.engine
    cdef int owner = engine.slot_owner[slot]
    cdef int missing = 0
    cdef bint reading = flags & FLAG_READONLY and not flags & FLAG_WRITE
    if owner < 0:
        return b"CLUSTERDOWN Hash slot not served"
    if not engine.serving and not (engine.reads_when_down and reading):
        return b"CLUSTERDOWN " + engine.not_serving_reason
    if engine.importing[slot] and (modes & ROUTE_ASKING or flags & FLAG_ASKING):
        if indices is not None and len(indices) > 1 and _missing_keys(call, indices):
            return b"TRYAGAIN Multiple keys request during rehashing of slot"
        return None
    if owner == engine.self_owner:
        if engine.is_primary:
            if engine.lease_until_ms and engine.monotonic_ms >= engine.lease_until_ms:
                return b"CLUSTERDOWN The primary's lease has ended: it hears no majority of the voters"
            if engine.migrating_to[slot] == LEAVING:
                return b"TRYAGAIN Slot %d is being given to another shard: the voters are asked" % slot
            if engine.migrating_to[slot] >= 0 and (indices is None or indices):
                if indices is None:
                    indices = [call.first_key_index]
                missing = _missing_keys(call, indices)
                if missing:
                    if missing < len(indices):
                        return b"TRYAGAIN Multiple keys request during rehashing of slot"
                    return b"ASK %d %b" % (slot, engine.owners[engine.migrating_to[slot]])
            return None
        if modes & ROUTE_READONLY and reading:
            return None
    return b"MOVED %d %b" % (slot, engine.owners[owner])


cdef int _missing_keys(Call call, list indices) except -1:
    cdef int missing = 0
    cdef int index
    cdef Key key
    for index in indices:
        key = call.keyspace.locate(call.argv[index])
        if call.keyspace.find(0, &key) == NULL:
            missing += 1
    return missing
