"""deploy/processes.py: a process is its pid and its start; nobody else is ever signalled."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploy.processes import command_line, identify, is_alive, send_signal


@pytest.fixture
def idler() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def test_we_are_alive() -> None:
    key = identify(os.getpid())
    assert key is not None
    assert is_alive(key)
    assert command_line(key.pid)[0]


def test_a_process_is_signalled_and_then_gone(idler: subprocess.Popen[bytes]) -> None:
    key = identify(idler.pid)
    assert key is not None
    assert send_signal(key, signal.SIGTERM)
    os.waitid(os.P_PID, idler.pid, os.WEXITED | os.WNOWAIT)  # it has ended and nobody has collected it
    assert not is_alive(key)
    assert not send_signal(key, signal.SIGTERM)
    idler.wait()
    assert not is_alive(key)
    assert identify(idler.pid) is None
    assert command_line(idler.pid) == []


@pytest.mark.parametrize("other", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_another_process_with_the_same_pid_is_left_alone(
    idler: subprocess.Popen[bytes], other: dict[str, int | str]
) -> None:
    key = identify(idler.pid)
    assert key is not None
    stranger = replace(key, **other)
    assert not is_alive(stranger)
    assert not send_signal(stranger, signal.SIGKILL)
    assert idler.poll() is None
