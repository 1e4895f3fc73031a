"""`grapevine down`: asks the launcher of a directory's cluster to end it.

If the launcher has died, the work is done here, in the same order.

Only processes that the record names are signalled, and only while pid and start time are those of the record.
"""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.processes import ProcessKey, is_alive, send_signal
from deploy.record import RecordError, Started, read_record
from deploy.report import Reporter
from deploy.supervision import TERMINATE_MS

# Three groups one after another, each of which may use its time up before it is killed.
LAUNCHER_MS: Final = 3 * TERMINATE_MS + 5_000
KILLED_MS: Final = 5_000
LOOK_S: Final = 0.02
ORDER: Final = ("router", "replica", "primary")


def down(directory: Path, reporter: Reporter) -> int:
    """Returns 0 when nothing of this cluster runs any more."""
    try:
        record = read_record(directory)
    except RecordError as error:
        reporter.failed(str(error))
        return 1
    if record is None:
        reporter.failed(f"there is no cluster in {directory}: name its directory with --dir")
        return 1
    began = time.monotonic()
    launcher = record.launcher
    if launcher is not None and is_alive(launcher):
        reporter.progress(f"waiting for the launcher (process {launcher.pid}) to stop the cluster")
        send_signal(launcher, signal.SIGTERM)
        if not _gone([launcher], LAUNCHER_MS):
            reporter.failed(
                f"the launcher (process {launcher.pid}) has not ended after {LAUNCHER_MS // 1000} s: "
                f"see {directory / 'launcher.log'}"
            )
            return 1
        record = read_record(directory) or record
    left = [each for each in record.started if is_alive(each.key)]
    if left:
        reporter.note(
            f"the launcher of this cluster has died; {len(left)} of its processes are stopped one by one"
        )
        for role in ORDER:
            _end([each for each in left if each.role == role], reporter)
        still = [each for each in left if is_alive(each.key)]
        if still:
            names = ", ".join(f"{each.name} (process {each.key.pid})" for each in still)
            reporter.failed(f"cannot end {names}")
            return 1
    elif launcher is None:
        reporter.note(f"nothing of the cluster in {directory} is running")
        return 0
    reporter.note(f"stopped in {time.monotonic() - began:.1f} s; the data stays in {directory}")
    return 0


def _end(group: Sequence[Started], reporter: Reporter) -> None:
    """Asks a group to end, and kills whoever has not after the same time a launcher would give it."""
    if not group:
        return
    reporter.progress(f"stopping {', '.join(each.name for each in group)}")
    for each in group:
        send_signal(each.key, signal.SIGTERM)
    if _gone([each.key for each in group], TERMINATE_MS):
        return
    for each in group:
        if send_signal(each.key, signal.SIGKILL):
            reporter.note(f"{each.name} did not end in time and was killed")
    _gone([each.key for each in group], KILLED_MS)


def _gone(keys: Sequence[ProcessKey], timeout_ms: int) -> bool:
    """Whether all have ended in time.

    They are not our children, so there is nothing to wait on but the look.
    """
    deadline = time.monotonic() + timeout_ms / 1000
    while any(is_alive(key) for key in keys):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True
