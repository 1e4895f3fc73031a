"""The compiled room's own list of what it answers."""

from __future__ import annotations

from node.engine import (
    basics,
    bitfields,
    bits,
    dump,
    geo,
    hashes_commands,
    hashes_expiry,
    hll_commands,
    keys,
    list_commands,
    list_moves,
    sets_algebra,
    sets_commands,
    sort,
    stream_claims,
    stream_commands,
    stream_groups,
    stream_info,
    stream_readers,
    strings,
    zsetmerge,
    zsetpops,
    zsetranges,
    zsets,
)
from node.engine.registry import Registry

_FAMILIES = (
    basics,
    bitfields,
    bits,
    dump,
    geo,
    hashes_commands,
    hashes_expiry,
    hll_commands,
    keys,
    list_commands,
    list_moves,
    sets_algebra,
    sets_commands,
    sort,
    stream_claims,
    stream_commands,
    stream_groups,
    stream_info,
    stream_readers,
    strings,
    zsetmerge,
    zsetpops,
    zsetranges,
    zsets,
)


def install_compiled(registry: Registry) -> None:
    """Announces every compiled command to a registry, before specs are added to it."""
    for module in _FAMILIES:
        module.install(registry)
