"""`grapevine status --failovers`: what every member tells of the elections it stood in, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from chaos.client import Connection, ConnectionLost, NotConnected
from chaos.resp import ErrorReply, Reply, encode_command
from chaos.topology import Address, BadView

TOLD_MAX: Final = 32  # what a node keeps

Account = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Told:
    """One election. `node`: who tells of it; `account`: the fields of CLUSTER FAILOVER-LOG."""

    node: Address
    account: Account

    def text(self, field: str) -> str:
        return str(self.account.get(field, ""))

    def ms(self, field: str) -> str:
        """A duration, or nothing where it did not come to that."""
        value = self.account.get(field, -1)
        return f"{value} ms" if isinstance(value, int) and value >= 0 else ""

    @property
    def unix_ms(self) -> int:
        value = self.account.get("time", 0)
        return value if isinstance(value, int) else 0


def parse_accounts(address: Address, reply: Reply) -> list[Told]:
    """The reply to CLUSTER FAILOVER-LOG.

    Raises:
        BadView: it is something else.
    """
    if isinstance(reply, ErrorReply):
        return []  # a router, or a node that knows no such command: it stood in no election
    if not isinstance(reply, list):
        raise BadView(f"{address} answers CLUSTER FAILOVER-LOG with {reply!r:.80}")
    told = []
    for item in reply:
        if not isinstance(item, list) or len(item) % 2:
            raise BadView(f"{address} answers CLUSTER FAILOVER-LOG with {item!r:.80}")
        names, values = item[::2], item[1::2]
        told.append(
            Told(address, {_text(name): _value(value) for name, value in zip(names, values, strict=True)})
        )
    return told


def _text(value: Reply) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _value(value: Reply) -> str | int:
    return value if isinstance(value, int) else _text(value)


async def collect(addresses: Iterable[Address], timeout_ms: float) -> list[Told]:
    """Asks all members at the same time; who does not answer tells nothing. Oldest first."""
    found: list[Told] = []

    async def ask(address: Address) -> None:
        try:
            connection = await Connection.open(address, timeout_ms)
        except NotConnected:
            return
        try:
            command = encode_command("CLUSTER", "FAILOVER-LOG", TOLD_MAX)
            (reply,) = await connection.pipeline([command], timeout_ms=timeout_ms)
        except ConnectionLost:
            return
        finally:
            connection.abandon()
        found.extend(parse_accounts(address, reply))

    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(ask, address)
    return sorted(found, key=lambda told: (told.unix_ms, str(told.node)))
