"""chaos/faults/processes.py: only a proven process of this machine is touched."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.faults.processes import Refused, Target, freeze, is_loopback, kill, listening_inodes, prove, thaw
from chaos.topology import Address

LISTENER = """
import socket, sys
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[tuple[subprocess.Popen[str], Address]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield process, Address("127.0.0.1", int(process.stdout.readline()))
        process.kill()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("10.0.0.1", False), ("0.0.0.0", False), ("example.org", False), ("", False), ("128.0.0.1", False),
    ],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_table_of_sockets() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 81923 1\n"
        "   1: 0100007F:1B58 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 81999 1\n"
        "   2: 0100007F:1B59 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 81924 1\n"
    )
    assert listening_inodes(table, 7000) == {"81923"}
    assert listening_inodes(table, 7001) == {"81924"}
    assert listening_inodes(table, 7002) == set()


def test_refuses_other_machines() -> None:
    with pytest.raises(Refused, match="not a loopback address"):
        prove(Address("192.0.2.7", 7000), os.getpid())


def test_refuses_itself_and_init() -> None:
    for pid in (0, 1, -1, os.getpid()):
        with pytest.raises(Refused, match="never a target"):
            prove(Address("127.0.0.1", 7000), pid)


def test_refuses_a_process_that_does_not_hold_the_socket(
    listener: tuple[subprocess.Popen[str], Address],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        address = Address("127.0.0.1", ours.getsockname()[1])
        with pytest.raises(Refused, match="does not listen on port"):
            prove(address, listener[0].pid)


def test_refuses_a_port_nobody_listens_on() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(Refused, match="no process of this machine listens"):
            prove(Address("127.0.0.1", bound.getsockname()[1]), 2)


@pytest.mark.slow
def test_freezes_thaws_and_kills_what_it_has_proven(listener: tuple[subprocess.Popen[str], Address]) -> None:
    process, address = listener
    target = prove(address, process.pid)
    freeze(target)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    thaw(target)
    _, status = os.waitpid(process.pid, os.WCONTINUED)
    assert os.WIFCONTINUED(status)
    kill(target)
    assert process.wait(5) == -signal.SIGKILL
    with pytest.raises(Refused, match="already ended by itself"):
        kill(target)


def test_an_ended_process_is_refused(listener: tuple[subprocess.Popen[str], Address]) -> None:
    process, address = listener
    process.kill()
    process.wait(5)
    assert not Path(f"/proc/{process.pid}").exists()
    with pytest.raises(Refused):
        prove(address, process.pid)
    with pytest.raises(Refused, match="ended by itself"):
        kill(Target(address, process.pid))
