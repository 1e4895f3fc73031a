"""What may be set about replication. One frozen record; the names in brackets are Redis's parameters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in ms, sizes in bytes.

    Attributes:
        timeout_ms: silence after which either side gives a link up [repl-timeout]. Must be longer than
            `ping_period_ms`, or a quiet primary would look dead.
        ping_period_ms: a primary writes PING into the stream this often, so that its replicas hear it
            even when nobody writes [repl-ping-replica-period].
        ack_period_ms: a replica says at least this often how far it came. Redis: one second. A shorter
            period makes the lag that INFO shows younger and costs one small packet each.
        dial_timeout_ms: for the TCP connection alone; shorter than `timeout_ms` because a host that does
            not answer a SYN should not delay the next attempt.
        rest_first_ms, rest_max_ms: pause before the next attempt: doubles from the first to the last,
            then multiplied by a random factor in 0.5..1, so that replicas of one primary do not come back
            in step. The first attempt after a link broke waits for nothing.
        differs_rest_ms: pause after the stream brought what we cannot apply for the second time within it: a
            full sync each time would only keep the primary busy.
        backlog_bytes: size of the ring of effects [repl-backlog-size].
        window_bytes: how far the ring may grow for replicas that are slow or in a full sync, so that what
            they need is not overwritten [the hard limit of client-output-buffer-limit replica].
        step_us: the snapshot is written in steps of about so much processor time; between two of them the
            clients get their turn.
        step_share: steps take at most this part of the time while clients are busy (pace.py). A full sync
            then moves some 180 MB a second.
        pending_bytes: a replica whose socket has this much unsent gets no more of the snapshot for now.
    """

    timeout_ms: int = 60_000
    ping_period_ms: int = 10_000
    ack_period_ms: int = 1_000
    dial_timeout_ms: int = 5_000
    rest_first_ms: int = 100
    rest_max_ms: int = 1_000
    differs_rest_ms: int = 60_000
    backlog_bytes: int = 1 << 20
    window_bytes: int = 256 << 20
    step_us: int = 100
    step_share: float = 0.2
    pending_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        if not 0 < self.ping_period_ms < self.timeout_ms:
            raise ValueError(
                f"repl-ping-replica-period ({self.ping_period_ms} ms) must be shorter than "
                f"repl-timeout ({self.timeout_ms} ms)"
            )
        if not 0 < self.rest_first_ms <= self.rest_max_ms:
            raise ValueError(
                f"rest_first_ms {self.rest_first_ms} must not exceed rest_max_ms {self.rest_max_ms}"
            )
        if self.window_bytes < self.backlog_bytes:
            raise ValueError(
                f"the window of a full sync ({self.window_bytes} bytes) must not be smaller than "
                f"repl-backlog-size ({self.backlog_bytes} bytes)"
            )
        if not 0 < self.step_share <= 1:
            raise ValueError(f"step_share {self.step_share} is no share of the time")
        if min(self.step_us, self.pending_bytes, self.ack_period_ms, self.dial_timeout_ms) <= 0:
            raise ValueError("sizes and periods of replication are positive")
