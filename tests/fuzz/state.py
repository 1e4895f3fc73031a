"""The keyspace beside its slow model."""

from __future__ import annotations

import random
from collections import Counter

from node.engine.audit import audit
from node.engine.keyspace import Keyspace
from node.engine.snapshot import CallbackSink, Snapshot, SnapshotBusy
from tests.fuzz.target import HASH_KEY, NOW_MS, Target, must
from tests.node.engine.keyspace_model import NO_EXPIRY, Model


class State(Target):
    """Any sequence of changes of a keyspace beside the slow model, with snapshots and background work.

    An input is a program: a byte says what to do, the next ones with what.
    """

    name = "state"
    words = tuple(bytes((code,)) for code in range(16))
    _DATABASES = 3
    _NAMES = (
        *(b"{t}%d" % number for number in range(24)),
        b"",
        b"\0",
        b"n" * 300,
        b"n" * 1_200,
        b"n" * 70_000,
    )
    _VALUES = (
        b"",
        b"1",
        b"-5",
        b"007",
        b"9223372036854775808",
        b"v" * 30,
        b"v" * 1_100,
        b"v" * 1_152,
        b"v" * 5_000,
    )

    def generate(self, chance: random.Random) -> bytes:
        return bytes([chance.randrange(2)]) + chance.randbytes(4 * chance.randrange(1, 120))

    def run(self, data: bytes) -> None:
        cluster = bool(data and data[0] & 1)
        real = Keyspace(cluster=cluster, databases=self._DATABASES, hash_key=HASH_KEY, clock_ms=NOW_MS)
        model = Model(self._DATABASES, NOW_MS)
        snapshots: list[tuple[Snapshot, Counter[object], Counter[object]]] = []
        for at in range(1, len(data) - 3, 4):
            self._step(real, model, snapshots, data[at], data[at + 1], data[at + 2], data[at + 3])
        for snapshot, wanted, got in snapshots:
            while snapshot.step(100):
                pass
            must(got == wanted, "a snapshot delivered something else")
        wrong = audit(real)
        must(not wrong, wrong)
        while real.expire_some(1_000):
            pass
        model.forget_expired()
        for database in range(self._DATABASES):
            live = model.live(database)
            must(real.size(database) == len(live), "the number of entries")
            must(real.expiring(database) == sum(kept[1] != NO_EXPIRY for kept in live.values()), "expiries")
            for name, (value, expire_ms) in live.items():
                must(real.get(database, name) == value and real.expiry_ms(database, name) == expire_ms, name)
        wrong = audit(real)
        must(not wrong, wrong)
        real.clear(-1)
        while real.free_some(1_000):
            pass
        must(real.memory()["used_bytes"] == 0, real.memory())

    def _step(
        self,
        real: Keyspace,
        model: Model,
        snapshots: list[tuple[Snapshot, Counter[object], Counter[object]]],
        code: int,
        first: int,
        second: int,
        third: int,
    ) -> None:
        database = first % self._DATABASES
        name = self._NAMES[second % len(self._NAMES)]
        expire_ms = NO_EXPIRY if third % 3 else NOW_MS + third * 8
        match code % 16:
            case 0 | 1:
                value = self._VALUES[third % len(self._VALUES)]
                real.set(database, name, value, expire_ms)
                model.set(database, name, value, expire_ms)
            case 2:
                must(real.delete(database, name) == model.delete(database, name), "delete")
            case 3:
                must(real.get(database, name) == model.get(database, name), "get")
            case 4:
                must(
                    real.expire_at(database, name, expire_ms) == model.expire_at(database, name, expire_ms),
                    "expire_at",
                )
            case 5:
                real.resize(database, name, third * 10)
                model.resize(database, name, third * 10)
            case 6:
                other = self._NAMES[third % len(self._NAMES)]
                must(real.rename(database, name, other) == model.rename(database, name, other), "rename")
            case 7:
                for number in range(third * 4, third * 4 + second):
                    real.set(database, b"{t}m%d" % number, b"many", expire_ms)
                    model.set(database, b"{t}m%d" % number, b"many", expire_ms)
            case 8:
                for number in range(third * 4, third * 4 + second):
                    gone = b"{t}m%d" % number
                    must(real.delete(database, gone) == model.delete(database, gone), "delete many")
            case 9:
                model.now_ms += third * 4
                real.set_clock_ms(model.now_ms)
            case 10:
                real.expire_some(third)
                real.free_some(second)
                real.sweep_some(third)
            case 11 if second < 40:
                real.clear(database)
                model.databases[database].clear()
            case 12:
                other_database = third % self._DATABASES
                real.swap(database, other_database)
                databases = model.databases
                databases[database], databases[other_database] = (
                    databases[other_database],
                    databases[database],
                )
            case 13 if len(snapshots) < 3:
                self._begin_snapshot(real, model, snapshots, None if third % 2 else [database])
            case 14 if snapshots:
                snapshot, wanted, got = snapshots[second % len(snapshots)]
                if not snapshot.step(1 + third):
                    must(got == wanted, "a snapshot delivered something else")
                    snapshots.remove((snapshot, wanted, got))
            case 15 if snapshots and third < 60:
                snapshots.pop(second % len(snapshots))[0].close()
            case _:
                must((real.random_key(database) is None) <= (not model.live(database)), "random_key")

    @staticmethod
    def _begin_snapshot(
        real: Keyspace,
        model: Model,
        snapshots: list[tuple[Snapshot, Counter[object], Counter[object]]],
        databases: list[int] | None,
    ) -> None:
        while real.expire_some(1_000):  # what has expired may be there or not: settle it for the model
            pass
        model.forget_expired()
        got: Counter[object] = Counter()

        def take(database: int, _slot: int, name: bytes, value: bytes, expire_ms: int) -> None:
            got[database, name, value, expire_ms] += 1

        try:
            snapshot = Snapshot(real, CallbackSink(take), databases=databases)
        except SnapshotBusy:
            must(not real.snapshot_ready(), "busy and ready")
            return
        wanted: Counter[object] = Counter(
            kept for kept in model.everything() if databases is None or kept[0] in databases
        )
        snapshots.append((snapshot, wanted, got))
