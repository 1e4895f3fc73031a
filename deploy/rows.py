"""The table of a cluster: one row for each member, from what the members said. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaos.topology import Address
from deploy.observe import NodeView, covers_all_slots


@dataclass(frozen=True, slots=True)
class Row:
    """One member as the screen and `--json` show it."""

    node: str
    role: str  # primary, replica, router, or 'unknown' for one that does not answer
    shard: int  # from 1, in the order of the slots; 0 for none
    slots: str  # '0-5460'; '' for a replica or router
    address: str
    pid: int  # 0 when unknown
    state: str  # 'ok', or what is wrong
    id: str
    memory_bytes: int


def slot_text(ranges: Sequence[tuple[int, int]]) -> str:
    """`0-99 200 300-400`, as CLUSTER NODES words it."""
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def build_rows(views: Mapping[Address, NodeView | str]) -> list[Row]:
    """Rows in the order of shards: each primary, its replicas, then members of no shard.

    Args:
        views: per address what the member said, or why it did not answer.
    """
    heard = [view for view in views.values() if not isinstance(view, str)]
    shard_of = _shards(heard)
    rows = []
    for address, view in views.items():
        if isinstance(view, str):
            line = next((each for one in heard for each in one.lines if each.address == address), None)
            known = line.id if line else ""
            owner = line.primary_id or line.id if line else ""
            rows.append(
                Row(
                    f"node-{address.port}",
                    "unknown",
                    shard_of.get(owner, 0),
                    "",
                    str(address),
                    0,
                    view,
                    known,
                    0,
                )
            )
            continue
        slots = view.slots_of(address) if view.role == "primary" else ()
        rows.append(
            Row(
                node=f"{'router' if view.role == 'router' else 'node'}-{address.port}",
                role=view.role,
                shard=shard_of.get(view.primary_id or view.id, 0),
                slots=slot_text(slots),
                address=str(address),
                pid=view.pid,
                state=_state(view, bool(slots)),
                id=view.id,
                memory_bytes=view.memory_bytes,
            )
        )
    order = {"primary": 0, "replica": 1, "unknown": 2, "router": 3}
    return sorted(rows, key=lambda row: (row.shard == 0, row.shard, order[row.role], row.address))


def _shards(heard: Sequence[NodeView]) -> dict[str, int]:
    """The number of each shard by its primary's id.

    Shards are numbered by their lowest slot, which stays the same when a replica takes over.
    """
    lines = {line.id: line for view in heard for line in view.lines if line.slot_count}
    return {
        line.id: number
        for number, line in enumerate(sorted(lines.values(), key=lambda each: each.first_slot), 1)
    }


def _state(view: NodeView, owns_slots: bool) -> str:
    if not view.cluster:
        return "stand-alone"
    if view.loading:
        return "loading"
    if not view.link_up:
        return "no link to its primary"
    if not covers_all_slots(view):
        return "knows no owner for some slots"
    if not view.serving:
        return "not serving"
    if view.role == "primary" and not owns_slots:
        return "owns no slots"
    return "ok"
