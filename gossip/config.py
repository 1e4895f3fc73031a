"""The one configuration of the gossip room: every timing, count and cap, with its unit and what it costs.

The defaults suit processes in one data centre or on one machine. They are cross-checked when the object is
made: a combination that would quietly break a promise (a lease shorter than three renewals, a probe that
cannot finish inside its round) is refused with the numbers that caused it.
"""

from dataclasses import dataclass, fields
from math import ceil, log10


class ConfigError(ValueError):
    """A field, or a pair of fields, that cannot work. The text names field, value and bound."""


@dataclass(frozen=True, slots=True)
class GossipConfig:
    """Timings in ms, sizes in bytes. Fields are named with their unit last.

    Attributes:
        probe_interval_ms: time between two probes of one member. Each member is probed by some other about
            once per interval whatever the cluster's size, so this is the granularity of detection. Halving
            it doubles the idle packets (about 10 a second at 400) and takes about 100 ms off the detection
            of a freeze. A frozen primary is noticed by the voters sooner, since it asks for no lease.
        probe_timeout_ms: wait for a direct answer before asking others to probe. Above the 99th percentile
            of a round trip between busy processes; too low only costs indirect probes.
        indirect_probes: how many others are asked (k). 3 makes one cut link invisible in practice.
        suspicion_rounds: the shortest suspicion, in probe intervals, at 10 members; grows with log10 of the
            members. floor_ms = suspicion_rounds * max(1, log10(n)) * probe_interval_ms. With
            probe_interval_ms it must outlast a pause of `tolerated_pause_ms`.
        suspicion_stretch: longest suspicion as a multiple of the shortest, for an accuser whom nobody
            confirms. A lone accuser is more often wrong than right.
        suspicion_confirmations: independent accusers, beyond the first, that shrink the suspicion to its
            floor.
        tolerated_pause_ms: a process that stands still for this long must not be declared dead by silence.
        awareness_max: upper end of the local health score; our own timeouts stretch up to score + 1 fold.
        stall_ms: a timer that fires later than this means that we stood still, so that silence heard
            meanwhile proves nothing about others.
        gossip_interval_ms: pause between two rounds of pure news while there is news to pass on; no news, no
            packets.
        gossip_fanout: members that get each round of news. More is faster and costs that many packets a
            round.
        retransmit_factor: lambda. Each piece of news leaves this member at most
            ceil(retransmit_factor * log10(n + 1)) times. With 4 and a tenth of the packets lost one member
            in 700 misses a piece (and learns it later); with 6 one in 10,000.
        news_max: pieces of news kept for passing on; the most transmitted ones fall out first.
        exchange_interval_ms: time between two full state exchanges over TCP of one member, up to 32 members;
            grows with n / 32 beyond, up to 40 times, since each exchange costs bytes in proportion to n.
        reconnect_interval_ms: how often a dead member is tried again. Heals partitions in which both sides
            declared the other dead.
        dead_keep_ms: how long a dead or departed member stays listed before it turns into a tombstone.
        forget_ms: how long a forgotten member is refused before it may be learned again (60 s as CLUSTER
            FORGET).
        tombstones_max: bound on remembered dead and forgotten ids; the oldest go first.
        members_max: bound on listed members; claims about more are dropped.
        lease_ms: a primary serves this long after the send time of the last request that a majority granted.
            Bounds stale reads and the outage after a freeze. Renewed after two fifths of it, so that a pause
            of tolerated_pause_ms leaves a tenth: shorter than 1,000 ms, such a pause may stop the primary for
            a round trip.
        lease_margin_ms: the primary ends its lease this much earlier than the voters do: rate drift of two
            clocks over one lease (1,000 ppm of 800 ms is under 1 ms) plus rounding.
        beat_ms: timers that can wait are moved to multiples of this, so that they share wake-ups (beat.py);
            1 leaves them where they are.
        refused_check_ms: least time between two connection checks of one member.
        connect_timeout_ms: patience for a TCP connection.
        round_timeout_ms: patience for one phase of a register round: a few round trips and two disk flushes.
        propose_timeout_ms: patience of `propose` over all its attempts.
        frame_timeout_ms: patience for one TCP frame, and for the next request on an idle connection.
        datagram_bytes_max: largest UDP payload. 1,400 passes Ethernet, tunnels and the tag of an encryption
            layer.
        frame_bytes_max: largest TCP frame.
        connections_max: TCP connections accepted at a time.
        voters_wanted: where automatic growth of the voter set ends; odd, at most 7. 5 survive two failures;
            with more, each decision and each lease renewal costs more packets.
        maintenance_interval_ms: how often the voter set and stray register values are looked after.
        save_interval_ms: least time between two writes of the state file for news that can be relearned.
            Promises and votes are always written before they are answered.
    """

    probe_interval_ms: int = 400
    probe_timeout_ms: int = 100
    indirect_probes: int = 3
    suspicion_rounds: float = 1.5
    suspicion_stretch: float = 4.0
    suspicion_confirmations: int = 3
    tolerated_pause_ms: int = 500
    awareness_max: int = 8
    stall_ms: int = 80
    gossip_interval_ms: int = 100
    gossip_fanout: int = 3
    retransmit_factor: float = 6.0
    news_max: int = 4096
    exchange_interval_ms: int = 30_000
    reconnect_interval_ms: int = 2_000
    dead_keep_ms: int = 3_600_000
    forget_ms: int = 60_000
    tombstones_max: int = 1024
    members_max: int = 8192
    lease_ms: int = 1_000
    lease_margin_ms: int = 10
    beat_ms: int = 1
    refused_check_ms: int = 40
    connect_timeout_ms: int = 500
    round_timeout_ms: int = 300
    propose_timeout_ms: int = 5_000
    frame_timeout_ms: int = 5_000
    datagram_bytes_max: int = 1_400
    frame_bytes_max: int = 1_048_576
    connections_max: int = 256
    voters_wanted: int = 5
    maintenance_interval_ms: int = 400
    save_interval_ms: int = 1_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
                raise ConfigError(f"{field.name} = {value!r}: must be a number of at least 0")
            if value == 0 and field.name not in (
                "indirect_probes",
                "suspicion_confirmations",
                "lease_margin_ms",
            ):
                raise ConfigError(f"{field.name} = 0: must be above 0")
        rules: tuple[tuple[bool, str], ...] = (
            (
                2 * self.probe_timeout_ms <= self.probe_interval_ms,
                f"probe_timeout_ms {self.probe_timeout_ms} must be at most half of probe_interval_ms "
                f"{self.probe_interval_ms}: the indirect probe needs the other half",
            ),
            (
                self.probe_interval_ms + self.suspicion_floor_ms(1)
                >= self.tolerated_pause_ms + self.probe_interval_ms,
                f"suspicion floor {self.suspicion_floor_ms(1)} ms must be at least tolerated_pause_ms "
                f"{self.tolerated_pause_ms}: a pause shorter than that would end in a false death",
            ),
            (
                self.suspicion_stretch >= 1,
                f"suspicion_stretch {self.suspicion_stretch} must be at least 1: the longest suspicion "
                "cannot be shorter than the shortest",
            ),
            (
                self.lease_ms >= 3 * self.lease_margin_ms + 3 * 10,
                f"lease_ms {self.lease_ms} is too short for three renewals and lease_margin_ms"
                f" {self.lease_margin_ms}",
            ),
            (
                self.lease_ms > self.tolerated_pause_ms,
                f"lease_ms {self.lease_ms} must exceed tolerated_pause_ms {self.tolerated_pause_ms}: "
                "else each tolerated pause stops the primary",
            ),
            (
                512 <= self.datagram_bytes_max <= 65_507,
                f"datagram_bytes_max {self.datagram_bytes_max} must be within 512 and 65507",
            ),
            (
                self.frame_bytes_max >= 65_536,
                f"frame_bytes_max {self.frame_bytes_max} must be at least 65536: a state chunk has to fit",
            ),
            (
                self.voters_wanted % 2 == 1 and self.voters_wanted <= 7,
                f"voters_wanted {self.voters_wanted} must be 1, 3, 5 or 7: an even set survives no"
                " more failures than the odd one below",
            ),
            (
                self.round_timeout_ms < self.lease_ms < self.propose_timeout_ms,
                f"round_timeout_ms {self.round_timeout_ms} < lease_ms {self.lease_ms} < propose_timeout_ms "
                f"{self.propose_timeout_ms} must hold: a failover has to outwait a lease within one proposal",
            ),
        )
        for holds, text in rules:
            if not holds:
                raise ConfigError(text)

    @property
    def probe_patience_ms(self) -> int:
        """How long a probe waits for an answer by any way before it accuses: the indirect way is longer."""
        return min(self.probe_interval_ms, self.probe_timeout_ms * 5 // 2)

    def suspicion_floor_ms(self, members: int) -> int:
        """The shortest suspicion in a cluster of `members`, this one included."""
        return int(self.suspicion_rounds * max(1.0, log10(max(1, members))) * self.probe_interval_ms)

    def retransmit_limit(self, members: int) -> int:
        """How often one piece of news leaves this member, in a cluster of `members`: lambda * log10(n +
        1).
        """
        return ceil(self.retransmit_factor * log10(members + 1))
