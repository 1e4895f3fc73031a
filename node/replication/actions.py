"""The words between a replica's link and its shell: whom to follow, why a link failed, what is to be done.

Nothing here is done by being made: the shell and the simulator carry actions out in their order.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Cause(enum.Enum):
    """Why a link failed; what a failure detector may conclude differs."""

    REFUSED = "refused"  # nobody listens there: the process is gone
    RESET = "reset"  # the connection ended under us
    UNREACHABLE = "unreachable"  # no route, no name, no answer to the dial
    SILENT = "silent"  # connected, but quiet for longer than repl-timeout
    PROTOCOL = "protocol"  # it answered something that is no part of the conversation
    DENIED = "denied"  # it understood and said no
    NOT_READY = "not ready"  # it is loading, or has lost its own primary
    OUTDATED = "outdated"  # its epoch is older than the one we follow
    HISTORY_LOST = "history lost"  # same primary and epoch, but it forgot the data that we still have
    DAMAGED = "damaged"  # its snapshot could not be read
    LEASELESS = "leaseless"  # it lives, and the voters do not answer it: somebody else should lead


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to follow.

    Attributes:
        epoch: of the shard's configuration; -1 stand-alone: any Redis primary will do.
        member_id: the primary's member id; checked when it says one. Empty: not known.
        shard_id: the shard both belong to; empty stand-alone.
        user, password: for AUTH; no password: no AUTH.
        promote: the target is a replica of ours and shall take over (FAILOVER); said once.
    """

    host: str
    port: int
    epoch: int = -1
    member_id: str = ""
    shard_id: str = ""
    user: str = ""
    password: str = ""
    promote: bool = False

    @property
    def address(self) -> str:
        """For messages."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Position:
    """Everything before byte `offset` of history `id` is in our data set."""

    id: str
    offset: int


@dataclass(frozen=True, slots=True)
class Myself:
    """What we say about ourselves in the greeting."""

    port: int
    member_id: str = ""
    announced_host: str = ""


# --- actions ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Dial:
    """Open a TCP connection."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Send:
    """Write to the primary."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """Our data is about to be replaced: read a snapshot, `leftover` first.

    Attributes:
        length_bytes: -1 when it ends with `mark` instead.
        keep: the data that is there stays until the new is whole.
    """

    position: Position
    length_bytes: int
    mark: bytes
    leftover: bytes
    keep: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Apply the stream from `position` on, `leftover` first.

    Attributes:
        renamed: the primary goes on under an id that is new to us.
        acknowledge: say at once how far we are; the primary waits for it.
    """

    position: Position
    leftover: bytes
    renamed: bool
    acknowledge: bool


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection, if there is one, and stop what reads from it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The link failed; for the log, INFO and the failure detector."""

    cause: Cause
    text: str


Action = Dial | Send | Load | Stream | HangUp | Report
