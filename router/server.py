"""The composition root of a router: an engine without slots, a pump, and a seat in gossip.

    options -> directory lock, gossip -> engine, commands -> sockets bound -> pump -> ready

A router is a member like any other, of kind `router`: it hears every change within the time gossip needs, it
votes (it is a good witness, because it holds no data and dies with no shard), and it serves clients with the
very engine and pump of a node. It owns no slot, so the engine redirects each keyed command, in C, by the table
of owners that `_follow_topology` keeps true.
"""

import logging

log = logging.getLogger("grapevine.router")

METER_INTERVAL_S = 0.1
