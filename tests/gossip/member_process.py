"""One member as a process of its own, for tests that freeze or kill it.

    python member_process.py DIRECTORY BUS_PORT JOIN_CLIENT_PORT

Writes its member id as a line once it is bound, then each line it reads is answered by one with the ms its
lease is still valid (negative: over), which shows what it believes right after a pause.
"""

import sys
from pathlib import Path
from random import Random

import trio

from gossip.config import GossipConfig
from gossip.service import SelfMeta, Service


async def main(directory: str, bus_port: int, join_port: int) -> None:
    meta = SelfMeta("127.0.0.1", bus_port - 10_000, bus_port=bus_port)
    service = Service(
        GossipConfig(), meta, Path(directory), Random(bus_port), join=[("127.0.0.1", join_port)]
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        print(service.id, flush=True)
        questions = trio.lowlevel.FdStream(sys.stdin.fileno())
        while await questions.receive_some(100):
            print(service.lease_valid_until_ms() - service.now_ms(), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
