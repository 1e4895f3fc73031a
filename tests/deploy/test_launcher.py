"""deploy/launcher.py with processes that misbehave. A whole cluster is the subject of test_cluster_up.py."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from deploy.launcher import Launcher, StartFailed
from deploy.logs import LOG_BYTES_MAX
from deploy.plan import ClusterPlan, ProcessPlan
from deploy.processes import identify, is_alive
from deploy.record import Record, read_record
from deploy.rows import Row
from tests.waiting import until

IDLE = "import signal; signal.pause()"


class Notes:
    """Keeps what a launcher reports."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def progress(self, text: str) -> None:
        self.texts.append(text)

    def note(self, text: str) -> None:
        self.texts.append(text)

    def ready(self, rows: Sequence[Row]) -> None:
        self.texts.append(f"ready with {len(rows)}")

    def failed(self, text: str) -> None:
        self.texts.append(text)


def launcher(
    directory: Path, programs: dict[str, str], notes: Notes, *, log_bytes_max: int = LOG_BYTES_MAX
) -> Launcher:
    """A launcher of a cluster of two nodes, each of which runs a program of its own."""

    def argv(plan: ClusterPlan, process: ProcessPlan) -> list[str]:
        return [sys.executable, "-c", programs[process.name]]

    record = Record(2, 0, 1, 0)  # nobody answers on ports 1 and 2
    return Launcher(
        record.plan(directory), record, notes, restart=True, log_bytes_max=log_bytes_max, argv=argv
    )


@pytest.mark.slow
async def test_a_process_that_ends_early_fails_the_start_with_its_own_words(tmp_path: Path) -> None:
    failing = "import sys; print('some noise'); print('node: port 2 is taken'); sys.exit(3)"
    running = launcher(tmp_path, {"node-1": IDLE, "node-2": failing}, Notes())
    with pytest.raises(StartFailed) as failure:
        await running.run()
    assert str(failure.value) == (
        f"node-2 ended with status 3: node: port 2 is taken (log: {tmp_path}/node-2/node.log)"
    )


@pytest.mark.slow
async def test_whatever_was_started_has_ended_when_the_start_fails(tmp_path: Path) -> None:
    # The second one waits for the first one's pid, leaves it to us, and fails.
    pipe, pid_file = str(tmp_path / "pipe"), tmp_path / "pid"
    os.mkfifo(pipe)
    write_pid = f"import os, signal; open({pipe!r}, 'w').write(str(os.getpid())); signal.pause()"
    failing = f"import sys; open({str(pid_file)!r}, 'w').write(open({pipe!r}).read()); sys.exit(1)"
    running = launcher(tmp_path, {"node-1": write_pid, "node-2": failing}, Notes())
    with pytest.raises(StartFailed, match="it said nothing"):
        await running.run()
    key = identify(int(pid_file.read_text()))
    assert key is None or not is_alive(key)
    record = read_record(tmp_path)
    assert record is not None
    assert record.started == ()
    assert not record.formed


@pytest.mark.slow
async def test_logs_are_kept_short(tmp_path: Path) -> None:
    talking = "import time\nfor i in range(10**9):\n    print('line', i, flush=True); time.sleep(0.001)"
    running = launcher(tmp_path, {"node-1": talking, "node-2": IDLE}, Notes(), log_bytes_max=100)
    old, new = tmp_path / "node-1/node.log.1", tmp_path / "node-1/node.log"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.run)
        await until(lambda: old.exists() and new.stat().st_size > 0)
        nursery.cancel_scope.cancel()
    last = old.read_text().splitlines()[-1]
    first = new.read_text().splitlines()[0]
    assert int(first.split()[1]) >= int(last.split()[1])  # it goes on, in the other file
    assert not (tmp_path / "node-2/node.log.1").exists()
