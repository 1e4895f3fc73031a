"""redis-benchmark's default list, ours beside redis-server, each command at pipeline 1 and 16.

The tests are those that `redis-benchmark` runs when told nothing else, with its value size of 3 bytes and 50
connections; keys, members and elements are drawn from 100,000. What takes elements away (LPOP, RPOP, SPOP,
ZPOPMIN) has as many put there before each run, and LRANGE finds a list that LPUSH filled, both outside the
measurement.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bench.client import Client
from bench.load import Case
from bench.servers import Server

PIPELINES: Final = (1, 16)
CONNECTIONS: Final = 50
VALUE_BYTES: Final = 3
SECONDS: Final = 0.2
REPEATS: Final = 4  # a pair's ratio is off by 6 % on a virtual machine, whatever its length: many short ones
STARTS: Final = 4  # of both servers; each row is measured anew on each of them
_PUSH: Final = "LPUSH mylist xxx"

# Name, the command as redis-benchmark takes it, what fills the key before.
LIST: Final[Sequence[tuple[str, str, str]]] = (
    ("PING_INLINE", "ping_inline", ""),
    ("PING_MBULK", "ping_mbulk", ""),
    ("SET", "set", ""),
    ("GET", "get", ""),
    ("INCR", "incr", ""),
    ("LPUSH", "lpush", ""),
    ("RPUSH", "rpush", ""),
    ("LPOP", "lpop", "lpush"),
    ("RPOP", "rpop", "rpush"),
    ("SADD", "sadd", ""),
    ("HSET", "hset", ""),
    ("SPOP", "spop", "sadd"),
    ("ZADD", "zadd", ""),
    ("ZPOPMIN", "zpopmin", "zadd"),
    ("LRANGE_100", "LRANGE mylist 0 99", _PUSH),
    ("LRANGE_300", "LRANGE mylist 0 299", _PUSH),
    ("LRANGE_500", "LRANGE mylist 0 499", _PUSH),
    ("LRANGE_600", "LRANGE mylist 0 599", _PUSH),
    ("MSET (10 keys)", "mset", ""),
    ("XADD", "XADD mystream * myfield xxx", ""),
)


def cases(servers: Sequence[Server]) -> tuple[list[tuple[str, Case]], list[str]]:
    """What every one of the servers can do, with its name; and the names of what one of them cannot."""
    found: list[tuple[str, Case]] = []
    missing: list[str] = []
    for name, words, before in LIST:
        word = name.split("_", maxsplit=1)[0].split(" ", maxsplit=1)[0].encode()
        if all(_knows(server, word) for server in servers):
            case = Case(words, CONNECTIONS, 1, VALUE_BYTES, before=before)
            found += [(name, replace(case, pipeline=pipeline)) for pipeline in PIPELINES]
        else:
            missing.append(name)
    return found, missing


def _knows(server: Server, word: bytes) -> bool:
    with Client(server.port) as client:
        return client.knows(word)
