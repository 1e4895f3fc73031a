"""Keeps the logs of a cluster's processes from filling the disk: one old file, and one that is written.

A process writes its log to the descriptor it was given, because what matters most does not come through
logging: a traceback, the last words of a C library. It would follow that file under any name, so the log is
not renamed: it is copied, and emptied. The descriptor appends, so the process goes on at the new end and
notices nothing. What is written between the last copied byte and the emptying is lost; the copy goes on until
it has caught up, so that is a moment of microseconds.

Rejected: a rotating handler in each process (it sees only what goes through logging), and a pipe through the
launcher (nobody would read it once the launcher has died, and the processes are to go on serving then).
"""

import os
import shutil
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 64 << 20  # a quiet node writes some kilobytes a day


def old_log(log: Path) -> Path:
    """Where what was in it before is kept."""
    return log.with_name(f"{log.name}.1")


def shorten(log: Path, bytes_max: int) -> bool:
    """Empties a log that has become too large, and keeps what it had said.

    Args:
        log: written by processes that append to it; need not exist.
        bytes_max: what it may have; 0: any.

    Returns:
        Whether it was too large.

    Raises:
        OSError: the disk is full, or the like; the log is as it was.
    """
    if not 0 < bytes_max < (log.stat().st_size if log.exists() else 0):
        return False
    with log.open("rb") as source, old_log(log).open("wb") as target:
        while source.tell() < os.fstat(source.fileno()).st_size:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
        os.truncate(log, 0)
    return True
