from collections.abc import Callable
from typing import Any

class Command:
    name: str
    arity: int
    first_key: int
    last_key: int
    key_step: int
    handler: Callable[..., Any] | None
    get_keys: Callable[[list[bytes]], list[int]] | None
    spec: Any
    children: dict[bytes, Command] | None
    calls: int
    rejected: int
    failed: int
    ticks: int
    @property
    def is_compiled(self) -> bool: ...
    def latencies(self) -> list[tuple[int, int]]: ...
    def reset_statistics(self) -> None: ...

class Registry:
    def add(self, spec: Any) -> None: ...
    def get(self, name: str) -> Command | None: ...
    def commands(self) -> list[Command]: ...
    def __len__(self) -> int: ...
