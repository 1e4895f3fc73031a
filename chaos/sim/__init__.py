"""The deterministic simulator: whole clusters of real cores in one process, under virtual time.

    events      one heap of (time, sequence), one source of dice for each component by name, the trace
    network     delay, loss, duplication, reordering, cuts in one direction, partitions
    process     one member: the real cores, and a shell around them that does what the trio shells do
    cluster     machines with disks, crashes, restarts, pauses; clients that ask every node at once
    scenario    TOML files in chaos/scenarios: what is drawn before a run
    run         faults, then healing, then a bound in which everything has to work again
    checkers/   what must never be; each with a bug that can be planted and that it must find

Real: the detector with its members and suspicions, the registers with their acceptors, both sides of the
leases, the pictures built from them (all gossip), and the election with the changes it proposes (node).

Not real, yet: *data*. A node's data is a count of the writes it acknowledged, a replication link is a poll
of its primary's count, a full copy is a drawn delay; there is no engine, no stream of effects, no history
of client operations. The voter set does not heal itself, nothing is encoded to bytes, clocks run at one
rate, a disk never lies. The shells (gossip/service.py, node/cluster.py) are mirrored in process.py by hand,
since trio orders its tasks at random.

Unlike the rest of chaos, this imports gossip and node: it runs them.
"""
