"""The slow truth: what a keyspace must answer, in plain dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

NO_EXPIRY = -1


@dataclass
class Model:
    """Databases of name -> (value, expiry). Names and values are bytes, times milliseconds."""

    database_count: int
    now_ms: int
    databases: list[dict[bytes, tuple[bytes, int]]] = field(init=False)

    def __post_init__(self) -> None:
        self.databases = [{} for _ in range(self.database_count)]

    def lives(self, database: int, name: bytes) -> bool:
        return name in self.databases[database] and not self._over(self.databases[database][name][1])

    def _over(self, expire_ms: int) -> bool:
        return expire_ms != NO_EXPIRY and expire_ms < self.now_ms

    def forget_expired(self) -> None:
        for names in self.databases:
            for name in [name for name, (_, expire_ms) in names.items() if self._over(expire_ms)]:
                del names[name]

    def live(self, database: int) -> dict[bytes, tuple[bytes, int]]:
        return {name: kept for name, kept in self.databases[database].items() if not self._over(kept[1])}

    def get(self, database: int, name: bytes) -> bytes | None:
        return self.databases[database][name][0] if self.lives(database, name) else None

    def set(self, database: int, name: bytes, value: bytes, expire_ms: int) -> None:
        self.databases[database][name] = (value, expire_ms)

    def delete(self, database: int, name: bytes) -> bool:
        lived = self.lives(database, name)
        self.databases[database].pop(name, None)
        return lived

    def expire_at(self, database: int, name: bytes, when_ms: int) -> bool:
        if not self.lives(database, name):
            return False
        self.databases[database][name] = (self.databases[database][name][0], when_ms)
        return True

    def resize(self, database: int, name: bytes, len_bytes: int) -> None:
        value, expire_ms = self.databases[database][name] if self.lives(database, name) else (b"", NO_EXPIRY)
        self.databases[database][name] = (value[:len_bytes].ljust(len_bytes, b"\0"), expire_ms)

    def rename(self, database: int, name: bytes, new_name: bytes) -> bool:
        if not self.lives(database, name):
            return False
        self.databases[database][new_name] = self.databases[database].pop(name)
        return True

    def everything(self) -> Iterator[tuple[int, bytes, bytes, int]]:
        for database, names in enumerate(self.databases):
            for name, (value, expire_ms) in names.items():
                yield database, name, value, expire_ms
