# Fields whose time has come go.
from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key, Keyspace
from node.engine.span cimport Span

# Tells replicas that this field is no more, before whatever is told next.
cdef int lapse_announce(Keyspace keyspace, int database, Span key, Span field) except -1
# After a change of the expiries of a large hash: it will be looked at when the first of its fields can have expired.
cdef int lapse_note(Keyspace keyspace, int database, Key *key, Entry *entry) except -1
