"""The link of a replica to its primary. A core: it speaks the handshake and decides when to try again.

    IDLE --follow--> DIALING --connected--> GREETING --all answered--> ASKING --+CONTINUE--> ONLINE
                        ^                                                |                     ^
                        |                                           +FULLRESYNC                |
                     (time)                                              v                     |
                     RESTING <------- whatever goes wrong ------- PREPARING --$...--> LOADING -+

The greeting goes out in one piece (AUTH, PING, the REPLCONFs) and its answers are read in order: one
round trip where asking one by one would take five. What a Redis primary does not know (our own REPLCONF)
it answers with an error, which is how we learn that it is no Grapevine node.

Only lines pass through here. The snapshot's bytes and the stream go from the socket to the engine; the
core is told when they are done, and gets every byte that a line was mixed with back as `leftover`.

Data that a full sync has begun to replace is `complete` again only when all of it is there. Until then
this node has nothing to offer in an election, unless it keeps the old data (`keeps_old`): then that is
what it has, and goes back to should the sync fail.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from node.replication.actions import (
    Action,
    Cause,
    Dial,
    HangUp,
    Load,
    Myself,
    Position,
    Report,
    Send,
    Stream,
    Target,
)
from node.replication.history import is_replication_id
from node.replication.settings import Settings

LINE_BYTES_MAX = 8 << 10  # replies of a handshake are a hundred bytes; error texts may quote something
OFFSET_MAX = (1 << 63) - 1


class State(enum.Enum):
    """Where the link is."""

    IDLE = "follows nobody"
    RESTING = "waits before it tries again"
    DIALING = "connects"
    GREETING = "says who it is"
    ASKING = "asked for the stream"
    PREPARING = "is promised a snapshot"
    LOADING = "loads a snapshot"
    ONLINE = "applies the stream"

    @property
    def label(self) -> str:
        """The word of ROLE, which tells fewer states apart."""
        return _ROLE_WORDS[self]


_ROLE_WORDS: Mapping[State, str] = {
    State.IDLE: "connect",
    State.RESTING: "connect",
    State.DIALING: "connecting",
    State.GREETING: "handshake",
    State.ASKING: "handshake",
    State.PREPARING: "sync",
    State.LOADING: "sync",
    State.ONLINE: "connected",
}


class Event(enum.Enum):
    """What can happen to a link."""

    FOLLOW = "told whom to follow"
    STOP = "told to follow nobody"
    CONNECTED = "TCP connection made"
    LINE = "a whole line arrived"
    HEARD = "bytes of the snapshot or the stream arrived"
    LOADED = "the snapshot is complete in memory"
    SPOILED = "the snapshot could not be loaded, or the stream not be applied"
    BROKEN = "connection refused, reset or closed"
    TICK = "time passed"


_RETRY_CODES = ("LOADING", "NOMASTERLINK", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN")


class Link:
    """One link. Every method that takes `now_ms` returns actions, to be carried out in order.

    Attributes:
        state, target: see above; target is None in IDLE only.
        position: how far our data goes; None when we have nothing that could be continued. The shell moves
            it forward with `applied`.
        keeps_old: a full sync shall leave whole data in place until its own is. Set by the shell.
        complete: we have a whole data set. False from the moment a full sync begins to replace it until it is
            loaded; while old data is kept it is that which is meant, and which `position` is of.
        deadline_ms: call `tick` then; None: not needed.
        refused: the last Report, until the link is up again.
    """

    def __init__(self, settings: Settings, source_of_chance: random.Random, *, complete: bool = True) -> None:
        self.settings = settings
        self.state = State.IDLE
        self.target: Target | None = None
        self.position: Position | None = None
        self.keeps_old = False
        self.complete = complete
        self.deadline_ms: int | None = None
        self.refused: Report | None = None
        self.since_ms = 0  # when the state was entered
        self.heard_ms = 0  # when the primary last said anything
        self._random = source_of_chance
        self._myself = Myself(0)
        self._failures = 0
        self._line = b""  # a line that has not ended yet
        self._awaited: list[str] = []  # answers of the greeting still to come
        self._grapevine = False
        self._offered: Position | None = None  # of the full sync in progress
        self._followed: tuple[str, int] | None = None  # (member, epoch) that our data came from
        self._differed_ms: int | None = None  # when the stream last brought what we could not apply

    # --- events -------------------------------------------------------------------------------------------
    def follow(self, target: Target, myself: Myself, now_ms: int) -> list[Action]:
        """Follows `target` from now on; the same one again is fine and starts afresh."""
        self._myself = myself
        self._failures = 0
        return self._happened(Event.FOLLOW, now_ms, target=target)

    def stop(self, now_ms: int) -> list[Action]:
        """Follows nobody. The position stays: it is what we may be promoted with or continue from."""
        return self._happened(Event.STOP, now_ms)

    def connected(self, now_ms: int) -> list[Action]:
        """The dial succeeded."""
        return self._happened(Event.CONNECTED, now_ms)

    def received(self, data: bytes, now_ms: int) -> list[Action]:
        """Bytes from the primary. After a Load or Stream action the rest of them is in its `leftover`."""
        actions: list[Action] = []
        data = self._line + data
        self._line = b""
        while data and self.state in _READS_LINES:
            end = data.find(b"\n")
            if end < 0 or end > LINE_BYTES_MAX:
                if len(data) > LINE_BYTES_MAX:
                    return actions + self._failed(
                        Cause.PROTOCOL, f"sent a line of more than {LINE_BYTES_MAX} bytes", now_ms
                    )
                self._line = data
                self.heard_ms = now_ms
                return actions
            line, data = data[:end].rstrip(b"\r"), data[end + 1 :]
            actions += self._happened(Event.LINE, now_ms, line=line, rest=data)
        return actions

    def heard(self, now_ms: int) -> list[Action]:
        """Bytes of the snapshot or the stream arrived (and went to the engine)."""
        return self._happened(Event.HEARD, now_ms)

    def loaded(self, now_ms: int, leftover: bytes = b"") -> list[Action]:
        """The snapshot is in memory, whole and checked."""
        return self._happened(Event.LOADED, now_ms, rest=leftover)

    def spoiled(self, text: str, now_ms: int) -> list[Action]:
        """The snapshot was damaged or holds something we cannot load; or the stream does, and our data
        differs from our primary's now."""
        return self._happened(Event.SPOILED, now_ms, text=text)

    def broken(self, cause: Cause, text: str, now_ms: int) -> list[Action]:
        """The connection could not be made, or ended."""
        return self._happened(Event.BROKEN, now_ms, cause=cause, text=text)

    def tick(self, now_ms: int) -> list[Action]:
        """Call at `deadline_ms`, or whenever convenient."""
        return self._happened(Event.TICK, now_ms)

    def applied(self, offset: int) -> None:
        """The engine has executed the stream up to `offset`."""
        if self.position is not None and offset > self.position.offset:
            self.position = Position(self.position.id, offset)

    def stands_at(self, position: Position | None) -> None:
        """Sets where our data stands: a primary that begins to follow knows its own history."""
        self.position = position
        self._followed = None  # its data is its own, not what it once had from somebody

    # --- the machine --------------------------------------------------------------------------------------
    def _happened(
        self,
        event: Event,
        now_ms: int,
        *,
        target: Target | None = None,
        line: bytes = b"",
        rest: bytes = b"",
        cause: Cause = Cause.RESET,
        text: str = "",
    ) -> list[Action]:
        reaction = TABLE[self.state, event]
        return reaction(self, _Facts(now_ms, target, line, rest, cause, text))

    def _enter(self, state: State, now_ms: int, wait_ms: int | None) -> None:
        self.state = state
        self.since_ms = now_ms
        self.deadline_ms = None if wait_ms is None else now_ms + wait_ms

    def _dial(self, now_ms: int) -> list[Action]:
        assert self.target is not None
        self._line = b""
        self._enter(State.DIALING, now_ms, self.settings.dial_timeout_ms)
        return [Dial(self.target.host, self.target.port)]

    def _failed(self, cause: Cause, text: str, now_ms: int) -> list[Action]:
        assert self.target is not None
        was_online = self.state is State.ONLINE
        self._give_up_load()
        self._line = b""
        report = Report(cause, f"primary {self.target.address} {text}")
        self.refused = report
        hang_up: list[Action] = [HangUp(), report]
        if was_online:  # it may be back already; nothing is gained by waiting
            return hang_up + self._dial(now_ms)
        self._enter(State.RESTING, now_ms, self._rest_ms())
        return hang_up

    def _give_up_load(self) -> None:
        if self.state is State.LOADING and not self.complete:
            self.position = None
        self._offered = None

    def _rest_ms(self) -> int:
        longest_ms = min(self.settings.rest_max_ms, self.settings.rest_first_ms << min(self._failures, 20))
        self._failures += 1
        return max(1, round(longest_ms * self._random.uniform(0.5, 1.0)))

    # --- reactions: named in the table below --------------------------------------------------------------
    def _on_follow(self, facts: _Facts) -> list[Action]:
        hang_up: list[Action] = [] if self.state in (State.IDLE, State.RESTING) else [HangUp()]
        self._give_up_load()
        self.target = facts.target
        self.refused = None
        return hang_up + self._dial(facts.now_ms)

    def _on_stop(self, facts: _Facts) -> list[Action]:
        hang_up: list[Action] = [] if self.state in (State.IDLE, State.RESTING) else [HangUp()]
        self._give_up_load()
        self.target = None
        self._enter(State.IDLE, facts.now_ms, None)
        return hang_up

    def _on_connected(self, facts: _Facts) -> list[Action]:
        assert self.target is not None
        commands: list[tuple[bytes, ...]] = []
        self._awaited = []
        if self.target.password:
            user = (self.target.user.encode(),) if self.target.user else ()
            commands.append((b"AUTH", *user, self.target.password.encode()))
            self._awaited.append("AUTH")
        commands.append((b"PING",))
        self._awaited.append("PING")
        commands.append((b"REPLCONF", b"listening-port", b"%d" % self._myself.port))
        self._awaited.append("REPLCONF")
        if self._myself.announced_host:
            commands.append((b"REPLCONF", b"ip-address", self._myself.announced_host.encode()))
            self._awaited.append("REPLCONF")
        commands.append((b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"))
        self._awaited.append("REPLCONF")
        member_id = self._myself.member_id or "-"
        shard_id = self.target.shard_id or "-"
        commands.append(
            (b"REPLCONF", b"grapevine", member_id.encode(), shard_id.encode(), b"%d" % self.target.epoch)
        )
        self._awaited.append("GRAPEVINE")
        self._grapevine = False
        self.heard_ms = facts.now_ms
        self._enter(State.GREETING, facts.now_ms, self.settings.timeout_ms)
        return [Send(b"".join(command_bytes(*command) for command in commands))]

    def _on_greeting_line(self, facts: _Facts) -> list[Action]:
        self.heard_ms = facts.now_ms
        if not facts.line:
            return []
        awaited = self._awaited.pop(0)
        trouble = self._check_answer(awaited, facts.line)
        if trouble is not None:
            return self._failed(*trouble, facts.now_ms)
        if self._awaited:
            return []
        self._enter(State.ASKING, facts.now_ms, self.settings.timeout_ms)
        if self.position is None:
            return [Send(command_bytes(b"PSYNC", b"?", b"-1"))]
        wanted = self.position.offset + 1  # Redis counts bytes from one
        assert self.target is not None
        more = (b"FAILOVER",) if self.target.promote else ()
        return [Send(command_bytes(b"PSYNC", self.position.id.encode(), b"%d" % wanted, *more))]

    def _check_answer(self, awaited: str, line: bytes) -> tuple[Cause, str] | None:
        assert self.target is not None
        text = line.decode("utf-8", "backslashreplace")
        failed = line.startswith(b"-")
        code = text[1:].split(" ", 1)[0]
        if failed and code in _RETRY_CODES:
            return Cause.NOT_READY, f"is not ready: {text[1:]}"
        if not failed and not line.startswith(b"+"):
            return Cause.PROTOCOL, f"answered {awaited} with {text[:80]!r}"
        match awaited:
            case "AUTH" | "PING":
                if failed:
                    return Cause.DENIED, f"answered {awaited} with: {text[1:]}"
            case "GRAPEVINE":
                if failed and (code == "STALE" or self.target.epoch >= 0):
                    return (Cause.OUTDATED if code == "STALE" else Cause.DENIED), f"refused us: {text[1:]}"
                if not failed:
                    return self._check_grapevine(text)
            case _:
                if failed and code in ("NOAUTH", "NOPERM"):
                    return Cause.DENIED, f"answered REPLCONF with: {text[1:]}"
                # other errors: an old Redis that does not know the option; PSYNC will show
        return None

    def _check_grapevine(self, text: str) -> tuple[Cause, str] | None:
        assert self.target is not None
        words = text.split(" ")
        if len(words) != 4 or words[0] != "+GRAPEVINE" or not words[3].lstrip("-").isdigit():
            return Cause.PROTOCOL, f"answered REPLCONF grapevine with {text[:80]!r}"
        member_id, shard_id, epoch = words[1], words[2], int(words[3])
        self._grapevine = True
        if self.target.epoch < 0:
            return None
        if epoch < self.target.epoch:
            return (
                Cause.OUTDATED,
                f"is at epoch {epoch}, older than epoch {self.target.epoch} which we follow",
            )
        if self.target.member_id and member_id != self.target.member_id:
            return Cause.DENIED, f"is member {member_id}, not {self.target.member_id} which we follow"
        if self.target.shard_id and shard_id != self.target.shard_id:
            return Cause.DENIED, f"serves shard {shard_id}, not {self.target.shard_id} which we belong to"
        return None

    def _on_asking_line(self, facts: _Facts) -> list[Action]:
        self.heard_ms = facts.now_ms
        line = facts.line
        if not line:  # it keeps us waiting and says so
            self.deadline_ms = facts.now_ms + self.settings.timeout_ms
            return []
        text = line.decode("utf-8", "backslashreplace")
        words = text.split(" ")
        if words[0] == "+FULLRESYNC":
            return self._on_full_resync(words, text, facts)
        if words[0] == "+CONTINUE":
            return self._on_continue(words, text, facts)
        if line.startswith(b"-"):
            code = text[1:].split(" ", 1)[0]
            cause = Cause.NOT_READY if code in _RETRY_CODES else Cause.DENIED
            if code == "NOLEASE":
                cause = Cause.LEASELESS
            return self._failed(cause, f"answered PSYNC with: {text[1:]}", facts.now_ms)
        return self._failed(Cause.PROTOCOL, f"answered PSYNC with {text[:80]!r}", facts.now_ms)

    def _on_full_resync(self, words: list[str], text: str, facts: _Facts) -> list[Action]:
        assert self.target is not None
        offset = _offset(words[2]) if len(words) == 3 else None
        if offset is None or not is_replication_id(words[1]):
            return self._failed(Cause.PROTOCOL, f"answered PSYNC with {text[:120]!r}", facts.now_ms)
        if (
            self.complete
            and self.position is not None
            and self.position.id != words[1]
            and self.target.epoch >= 0
            and self._followed == (self.target.member_id, self.target.epoch)
        ):
            return self._failed(
                Cause.HISTORY_LOST,
                f"began a new history {words[1]} within epoch {self.target.epoch}: it lost its data; "
                f"ours (history {self.position.id} up to {self.position.offset}) is kept",
                facts.now_ms,
            )
        self._offered = Position(words[1], offset)
        self._enter(State.PREPARING, facts.now_ms, self.settings.timeout_ms)
        return []

    def _on_continue(self, words: list[str], text: str, facts: _Facts) -> list[Action]:
        position = self.position
        if position is None or len(words) > 2 or (len(words) == 2 and not is_replication_id(words[1])):
            return self._failed(Cause.PROTOCOL, f"answered PSYNC with {text[:120]!r}", facts.now_ms)
        renamed = len(words) == 2 and words[1] != position.id
        if renamed:
            position = Position(words[1], position.offset)
            self.position = position
        self._go_online(facts.now_ms)
        return [Stream(position, facts.rest, renamed, acknowledge=False)]

    def _on_preparing_line(self, facts: _Facts) -> list[Action]:
        assert self._offered is not None
        self.heard_ms = facts.now_ms
        self.deadline_ms = facts.now_ms + self.settings.timeout_ms
        line = facts.line
        if not line:
            return []
        length_bytes, mark = -1, b""
        if line.startswith(b"$EOF:") and len(line) == 45:
            mark = line[5:]
        elif line.startswith(b"$") and line[1:].isdigit() and len(line) < 20:
            length_bytes = int(line[1:])
        elif line.startswith(b"-"):
            text = line[1:].decode("utf-8", "backslashreplace")
            return self._failed(Cause.NOT_READY, f"could not make its snapshot: {text}", facts.now_ms)
        else:
            return self._failed(Cause.PROTOCOL, f"began its snapshot with {line[:80]!r}", facts.now_ms)
        self.complete = self.keeps_old and self.complete and self.position is not None
        self._enter(State.LOADING, facts.now_ms, self.settings.timeout_ms)
        return [Load(self._offered, length_bytes, mark, facts.rest, keep=self.complete)]

    def _on_loaded(self, facts: _Facts) -> list[Action]:
        position = self._offered
        assert position is not None
        self._offered = None
        self.position = position
        self.complete = True
        self._go_online(facts.now_ms)
        return [Stream(position, facts.rest, renamed=True, acknowledge=True)]

    def _go_online(self, now_ms: int) -> None:
        assert self.target is not None
        self.target = replace(self.target, promote=False)
        self._failures = 0
        self.refused = None
        self.heard_ms = now_ms
        self._followed = (self.target.member_id, self.target.epoch)
        self._enter(State.ONLINE, now_ms, self.settings.timeout_ms)

    def _on_spoiled(self, facts: _Facts) -> list[Action]:
        return self._failed(
            Cause.DAMAGED, f"sent a snapshot that cannot be loaded: {facts.text}", facts.now_ms
        )

    def _on_differs(self, facts: _Facts) -> list[Action]:
        """Our data is worth nothing now. A full sync mends that, once; when the stream brings such a thing
        again soon afterwards, we know less than our primary, and asking again would not help."""
        again = (
            self._differed_ms is not None and facts.now_ms - self._differed_ms < self.settings.differs_rest_ms
        )
        self._differed_ms = facts.now_ms
        self.position = None
        self.complete = False
        text = f"sent something that cannot be applied: {facts.text}"
        self._enter(State.GREETING, facts.now_ms, None)  # not to be dialled again at once
        actions = self._failed(Cause.DAMAGED, text, facts.now_ms)
        if again:
            self._enter(State.RESTING, facts.now_ms, self.settings.differs_rest_ms)
        return actions

    def _on_broken(self, facts: _Facts) -> list[Action]:
        return self._failed(facts.cause, facts.text, facts.now_ms)

    def _on_heard(self, facts: _Facts) -> list[Action]:
        self.heard_ms = facts.now_ms
        self.deadline_ms = facts.now_ms + self.settings.timeout_ms
        return []

    def _on_dial_tick(self, facts: _Facts) -> list[Action]:
        if not self._is_due(facts.now_ms):
            return []
        text = f"did not answer the connection attempt within {self.settings.dial_timeout_ms} ms"
        return self._failed(Cause.UNREACHABLE, text, facts.now_ms)

    def _on_rest_tick(self, facts: _Facts) -> list[Action]:
        return self._dial(facts.now_ms) if self._is_due(facts.now_ms) else []

    def _on_silence_tick(self, facts: _Facts) -> list[Action]:
        if not self._is_due(facts.now_ms):
            return []
        text = f"said nothing for {self.settings.timeout_ms} ms while this node {self.state.value}"
        return self._failed(Cause.SILENT, text, facts.now_ms)

    def _is_due(self, now_ms: int) -> bool:
        return self.deadline_ms is not None and now_ms >= self.deadline_ms

    def _ignore(self, _facts: _Facts) -> list[Action]:
        """An event from a connection or a load that is over by now: shells report late."""
        return []


@dataclass(frozen=True, slots=True)
class _Facts:
    """What came with an event."""

    now_ms: int
    target: Target | None
    line: bytes
    rest: bytes
    cause: Cause
    text: str


def command_bytes(*args: bytes) -> bytes:
    """One command as RESP."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in args)


def _offset(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    offset = int(text)
    return offset if offset <= OFFSET_MAX else None


_READS_LINES = (State.GREETING, State.ASKING, State.PREPARING)

S, E, L = State, Event, Link
TABLE: Mapping[tuple[State, Event], Callable[[Link, _Facts], list[Action]]] = {
    (S.IDLE, E.FOLLOW): L._on_follow,
    (S.IDLE, E.STOP): L._on_stop,
    (S.IDLE, E.CONNECTED): L._ignore,
    (S.IDLE, E.LINE): L._ignore,
    (S.IDLE, E.HEARD): L._ignore,
    (S.IDLE, E.LOADED): L._ignore,
    (S.IDLE, E.SPOILED): L._ignore,
    (S.IDLE, E.BROKEN): L._ignore,
    (S.IDLE, E.TICK): L._ignore,
    (S.RESTING, E.FOLLOW): L._on_follow,
    (S.RESTING, E.STOP): L._on_stop,
    (S.RESTING, E.CONNECTED): L._ignore,
    (S.RESTING, E.LINE): L._ignore,
    (S.RESTING, E.HEARD): L._ignore,
    (S.RESTING, E.LOADED): L._ignore,
    (S.RESTING, E.SPOILED): L._ignore,
    (S.RESTING, E.BROKEN): L._ignore,
    (S.RESTING, E.TICK): L._on_rest_tick,
    (S.DIALING, E.FOLLOW): L._on_follow,
    (S.DIALING, E.STOP): L._on_stop,
    (S.DIALING, E.CONNECTED): L._on_connected,
    (S.DIALING, E.LINE): L._ignore,
    (S.DIALING, E.HEARD): L._ignore,
    (S.DIALING, E.LOADED): L._ignore,
    (S.DIALING, E.SPOILED): L._ignore,
    (S.DIALING, E.BROKEN): L._on_broken,
    (S.DIALING, E.TICK): L._on_dial_tick,
    (S.GREETING, E.FOLLOW): L._on_follow,
    (S.GREETING, E.STOP): L._on_stop,
    (S.GREETING, E.CONNECTED): L._ignore,
    (S.GREETING, E.LINE): L._on_greeting_line,
    (S.GREETING, E.HEARD): L._ignore,
    (S.GREETING, E.LOADED): L._ignore,
    (S.GREETING, E.SPOILED): L._ignore,
    (S.GREETING, E.BROKEN): L._on_broken,
    (S.GREETING, E.TICK): L._on_silence_tick,
    (S.ASKING, E.FOLLOW): L._on_follow,
    (S.ASKING, E.STOP): L._on_stop,
    (S.ASKING, E.CONNECTED): L._ignore,
    (S.ASKING, E.LINE): L._on_asking_line,
    (S.ASKING, E.HEARD): L._ignore,
    (S.ASKING, E.LOADED): L._ignore,
    (S.ASKING, E.SPOILED): L._ignore,
    (S.ASKING, E.BROKEN): L._on_broken,
    (S.ASKING, E.TICK): L._on_silence_tick,
    (S.PREPARING, E.FOLLOW): L._on_follow,
    (S.PREPARING, E.STOP): L._on_stop,
    (S.PREPARING, E.CONNECTED): L._ignore,
    (S.PREPARING, E.LINE): L._on_preparing_line,
    (S.PREPARING, E.HEARD): L._ignore,
    (S.PREPARING, E.LOADED): L._ignore,
    (S.PREPARING, E.SPOILED): L._ignore,
    (S.PREPARING, E.BROKEN): L._on_broken,
    (S.PREPARING, E.TICK): L._on_silence_tick,
    (S.LOADING, E.FOLLOW): L._on_follow,
    (S.LOADING, E.STOP): L._on_stop,
    (S.LOADING, E.CONNECTED): L._ignore,
    (S.LOADING, E.LINE): L._ignore,
    (S.LOADING, E.HEARD): L._on_heard,
    (S.LOADING, E.LOADED): L._on_loaded,
    (S.LOADING, E.SPOILED): L._on_spoiled,
    (S.LOADING, E.BROKEN): L._on_broken,
    (S.LOADING, E.TICK): L._on_silence_tick,
    (S.ONLINE, E.FOLLOW): L._on_follow,
    (S.ONLINE, E.STOP): L._on_stop,
    (S.ONLINE, E.CONNECTED): L._ignore,
    (S.ONLINE, E.LINE): L._ignore,
    (S.ONLINE, E.HEARD): L._on_heard,
    (S.ONLINE, E.LOADED): L._ignore,
    (S.ONLINE, E.SPOILED): L._on_differs,
    (S.ONLINE, E.BROKEN): L._on_broken,
    (S.ONLINE, E.TICK): L._on_silence_tick,
}
