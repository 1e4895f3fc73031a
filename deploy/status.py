"""`grapevine status`: one member is asked who there is, then everybody is asked about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from chaos.topology import Address
from deploy.failovers import collect
from deploy.observe import NodeView, observe_all
from deploy.rows import build_rows

if TYPE_CHECKING:
    from deploy.screen import Screen

ASK_MS: Final = 2_000


async def look(address: Address) -> dict[Address, NodeView | str]:
    """Every member that `address` knows, itself first.

    When it does not answer, the reason is all there is.
    """
    seen = await observe_all([address], ASK_MS)
    view = seen[address]
    if isinstance(view, NodeView):
        others = dict.fromkeys([*(line.address for line in view.lines), *view.routers])
        others.pop(address, None)
        seen |= await observe_all(others, ASK_MS)
    return seen


def failovers(address: Address, screen: Screen, *, as_json: bool) -> int:
    """Shows the elections that all members tell of. Returns 1 when nobody answers at `address`."""
    seen = trio.run(look, address)
    view = seen[address]
    if isinstance(view, str):
        screen.failed(f"no member of a cluster answers on {address} ({view})")
        return 1
    told = trio.run(collect, seen, ASK_MS)
    names = {line.id: str(line.address) for line in view.lines}
    if as_json:
        screen.failovers_json(told)
    else:
        screen.failovers(told, names)
    return 0


def status(address: Address, screen: Screen, *, as_json: bool) -> int:
    """Shows the cluster that `address` belongs to. Returns 1 when nobody answers there."""
    seen = trio.run(look, address)
    view = seen[address]
    if isinstance(view, str):
        screen.failed(f"no member of a cluster answers on {address} ({view})")
        return 1
    rows = build_rows(seen)
    healthy = all(row.state == "ok" for row in rows)
    if as_json:
        screen.json(rows, healthy)
    else:
        screen.table(rows)
    return 0
