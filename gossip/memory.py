"""What a member remembers across restarts, as the state file's content. Part of the trio shell."""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from gossip.errors import PeerError
from gossip.messages import ID_BYTES, Record, record_from_plain, record_to_plain
from gossip.state import StateDirectory, StateError
from gossip.votes import Plain

RETRY_MS: Final = 500

_log = logging.getLogger("grapevine.gossip")


@dataclass(frozen=True, slots=True)
class Past:
    """Our previous life, or a fresh start: then `fresh` is true, the ids are new and the rest is empty.

    Attributes:
        registers: what Registers.restore takes, None when there was nothing.
        shard_id: the shard we belonged to, '' for none: a replica follows it again.
        lease_ms: how long the leases were that our voter granted.
    """

    fresh: bool
    member_id: str
    cluster_id: str
    incarnation: int
    members: tuple[Record, ...]
    registers: Mapping[str, Plain] | None
    shard_id: str = ""
    lease_ms: int = 0


class Memory:
    """The state file of one member, locked from construction until `close`.

    Raises (construction):
        StateError: the directory or its file cannot be used; the text names it and says what to do.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = StateDirectory(directory)
        self._saving = trio.Lock()
        self.unsaved = True
        """Something changed since the last write that would be missed after a restart."""
        try:
            self.past = self._read()
        except BaseException:
            self._directory.close()
            raise

    def close(self) -> None:
        self._directory.close()

    def _read(self) -> Past:
        state = self._directory.load()
        if state is None:
            return Past(True, secrets.token_hex(ID_BYTES), secrets.token_hex(ID_BYTES), 0, (), None)
        member_id, cluster_id = state.get("member_id"), state.get("cluster_id")
        incarnation, members = state.get("incarnation"), state.get("members", ())
        registers, shard_id = state.get("registers"), state.get("shard_id", "")
        lease_ms = state.get("lease_ms", 0)
        if not isinstance(member_id, str) or not isinstance(cluster_id, str):
            raise self.unusable("it names no member or no cluster")
        if not isinstance(incarnation, int) or not isinstance(members, tuple):
            raise self.unusable("it has no incarnation or no members")
        if not isinstance(registers, Mapping) or not isinstance(shard_id, str):
            raise self.unusable("it has no registers or no shard")
        if not isinstance(lease_ms, int):
            raise self.unusable("it does not say how long our leases were")
        try:
            records = tuple(record_from_plain(item) for item in members)
        except PeerError as error:
            raise self.unusable(str(error)) from error
        return Past(False, member_id, cluster_id, incarnation, records, registers, shard_id, lease_ms)

    def unusable(self, why: str) -> StateError:
        """The error for a file that is whole but makes no sense."""
        return StateError(
            f"the state file {self._directory.path} cannot be used: {why}."
            " Restore it from a copy, or move it away: this member then joins as a new one"
        )

    async def save(self, state: Callable[[], dict[str, Plain]]) -> None:
        """Write what `state` returns once it is our turn. Two callers never write at the same time.

        Raises:
            StateError: it could not be written; the old content is still there.
        """
        async with self._saving:
            content = state()
            self.unsaved = False
            try:
                await trio.to_thread.run_sync(self._directory.save, content)
            except BaseException:
                self.unsaved = True
                raise

    async def save_surely(self, state: Callable[[], dict[str, Plain]]) -> None:
        """As `save`, but tries until it works. Whoever waits here says nothing meanwhile, so a member that
        cannot write takes no part in votes, which is what a member that cannot remember must do.
        """
        while True:
            try:
                await self.save(state)
            except StateError as error:
                _log.error("%s. This member takes no part in votes until it can", error)
                await trio.sleep(RETRY_MS / 1000)
            else:
                return


def content(
    member_id: str,
    cluster_id: str,
    incarnation: int,
    members: tuple[Record, ...],
    registers: Mapping[str, Plain],
    shard_id: str,
    lease_ms: int,
) -> dict[str, Plain]:
    """The state file's content."""
    return {
        "member_id": member_id,
        "cluster_id": cluster_id,
        "incarnation": incarnation,
        "members": tuple(record_to_plain(record) for record in members),
        "registers": registers,
        "shard_id": shard_id,
        "lease_ms": lease_ms,
    }
