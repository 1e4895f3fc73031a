"""The gossip keys of a process: a file, read at the start, on CONFIG SET gossip-key-file, and on SIGHUP.

A file rather than a parameter with the keys in it: what CONFIG GET, CONFIG REWRITE and the slow log show must
not be a secret. Every member reads its own copy.
"""

import logging
import signal
import stat
from pathlib import Path
from typing import Final

import trio

from gossip.sealing import PLAIN, Keyring, KeyringError
from gossip.service import Service
from node.config import Config

log = logging.getLogger("grapevine.node")

PARAMETER: Final = "gossip-key-file"
FILE_BYTES_MAX: Final = 16_384


def load_keyring(path: str) -> Keyring:
    """The keys in the file at `path`; plain messages when there is no path.

    Raises:
        ValueError: it cannot be read or understood; names the file.
    """
    if not path:
        return PLAIN
    try:
        with Path(path).open("rb") as file:
            if stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
                log.warning("%s %s can be read by others than its owner: chmod 600 %s", PARAMETER, path, path)
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"{PARAMETER} {path} cannot be read: {error.strerror}") from error
    try:
        if len(content) > FILE_BYTES_MAX:
            raise KeyringError(f"it is longer than {FILE_BYTES_MAX} bytes")
        return Keyring.parse(content.decode("ascii"))
    except (KeyringError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, KeyringError) else "it is not text"
        raise ValueError(f"{PARAMETER} {path} cannot be used: {reason}") from error


def follow_keys(config: Config, service: Service) -> None:
    """CONFIG SET gossip-key-file reads the file, also when its name stays the same."""
    config.on_change(PARAMETER, lambda _: service.use_keys(load_keyring(config.text(PARAMETER))), now=False)


async def reload_on_hangup(
    config: Config, service: Service, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Reads the file again at each SIGHUP. A file that cannot be used changes nothing, and is told of.

    Without such a file SIGHUP keeps its meaning: the terminal is gone, and the process ends.
    """
    if not config.text(PARAMETER):
        task_status.started()
        return
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                service.use_keys(load_keyring(config.text(PARAMETER)))
            except ValueError as error:
                log.error("the gossip keys stay as they are: %s", error)
