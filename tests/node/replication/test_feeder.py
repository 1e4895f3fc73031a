"""How large the pieces of a snapshot are. What replicas get is in test_nodes.py."""

from __future__ import annotations

import socket

from node.engine.engine import Engine
from node.engine.pump import Pump
from node.engine.session import Session
from node.replication.feeder import Feeder
from node.replication.history import Full, History
from node.replication.settings import Settings


def test_pieces_are_as_large_as_the_turns_of_others_were_long() -> None:
    engine = Engine(hash_key=bytes(16), clock_ms=1)
    for number in range(2_000):
        engine.keyspace.set(0, b"%d" % number, b"v" * 1_000)
    pump = Pump(engine)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    session = Session(engine, address="127.0.0.1:1")
    pump.adopt(ours.detach(), session)
    now_ms = 1_000
    settings = Settings(step_bytes=100_000, step_min_bytes=20_000)
    feeder = Feeder(
        engine,
        pump,
        lambda: settings,
        lambda: History("h" * 40),
        lambda: now_ms,
        lambda: None,
        lambda: "m" * 40,
    )
    try:
        feeder.greet(session).capabilities = frozenset({"eof"})
        feeder.ask_full(session, Full("a test"))
        assert feeder.advance() == 0
        for passed_ms, least in ((0, 20_000), (1, 50_000), (2, 100_000), (0, 20_000), (500, 100_000)):
            now_ms += passed_ms
            before = session.output_pending_bytes
            assert feeder.advance() == 0
            # A few entries of 1 KB is what it may be over.
            assert least <= session.output_pending_bytes - before <= least + 10_000
    finally:
        feeder.close()
        pump.close_all()
        theirs.close()
