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
        step_bytes: the snapshot is written in pieces of at most about this size; between two of them the
            clients get their turn, 2 ms when they are busy. 128 KiB take about 0.2 ms: a full sync then moves
            up to 60 MB a second beside busy clients, and costs each of their requests no more than that.
        step_min_bytes: the size of a piece when clients gave their turn back at once. Turns are short then,
            so small pieces move as much, and a request waits for less.
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
    step_bytes: int = 128 << 10
    step_min_bytes: int = 32 << 10
    pending_bytes: int = 1 << 20

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
        if not 0 < self.step_min_bytes <= self.step_bytes:
            raise ValueError(
                f"step_min_bytes {self.step_min_bytes} must not exceed step_bytes {self.step_bytes}"
            )
        if min(self.step_bytes, self.pending_bytes, self.ack_period_ms, self.dial_timeout_ms) <= 0:
            raise ValueError("sizes and periods of replication are positive")
