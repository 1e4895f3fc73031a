"""Scenes of clients that wait, played on a real server and on a node of ours: all must say the same.

A scene is text, one step a line:

    a> BLPOP k 0        client a sends a command; it waits now
    b: RPUSH k 1 2      client b sends a command and gets its reply
    a<                  client a gets the reply it waited for
"""

from __future__ import annotations

import shlex
from contextlib import ExitStack

from tests.oracle import Server, Wire, decoded
from tests.protocol import request
from tests.waiting import wait_until

DEADLINE_S = 10.0


def _blocked(watcher: Wire) -> int:
    text = decoded(watcher.call(b"INFO", b"clients"))
    data = text.data if hasattr(text, "data") else text
    assert isinstance(data, bytes)
    return int(data.partition(b"blocked_clients:")[2].split()[0])


def play(server: Server, scene: str, resp: int) -> list[tuple[str, bytes]]:
    """Every step that got a reply, with that reply."""
    said: list[tuple[str, bytes]] = []
    with ExitStack() as stack:
        watcher = stack.enter_context(server.connect())
        clients: dict[str, Wire] = {}
        watcher.call(b"FLUSHALL")
        for line in filter(None, map(str.strip, scene.splitlines())):
            name, kind, text = line[0], line[1], line[2:]
            if name not in clients:
                clients[name] = stack.enter_context(server.connect())
                clients[name].call(b"HELLO", b"%d" % resp)
            client = clients[name]
            words = [word.encode() for word in shlex.split(text)]
            if kind == "<":
                said.append((line, client.receive()))
            elif kind == ":":
                said.append((line, client.call(*words)))
            else:
                before = _blocked(watcher)
                client.send(request(words))
                wait_until(
                    lambda before=before: _blocked(watcher) != before, f"{line!r} waits on {server.name}"
                )
    return said
