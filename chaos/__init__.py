"""Faults on purpose, against real processes and against cores under virtual time.

    client topology resp     how a workload talks to a cluster, with nothing but the protocol
    workloads/               what is asked of the cluster meanwhile, and a record of every answer
    faults/                  what is done to it
    checkers/                what the record says about it afterwards: pure functions
    scenarios/               which faults in which order; a report
    health peers             is the cluster whole; a throw-away redis-server cluster to compare with
    sim/                     cores under virtual time; scenarios/*.toml are its scenarios

Nothing here but sim/ imports node or router: everything else runs against any server that speaks the
protocol of a Redis cluster, so that the same run measures us and our peers.
"""
