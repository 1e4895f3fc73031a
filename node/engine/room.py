"""The compiled room's own list of what it answers."""

from __future__ import annotations

from node.engine import basics, bits, hashes_commands, keys, strings
from node.engine.registry import Registry


def install_compiled(registry: Registry) -> None:
    """Announces every compiled command to a registry, before specs are added to it."""
    for module in (basics, strings, bits, hashes_commands, keys):
        module.install(registry)
