"""Kill, freeze and thaw the process behind a node's address.

The node itself says which process it is (INFO server, process_id). A number is not proof, though: the address
may lead through a forwarded port into a container, whose process 7 is not our process 7. So before a signal
is sent three things must hold, and each refusal says which one does not:

1. the address is a loopback address;
2. a process with that id exists here and may be inspected by us;
3. that very process holds the socket that listens on the node's port.

The third is read from /proc: /proc/net/tcp{,6} names the inode of each listening socket, and the descriptors
of the process link to `socket:[inode]`.
"""

import ipaddress
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.topology import Address

LISTEN_STATE: Final = "0A"  # TCP_LISTEN in the kernel's table


class Refused(Exception):
    """The target is not provably the process that was meant; nothing was done to it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A process that was proven to serve `address` at the time."""

    address: Address
    pid: int


def is_loopback(host: str) -> bool:
    """Whether `host` is a literal loopback address, or the name localhost."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_inodes(table: str, port: int) -> set[str]:
    """The inodes of the sockets that listen on `port`, from the text of /proc/net/tcp or tcp6.

    sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
    0:  0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0      81923
    """
    inodes = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(fields[9])
    return inodes


def prove(address: Address, pid: int) -> Target:
    """The process as a target, once it is certain that it is the one serving `address`.

    Raises:
        Refused: naming what could not be proven.
    """
    if not is_loopback(address.host):
        raise Refused(
            f"{address} is not a loopback address; faults are injected only into nodes on this machine. "
            "Start a cluster here with `grapevine up` and point --port at it."
        )
    if pid <= 1 or pid == os.getpid():
        raise Refused(f"{address} says its process id is {pid}, which is never a target")
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net", name)
        if table.exists():
            inodes |= listening_inodes(table.read_text(), address.port)
    if not inodes:
        raise Refused(
            f"no process of this machine listens on port {address.port}; is {address} forwarded elsewhere?"
        )
    try:
        held = {os.readlink(entry) for entry in _descriptors(pid)}
    except FileNotFoundError:
        raise Refused(f"{address} says its process id is {pid}, but there is no such process here") from None
    except PermissionError:
        raise Refused(
            f"process {pid} of {address} belongs to another user; it may not be inspected"
        ) from None
    if not any(f"socket:[{inode}]" in held for inode in inodes):
        raise Refused(
            f"{address} says its process id is {pid}, but that process does not listen on port {address.port}"
        )
    return Target(address, pid)


def _descriptors(pid: int) -> Iterable[Path]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.is_symlink():  # a descriptor may be closed between listing and looking
            yield entry


def kill(target: Target) -> None:
    """SIGKILL: no last words, as a crash or the kernel's out-of-memory killer. Raises: Refused."""
    _signal(target, signal.SIGKILL)


def freeze(target: Target) -> None:
    """SIGSTOP: the process stops where it stands, its connections stay open. Raises: Refused."""
    _signal(target, signal.SIGSTOP)


def thaw(target: Target) -> None:
    """SIGCONT: a frozen process goes on, believing no time has passed. Raises: Refused."""
    _signal(target, signal.SIGCONT)


def _signal(target: Target, number: signal.Signals) -> None:
    try:
        os.kill(target.pid, number)
    except ProcessLookupError:
        raise Refused(f"process {target.pid} of {target.address} has already ended by itself") from None
    except PermissionError:
        raise Refused(
            f"process {target.pid} of {target.address} belongs to another user; {number.name} is not allowed"
        ) from None
