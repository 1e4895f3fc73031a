"""Which process is meant: a pid together with the moment it started, so that a reused pid is never signalled.

The kernel counts a process's start in clock ticks since boot; with the boot's own id that names one process
for good, also across a reboot of the machine.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessKey:
    """One process of one boot of this machine."""

    pid: int
    start_ticks: int
    boot_id: str


def _stat_fields(pid: int) -> list[str] | None:
    """/proc/PID/stat from its third field on (state first), or None when there is no such process.

    The second field is the program's name in parentheses and may hold anything, so the last parenthesis
    counts.
    """
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> ProcessKey | None:
    """The key of a process that runs now, or None."""
    fields = _stat_fields(pid)
    return None if fields is None else ProcessKey(pid, int(fields[19]), boot_id())


def is_alive(key: ProcessKey) -> bool:
    """Whether exactly this process still runs.

    One that ended and was not collected yet (a zombie) does not.
    """
    fields = _stat_fields(key.pid)
    if fields is None or fields[0] in "ZX":
        return False
    return int(fields[19]) == key.start_ticks and boot_id() == key.boot_id


def send_signal(key: ProcessKey, number: signal.Signals) -> bool:
    """Signals exactly this process; False when it has gone.

    A pidfd is opened first and the key compared after that: from then on the number cannot pass to another.
    """
    try:
        descriptor = os.pidfd_open(key.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(key):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def command_line(pid: int) -> list[str]:
    """The words a process was started with; empty when it has gone, is not ours to look at, or has none."""
    try:
        data = (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    return data.decode("utf-8", "replace").split("\0")[:-1]
