"""What a process costs and on what machine it was measured, read from /proc. No dependency, Linux only."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def cpu_ns(pid: int) -> int:
    """CPU time that the living threads of a process have used, user and system, in ns.

    The scheduler's own account (schedstat) is exact; where the kernel keeps none, the ticks of /proc/PID/stat
    have to do, and a measurement should last a second or more.
    """
    total = 0
    for task in (PROC / str(pid) / "task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            if (PROC / "self/schedstat").exists():
                continue  # this thread has just ended
            return _cpu_ticks(pid) * 1_000_000_000 // TICKS_PER_S
    return total


def _cpu_ticks(pid: int) -> int:
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def voluntary_switches(pid: int) -> int:
    """How often the main thread has gone to sleep of its own accord."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    return 0  # a kernel without CONFIG_SCHED_INFO tells none


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES


def peak_resident_bytes(pid: int) -> int:
    """The most memory that was resident since the process began, or since `reset_peak_resident`."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resident_bytes(pid)


def reset_peak_resident(pid: int) -> None:
    """Makes the present resident memory the peak of the process."""
    (PROC / str(pid) / "clear_refs").write_text("5")


def machine() -> dict[str, str | int]:
    """What somebody needs to know to compare our figures with theirs."""
    models = [
        line.partition(":")[2].strip()
        for line in (PROC / "cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": platform.python_compiler(),
        # As `chrt --fifo 10 grapevine bench ...` has it: whatever else the machine has to do waits.
        "real_time": int(os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)),
    }


def commit() -> str:
    """The commit of the checkout these packages come from.

    With a plus sign when it was changed; '' if none. The copy that deploy/sanitize.sh makes has that of its
    original.
    """
    here = Path(__file__).resolve().parent
    root = here.parent
    if root.parts[-2:] == ("build", "sanitize"):
        root = root.parents[1]
    if not (root / ".git").exists():
        return ""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip()
