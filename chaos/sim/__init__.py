"""The deterministic simulator: whole clusters of the real parts in one process, under virtual time.

    events      one heap of (time, sequence), one source of dice for each component by name, the trace
    clock       each machine's own clocks: ahead or behind, too fast or too slow
    network     datagrams: delay, loss, duplication, reordering, cuts in one direction, partitions
    streams     connections: bytes in order, with delay, until somebody closes or breaks them
    process     one member: the cores of gossip, and a shell around them that does what the trio shell does
    node        its data side: the engine, replication and the cluster glue, driven without trio
    tasks       the few coroutines of the node that wait for a decision
    clients     writers and readers that follow MOVED, try again and write down what they saw
    cluster     machines with disks, crashes, restarts, pauses; whom the checkers hear from
    scenario    TOML files in chaos/scenarios: what is drawn before a run
    run         faults, then healing, then a bound in which everything has to work again
    histories   what clients saw, and whether it was allowed
    checkers/   what must never be; each with a bug that can be planted and that it must find

Unlike the rest of chaos, this imports gossip and node: it runs them. The shell of gossip (gossip/service.py)
is mirrored in process.py by hand, since trio orders its tasks at random.
"""
