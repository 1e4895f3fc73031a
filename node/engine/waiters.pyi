from typing import Final

from node.engine.reply import Reply

TYPE_LIST: Final[int]
TYPE_ZSET: Final[int]
TYPE_STREAM: Final[int]

class Wait:
    """One session's wait for keys."""

    deadline_ms: int
    database: int
    type: int
    words: list[bytes]
    on_timeout: Reply
    @property
    def keys(self) -> list[bytes]: ...

class Waiters:
    """Who waits for which key. See waiters.pyx."""

    count: int
    pair_count: int
    next_deadline_ms: int
    @property
    def deadline_count(self) -> int: ...
    def waiting_for(self, database: int, key: bytes) -> list[int]: ...
