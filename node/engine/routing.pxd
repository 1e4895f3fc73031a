# Cluster mode: are a command's keys of one slot, and is that slot served here?
from libc.stdint cimport uint32_t

from node.engine.call cimport Call
from node.engine.registry cimport Command
from node.engine.transaction cimport Transaction

# What the client is told instead of an answer (an error's text without '-'); None: the command may run here.
# Leaves the first key located in call.first_key (call.first_key_index 0: the command has no keys).
cdef bytes route_command(Call call, Command command, int modes)
# The same for a slot. `indices` of keys in argv: None when call.first_key is the only one, empty when what
# keys it has does not matter (EXEC).
cdef bytes route_slot(Call call, int slot, uint32_t flags, int modes, list indices)
# The same for an EXEC of all that is queued.
cdef bytes route_transaction(Call call, Transaction transaction, int modes)
