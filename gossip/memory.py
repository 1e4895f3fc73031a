"""The state file of one member: read once, then written before every promise. Part of the trio shell."""

import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from gossip.messages import ID_BYTES
from gossip.past import Past
from gossip.state import StateDirectory, StateError
from gossip.votes import MessageError

RETRY_MS: Final = 500

_log = logging.getLogger("grapevine.gossip")


class Memory:
    """The state file of one member, locked from construction until `close`.

    Raises (construction):
        StateError: the directory or its file cannot be used; the text names it and says what to do.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = StateDirectory(directory)
        self._saving = trio.Lock()
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
            return Past(True, secrets.token_hex(ID_BYTES), secrets.token_hex(ID_BYTES))
        try:
            return Past.from_plain(state)
        except MessageError as error:
            raise self.unusable(str(error)) from error

    def unusable(self, why: str) -> StateError:
        """The error for a file that is whole but makes no sense."""
        return StateError(
            f"the state file {self._directory.path} cannot be used: {why}."
            " Move it away: this member then joins as a new one"
        )

    def rolled_back(self, teller: str, ours: int, theirs: int) -> StateError:
        """The error for a file that is older than what another member heard of it."""
        return StateError(
            f"the state file {self._directory.path} is an old copy: it had serial {ours}, and member {teller}"
            f" has heard of serial {theirs}. What this member promised as a voter since then is not in it, so"
            " it stops before it breaks a promise; what was decided stands. Move the file away: this member"
            " then joins as a new one, and the cluster lets another vote in its place"
        )

    async def save(self, past: Callable[[], Past]) -> None:
        """Write what `past` returns once it is our turn. Two callers never write at the same time.

        Raises:
            StateError: it could not be written; the old content is still there.
        """
        async with self._saving:
            await trio.to_thread.run_sync(self._directory.save, past().to_plain())

    async def save_surely(self, past: Callable[[], Past]) -> None:
        """As `save`, but tries until it works. Whoever waits here says nothing meanwhile, so a member that
        cannot write takes no part in votes, which is what a member that cannot remember must do.
        """
        while True:
            try:
                await self.save(past)
            except StateError as error:
                _log.error("%s. This member takes no part in votes until it can", error)
                await trio.sleep(RETRY_MS / 1000)
            else:
                return
