"""The servers a benchmark compares: each in its own process, a fresh directory, a free port."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.ports import free_port
from deploy.spawn import child_environment, describe_exit, grapevine_argv, last_line
from node.version import GRAPEVINE_VERSION

READY_S: Final = 10.0
END_S: Final = 10.0


class ServerFailed(Exception):
    """A server did not come up; the text names its log's last line."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server that can be started. `argv` gets a port and a directory.

    It is ready when it answers `greeting` with something that begins with `welcome`.
    """

    name: str
    version: str
    argv: Callable[[int, Path], list[str]]
    greeting: bytes = b"*1\r\n$4\r\nPING\r\n"
    welcome: bytes = b"+"


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    pid: int


def grapevine_kind() -> Kind:
    """A stand-alone node, started as `grapevine node` starts it."""
    return Kind(
        "grapevine",
        GRAPEVINE_VERSION,
        lambda port, directory: grapevine_argv(["node", "--port", str(port), "--dir", str(directory)]),
    )


def redis_kind() -> Kind | None:
    """redis-server as it is installed, without persistence; None when it is not."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\S+)", told)
    return Kind(
        "redis",
        found[1] if found else told.strip(),
        lambda port, directory: [
            program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory),
            "--save", "", "--appendonly", "no",
        ],
    )  # fmt: skip


def memcached_kind() -> Kind | None:
    """memcached as it is installed, with one thread as the others have; None when it is not."""
    program = shutil.which("memcached")
    if program is None:
        return None
    told = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout
    user = ["-u", "root"] if os.geteuid() == 0 else []
    return Kind(
        "memcached",
        told.split()[-1],
        lambda port, _directory: [
            program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1", "-m", "1024", *user,
        ],
        greeting=b"version\r\n",
        welcome=b"V",
    )  # fmt: skip


def floor_kind(directory: Path) -> Kind:
    """The bare recv and send loop of floor.c, built into `directory`.

    Raises:
        ServerFailed: no C compiler, or it refuses.
    """
    program = built("floor.c", directory)
    return Kind("floor", "", lambda port, _directory: [str(program), str(port)])


def built(name: str, directory: Path) -> Path:
    """The program that one C file of this folder makes.

    Raises:
        ServerFailed: no C compiler, or it refuses.
    """
    source = Path(__file__).with_name(name)
    program = directory / f"bench-{source.stem}"
    words = [*shlex.split(os.environ.get("CC", "cc")), "-O2", "-pthread", str(source), "-o", str(program)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ServerFailed(f"{name} needs a C compiler and there is no {words[0]}") from None
    if done.returncode:
        raise ServerFailed(f"{name} does not compile: {done.stderr.strip().splitlines()[0]}")
    return program


@contextmanager
def running(kind: Kind, directory: Path) -> Iterator[Server]:
    """A server of this kind while the block runs.

    Raises:
        ServerFailed: it ended early, or does not answer in time.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log_file = directory / "server.log"
    port = free_port()
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            kind.argv(port, directory), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=child_environment(),
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_S
        while not _answers(kind, port):
            if process.poll() is not None:
                how = describe_exit(process.returncode)
                raise ServerFailed(f"{kind.name} {how}: {last_line(log_file)}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{kind.name} does not answer for {READY_S:.0f} s: {last_line(log_file)}")
            time.sleep(0.02)
        yield Server(kind.name, port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(kind: Kind, port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as link:
            link.sendall(kind.greeting)
            return link.recv(1) == kind.welcome
    except OSError:
        return False
