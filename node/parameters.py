"""The parameters of a node, as a table: name, kind, default, limits, and what each is for.

Names are Redis's where Redis has the parameter, so that `CONFIG GET` and existing files work. Only what
takes effect is listed, and what clients look up on their own (`appendonly`, `save`): those have one
legal value and say why.

`config.py` reads files and changes values; this module only says what is legal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "int | bool | str | OutputLimits"

_UNITS = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1 << 10,
    "m": 1000**2, "mb": 1 << 20,
    "g": 1000**3, "gb": 1 << 30,
}  # fmt: skip
_MEMORY = re.compile(r"0*([0-9]*)([a-z]*)\Z")
_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]{0,18})\Z")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{0,12})?\Z")
INT64_MAX = (1 << 63) - 1
INT64_DIGITS = 19
INT32_MAX = (1 << 31) - 1


class BadValue(ValueError):
    """A value that a parameter cannot take. The text is Redis's where Redis has one."""


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """When a client whose replies pile up is closed: at once, or after some time above `soft_bytes`."""

    hard_bytes: int
    soft_bytes: int
    soft_s: int


# normal, replica (its old name is written), pubsub
OutputLimits: TypeAlias = Mapping[str, OutputLimit]
_CLASSES = {"normal": "normal", "slave": "slave", "replica": "slave", "pubsub": "pubsub"}


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read from text and written back. The base class is plain text."""

    def parse(self, text: str, _before: Value, /) -> Value:
        """Reads a value; `_before` is what the parameter is now (some kinds change only a part).

        Raises:
            BadValue: the text is not a legal value.
        """
        return text

    def show(self, value: Value) -> str:
        """The value as CONFIG GET answers it."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    low: int = 0
    high: int = INT32_MAX
    taken: tuple[int, int] | None = None  # legal values outside are taken as the nearer end

    def parse(self, text: str, _before: Value, /) -> Value:
        if not _INTEGER.match(text) or not -INT64_MAX - 1 <= int(text) <= INT64_MAX:
            raise BadValue("argument couldn't be parsed into an integer")
        return self.check(int(text))

    def check(self, value: int) -> int:
        if not self.low <= value <= self.high:
            raise BadValue(f"argument must be between {self.low} and {self.high} inclusive")
        return value if self.taken is None else max(self.taken[0], min(value, self.taken[1]))


@dataclass(frozen=True, slots=True)
class Memory(Integer):
    high: int = INT64_MAX

    def parse(self, text: str, _before: Value, /) -> Value:
        return self.check(parse_memory(text))


@dataclass(frozen=True, slots=True)
class YesNo(Kind):
    def parse(self, text: str, _before: Value, /) -> Value:
        try:
            return {"yes": True, "no": False}[text.lower()]
        except KeyError:
            raise BadValue("argument must be 'yes' or 'no'") from None

    def show(self, value: Value) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    words: tuple[str, ...] = ()

    def parse(self, text: str, _before: Value, /) -> Value:
        if text.lower() not in self.words:
            raise BadValue(f"argument(s) must be one of the following: {', '.join(self.words)}")
        return text.lower()


@dataclass(frozen=True, slots=True)
class Percentiles(Kind):
    """Percentages between blanks; none is legal."""

    def parse(self, text: str, _before: Value, /) -> Value:
        words = text.split(" ") if text else []
        if not all(map(_DECIMAL.match, words)):
            raise BadValue("Invalid latency-tracking-info-percentiles parameters")
        if any(float(word) > 100 for word in words):
            raise BadValue("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
        return " ".join(f"{float(word):.6f}".rstrip("0").rstrip(".") for word in words)


@dataclass(frozen=True, slots=True)
class Only(Kind):
    """One legal value; `reason` says why no other."""

    word: str = ""
    reason: str = ""

    def parse(self, text: str, _before: Value, /) -> Value:
        if text != self.word:
            raise BadValue(f"only '{self.word}' is possible: {self.reason}")
        return text


@dataclass(frozen=True, slots=True)
class Limits(Kind):
    """`class hard soft seconds`, any number of times; classes not named keep what they have."""

    def parse(self, text: str, before: Value, /) -> Value:
        words = text.split(" ") if text else []  # each blank counts, as with Redis
        if len(words) % 4:
            raise BadValue("Wrong number of arguments in buffer limit configuration.")
        assert isinstance(before, Mapping)
        limits = dict(before)
        for at in range(0, len(words), 4):
            name = _CLASSES.get(words[at].lower())
            if name is None:
                raise BadValue("Invalid client class specified in buffer limit configuration.")
            try:
                hard, soft = parse_memory(words[at + 1]), parse_memory(words[at + 2])
            except BadValue:
                raise BadValue(_LIMIT_TEXT) from None
            if max(hard, soft) > INT64_MAX:
                raise BadValue(_LIMIT_TEXT)
            if not _INTEGER.match(words[at + 3]) or not 0 <= int(words[at + 3]) <= INT32_MAX:
                raise BadValue(_LIMIT_TEXT)
            limits[name] = OutputLimit(hard, soft, int(words[at + 3]))
        return limits

    def show(self, value: Value) -> str:
        assert isinstance(value, Mapping)
        return " ".join(
            f"{name} {limit.hard_bytes} {limit.soft_bytes} {limit.soft_s}" for name, limit in value.items()
        )


_LIMIT_TEXT = "Error in hard, soft or soft_seconds setting in buffer limit configuration."


def parse_memory(text: str) -> int:
    """Bytes from `100`, `1k` (1000), `1kb` (1024), `1m`, `1mb`, `1g`, `1gb`; any case.

    No digits are 0, as Redis has it. What takes more than 63 bits is 2**63, more than any parameter can be.

    Raises:
        BadValue: anything else.
    """
    found = _MEMORY.match(text.lower())
    if found is None or found[2] not in _UNITS:
        raise BadValue("argument must be a memory value")
    if len(found[1]) > INT64_DIGITS:
        return INT64_MAX + 1
    return min(int(found[1] or "0") * _UNITS[found[2]], INT64_MAX + 1)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row.

    Attributes:
        unit: of the number, for people; empty for words.
        runtime: CONFIG SET may change it; otherwise only the file or the command line, before start.
        doc: meaning, formula and trade-off.
        alias: an older name that CONFIG GET and SET know too.
    """

    name: str
    kind: Kind
    default: Value
    doc: str
    unit: str = ""
    runtime: bool = True
    alias: str = ""


_YES_NO = YesNo()
_TEXT = Kind()
_PORT = Integer(0, 65535)

# Of the engine's evictor; a test keeps the two equal.
EVICTION_POLICIES = (
    "noeviction",
    "allkeys-lru",
    "volatile-lru",
    "allkeys-lfu",
    "volatile-lfu",
    "allkeys-random",
    "volatile-random",
    "volatile-ttl",
    "allkeys-s3fifo",
    "volatile-s3fifo",
)

# Sizes up to which a collection stays in its key's own memory.
COLLECTION_LIMITS = (
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "set-max-intset-entries",
    "set-max-listpack-entries",
    "set-max-listpack-value",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
    "list-max-listpack-size",
    "stream-node-max-bytes",
    "stream-node-max-entries",
    "hll-sparse-max-bytes",
)

PARAMETERS = (
    # --- where ---------------------------------------------------------------------------------------
    Parameter(
        "port", _PORT, 6379, runtime=False,
        doc="TCP port for clients. 0: whatever is free.",
    ),
    Parameter(
        "bind", _TEXT, "127.0.0.1", runtime=False,
        doc="Addresses to listen on, separated by blanks. The default is reachable from this machine"
        " only: a cache without passwords has no business on a network unless told so.",
    ),
    Parameter(
        "dir", _TEXT, ".", runtime=False,
        doc="Directory of everything the node writes. One node each.",
    ),
    Parameter(
        "zone", _TEXT, "", runtime=False,
        doc="Failure domain (rack, availability zone) of this node. Voters are spread over zones, so that"
        " losing one does not stop decisions; `grapevine up --zones` puts the copies of a shard into"
        " different ones.",
    ),
    # --- clients -------------------------------------------------------------------------------------
    Parameter(
        "maxclients", Integer(1, 4294967295), 10000, unit="connections",
        doc="More are answered with an error and closed. Each costs a descriptor and, idle, a few KB.",
    ),
    Parameter(
        "timeout", Integer(0), 0, unit="s",
        doc="A client that sends nothing for so long is closed; replicas and subscribers are not. 0: never.",
    ),
    Parameter(
        "tcp-keepalive", Integer(0), 300, unit="s",
        doc="Idle time before the kernel probes whether a peer still exists. Short finds dead peers soon"
        " and costs packets. 0: off. Applies to connections accepted afterwards.",
    ),
    Parameter(
        "tcp-backlog", Integer(0), 511, unit="connections", runtime=False,
        doc="Connections the kernel may hold that we have not accepted yet; capped by net.core.somaxconn.",
    ),
    Parameter(
        "proto-max-bulk-len", Memory(1 << 20), 512 << 20, unit="bytes",
        doc="The longest single argument. Nothing is allocated before the bytes arrive.",
    ),
    Parameter(
        "client-query-buffer-limit", Memory(1 << 20), 1 << 30, unit="bytes",
        doc="Unexecuted input a client may have with us; above it the client is closed.",
    ),
    Parameter(
        "client-output-buffer-limit", Limits(),
        {
            "normal": OutputLimit(0, 0, 0),
            "slave": OutputLimit(256 << 20, 64 << 20, 60),
            "pubsub": OutputLimit(32 << 20, 8 << 20, 60),
        },
        doc="Replies a client may leave unread, by class: hard bytes, soft bytes, seconds above soft."
        " 0 means no limit.",
    ),
    Parameter(
        "look-before-sleep-us", Integer(0, 200), 48, unit="us",
        doc="How long at most the node looks, before it sleeps, whether busy clients have something to say:"
        " rousing it costs them time (docs/turns.md). Less saves processor time, where nodes have to share"
        " it. 0: it sleeps at once.",
    ),
    # --- data ----------------------------------------------------------------------------------------
    Parameter(
        "databases", Integer(1, 16384), 16, runtime=False,
        doc="Number of databases for SELECT. In cluster mode there is one.",
    ),
    Parameter(
        "maxmemory", Memory(0), 0, unit="bytes",
        doc="Bytes that keys and values may take; commands that could need more are refused above it."
        " 0: no limit.",
    ),
    Parameter(
        "maxmemory-policy", Choice(EVICTION_POLICIES), "allkeys-s3fifo",
        doc="Which keys go at maxmemory. volatile-*: only those with an expiry. lru, lfu, random, ttl: as in"
        " Redis, by sampling. s3fifo: what is used once passes through a tenth of the memory, so scans do"
        " not push out what is used again; the best hit ratio in our measurements (docs/eviction.md)."
        " noeviction, Redis's default: refuse writes that could need memory. Nothing goes while maxmemory"
        " is 0.",
    ),
    Parameter(
        "maxmemory-samples", Integer(1, 64), 16,
        doc="Entries looked at to find one to evict. More find colder ones and cost a memory access each.",
    ),
    Parameter(
        "lfu-log-factor", Integer(0, INT32_MAX), 10, unit="uses",
        doc="How many uses an lfu counter's next step takes: about (counter - 5) x this. 10 tells up to a"
        " million uses apart.",
    ),
    Parameter(
        "lfu-decay-time", Integer(0, INT32_MAX), 1, unit="min",
        doc="An lfu counter loses one in so many minutes without use. 0: never.",
    ),
    # Up to these sizes a collection stays packed in its key's memory; every access reads it from the front.
    Parameter(
        "hash-max-listpack-entries", Integer(0, INT64_MAX), 512, unit="fields",
        alias="hash-max-ziplist-entries",
        doc="A hash of more fields becomes a table: some 20 bytes more a field, any field in the same time."
        " Applies when a hash grows.",
    ),
    Parameter(
        "hash-max-listpack-value", Integer(0, INT64_MAX), 64, unit="bytes",
        alias="hash-max-ziplist-value",
        doc="A hash with a longer field or value becomes a table.",
    ),
    Parameter(
        "set-max-intset-entries", Integer(0, INT64_MAX), 512, unit="members",
        doc="A set of integers with more members becomes a table.",
    ),
    Parameter(
        "set-max-listpack-entries", Integer(0, INT64_MAX), 128, unit="members",
        doc="A set with more members, not all of them integers, becomes a table.",
    ),
    Parameter(
        "set-max-listpack-value", Integer(0, INT64_MAX), 64, unit="bytes",
        doc="A set with a longer member becomes a table.",
    ),
    Parameter(
        "zset-max-listpack-entries", Integer(0, INT64_MAX), 128, unit="members",
        alias="zset-max-ziplist-entries",
        doc="A sorted set with more members becomes a table and an index.",
    ),
    Parameter(
        "zset-max-listpack-value", Integer(0, INT64_MAX), 64, unit="bytes",
        alias="zset-max-ziplist-value",
        doc="A sorted set with a longer member becomes a table and an index.",
    ),
    Parameter(
        "list-max-listpack-size", Integer(-INT32_MAX - 1, INT32_MAX), -2, unit="items",
        alias="list-max-ziplist-size",
        doc="The size of a list's chunks: so many items, or -1 to -5 for 4, 8, 16, 32, 64 KiB.",
    ),
    Parameter(
        "stream-node-max-bytes", Memory(0), 4096, unit="bytes",
        doc="The size of a stream's chunks. Approximate trimming drops whole ones. 0: no limit.",
    ),
    Parameter(
        "stream-node-max-entries", Integer(0, INT64_MAX), 100, unit="entries",
        doc="Entries in one chunk of a stream. 0: no limit.",
    ),
    Parameter(
        "hll-sparse-max-bytes", Memory(0), 3000, unit="bytes",
        doc="A HyperLogLog becomes dense (12 KB) when its sparse form would be longer. Long ones save memory"
        " and make PFADD slower.",
    ),
    Parameter(
        "hz", Integer(0, INT32_MAX, taken=(1, 500)), 10, unit="1/s",
        doc="Rounds of background work (active expiry, idle clients) a second. More makes expired keys"
        " leave memory sooner and costs CPU when idle.",
    ),
    Parameter(
        "appendonly", Only(word="no", reason="this version keeps its data in memory only"), "no",
        doc="Present because clients look it up.",
    ),
    Parameter(
        "save", Only(word="", reason="this version keeps its data in memory only"), "",
        doc="Present because clients look it up.",
    ),
    Parameter(
        "enable-debug-command", Choice(("no", "local", "yes")), "no", runtime=False,
        doc="Who may use DEBUG: nobody, connections from this machine, everybody.",
    ),
    # --- observation ---------------------------------------------------------------------------------
    Parameter(
        "slowlog-log-slower-than", Integer(-1, INT64_MAX), 10000, unit="us",
        doc="Calls that take at least so long enter the slow log (SLOWLOG GET). 0: all of them, which costs"
        " several times a fast command's own work. -1: none. From 1000 on, up to sixteen simple commands of a"
        " pipeline are timed together; an entry for them says so.",
    ),
    Parameter(
        "slowlog-max-len", Integer(0, INT64_MAX), 128, unit="calls",
        doc="Length of the slow log; the oldest calls leave. Each takes up to 4 KB of the arguments.",
    ),
    Parameter(
        "latency-monitor-threshold", Integer(0, INT64_MAX), 0, unit="ms",
        doc="Commands that take at least so long become samples of LATENCY HISTORY: the worst of each second."
        " 0: none.",
    ),
    Parameter(
        "latency-tracking", _YES_NO, True,
        doc="Whether each command's calls are counted by duration, for LATENCY HISTOGRAM and INFO"
        " latencystats. Costs about a nanosecond a command and 3 KB for each command in use.",
    ),
    Parameter(
        "latency-tracking-info-percentiles", Percentiles(), "50 99 99.9", unit="%",
        doc="Percentiles that INFO latencystats shows, separated by blanks. Each is known to within an"
        " eighth.",
    ),
    # --- replication ---------------------------------------------------------------------------------
    Parameter(
        "repl-backlog-size", Memory(1), 1 << 20, unit="bytes",
        doc="Stream kept for replicas that were away for a moment. Take write rate in bytes a second x"
        " the longest break that should not cost a full sync. Values under 16 KB count as 16 KB.",
    ),
    Parameter(
        "repl-diskless-load", Choice(("auto", "swapdb", "flush-before-load")), "auto",
        doc="What happens to a replica's old data when a full sync begins. swapdb: it stays, out of sight,"
        " until the new data is whole, and comes back if that is cut off; for that time both need memory."
        " flush-before-load: it goes first, and a sync that is cut off leaves nothing. auto: swapdb where the"
        " shard acknowledges by quorum, whose promise counts on that copy; else flush-before-load.",
    ),
    Parameter(
        "repl-timeout", Integer(1), 60, unit="s",
        doc="Silence after which a replication link counts as broken. Keep it well above"
        " repl-ping-replica-period.",
    ),
    Parameter(
        "repl-ping-replica-period", Integer(1), 10, unit="s", alias="repl-ping-slave-period",
        doc="How often a primary pings its replicas in the stream.",
    ),
    Parameter(
        "min-replicas-to-write", Integer(0), 0, unit="replicas", alias="min-slaves-to-write",
        doc="Writes are refused while fewer replicas than this keep up. 0: never.",
    ),
    Parameter(
        "min-replicas-max-lag", Integer(0), 10, unit="s", alias="min-slaves-max-lag",
        doc="A replica keeps up if it acknowledged within this time. 0 turns min-replicas-to-write off.",
    ),
    Parameter(
        "write-durability", Choice(("async", "quorum")), "async",
        doc="When a write is acknowledged. async: as soon as the primary has executed it; a failover may"
        " lose the last moments. quorum (cluster only): when every member of the shard's in-sync set has it;"
        " a failover loses nothing that was acknowledged, and reads show nothing that could be lost. Costs a"
        " round trip to the replicas for each write (docs/durability.md). The same on all nodes of a shard.",
    ),
    Parameter(
        "write-quorum", Integer(1, 6), 2, unit="copies",
        doc="With write-durability quorum: the in-sync set never shrinks below so many, the primary included;"
        " with fewer, writes are refused (NOREPLICAS). One less than this may fail at a time. 2 with one"
        " replica means: no writes while the replica is away.",
    ),
    Parameter(
        "write-quorum-timeout-ms", Integer(50, 60000), 500, unit="ms",
        doc="With write-durability quorum: a replica that has not acknowledged for so long is left out of the"
        " in-sync set, by vote; until then writes wait for it. Short means short stalls, and votes when a"
        " replica is merely busy.",
    ),
    # --- cluster -------------------------------------------------------------------------------------
    Parameter(
        "cluster-enabled", _YES_NO, False, runtime=False,
        doc="Whether the node is a member of a cluster: slots, gossip, failover, one database.",
    ),
    Parameter(
        "cluster-require-full-coverage", _YES_NO, True,
        doc="Refuse all keyed commands while some slot has no owner; otherwise only those of that slot."
        " cluster_state is `fail` then, and also while a primary of slots is dead and not replaced.",
    ),
    Parameter(
        "cluster-allow-replica-migration", _YES_NO, True,
        doc="Whether this replica may move by itself to a primary of slots that has no replica left.",
    ),
    Parameter(
        "cluster-migration-barrier", Integer(0), 1, unit="replicas",
        doc="A replica moves away only if its primary keeps so many. 0: it may leave it without any.",
    ),
    Parameter(
        "cluster-allow-reads-when-down", _YES_NO, False,
        doc="Answer reads of our own slots even when the cluster is down. They may be stale.",
    ),
    Parameter(
        "cluster-announce-ip", _TEXT, "", runtime=False,
        doc="Address told to clients and members, where it differs from the one we listen on (NAT,"
        " containers). Empty: the first of `bind`.",
    ),
    Parameter(
        "cluster-announce-port", _PORT, 0, runtime=False,
        doc="Port told to clients. 0: `port`.",
    ),
    Parameter(
        "cluster-announce-bus-port", _PORT, 0, runtime=False,
        doc="Gossip port told to members. 0: the one we listen on.",
    ),
    Parameter(
        "cluster-port", _PORT, 0, runtime=False,
        doc="Gossip port, UDP and TCP. 0: `port` + 10000.",
    ),
    Parameter(
        "gossip-key-file", _TEXT, "",
        doc="File with the keys that seal the messages of the cluster bus (AES-GCM), one a line: 32, 48 or 64"
        " hexadecimal digits (`openssl rand -hex 32`), or `none` for plain messages. The first seals, each"
        " opens. Read again on CONFIG SET, even to the same name, and on SIGHUP. Empty: messages are plain.",
    ),
    Parameter(
        "probe-interval-ms", Integer(10, 60000), 400, unit="ms", runtime=False,
        doc="Time between two probes of a random member. Failures are found in about interval + timeout +"
        " suspicion; load is one small packet an interval whatever the size of the cluster.",
    ),
    Parameter(
        "probe-timeout-ms", Integer(5, 60000), 100, unit="ms", runtime=False,
        doc="Time to wait for an answer before others are asked to probe. Take the 99th percentile of"
        " round trips x 3; must be shorter than probe-interval-ms.",
    ),
    Parameter(
        "lease-ms", Integer(100, 600000), 1000, unit="ms", runtime=False,
        doc="A primary that has not heard from a majority of the voters for so long stops serving."
        " A frozen or cut-off primary is replaced only after it: short means quick failover, long means"
        " patience with bad networks. It is renewed after two fifths: below 1000 a pause of half a second may"
        " stop a primary for a round trip. Members may differ, in the middle of a change say. At least 2 x"
        " probe-interval-ms.",
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Parameter] = {
    name: parameter
    for parameter in PARAMETERS
    for name in (parameter.name, parameter.alias)
    if name
}  # fmt: skip
