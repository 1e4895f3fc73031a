"""The `grapevine` command.

`grapevine node` is a process of the cluster and starts hundreds of times in a large one, so nothing but
argparse is imported before it is clear which command was meant: a node must not carry the launcher's
libraries.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from deploy.screen import Screen

DIRECTORY: Final = Path(".cluster")

# Commands that belong to another room: it parses their options and prints their --help.
OTHER_ROOMS: Final = {
    "node": "run one cache process",
    "router": "run a router: one stable address for the whole cluster",
    "chaos": "hurt a running cluster and check that it keeps its promises",
    "bench": "measure a stand-alone node beside redis-server and memcached",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is a --help away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _bytes(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes")
    return int(text)


def build_parser() -> Parser:
    parser = Parser(
        prog="grapevine",
        description="A distributed, self-healing in-memory cache cluster that Redis clients use unmodified.",
        epilog="grapevine COMMAND --help tells about one command.",
    )
    parser.add_argument("--version", action="store_true", help="show the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    up = commands.add_parser(
        "up",
        help="start a cluster on this machine and look after it",
        description="Starts a cluster on this machine, each node a process of its own. Shows it as a table "
        "when every slot is served and every replica is in sync, starts processes again that die, and stops "
        "everything in order on Ctrl-C. Started again on the same --dir, the cluster comes back as it was.",
    )
    up.add_argument("--shards", type=int, metavar="N", help="number of shards (default: 3)")
    up.add_argument("--replicas", type=int, metavar="N", help="replicas of each shard (default: 1)")
    up.add_argument(
        "--port", type=int, metavar="P", help="port of the first node; the others follow (default: 7000)"
    )
    up.add_argument(
        "--dir", type=Path, default=DIRECTORY, metavar="DIR", dest="directory",
        help="where the cluster keeps state and logs (default: %(default)s)",
    )  # fmt: skip
    router = up.add_mutually_exclusive_group()
    router.add_argument(
        "--router-port",
        type=_router_port,
        metavar="P",
        help="port of the router (default: 6379 or the next free one)",
    )
    router.add_argument("--no-router", action="store_const", const=0, dest="router_port", help="no router")
    up.add_argument(
        "--detach", action="store_true", help="go to the background and return when the cluster is ready"
    )
    up.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a parameter of every process (docs/parameters.md), kept for the next start",
    )  # fmt: skip
    up.add_argument(
        "--zones", type=_zones, default=(), metavar="A,B,...",
        help="failure domains to spread the processes over; the copies of a shard go to different ones",
    )  # fmt: skip
    up.add_argument("--no-restart", action="store_true", help="leave a process dead that dies")
    up.add_argument(
        "--log-bytes-max",
        type=_bytes,
        metavar="N",
        help="begin a process's log anew beyond this size, and keep one old file; 0: never (default: 64 MiB)",
    )

    down = commands.add_parser("down", help="stop the cluster of a directory, in order; its data stays")
    down.add_argument(
        "--dir", type=Path, default=DIRECTORY, metavar="DIR", dest="directory",
        help="the cluster's directory (default: %(default)s)",
    )  # fmt: skip

    status = commands.add_parser("status", help="show the members of a running cluster")
    status.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="address of any member (default: %(default)s)"
    )
    status.add_argument(
        "--port", type=int, default=7000, metavar="P", help="port of any member (default: %(default)s)"
    )
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument(
        "--failovers", action="store_true", help="show the elections that the members tell of instead"
    )

    for name, text in OTHER_ROOMS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def _zones(text: str) -> tuple[str, ...]:
    return tuple(zone.strip() for zone in text.split(","))


def _router_port(text: str) -> int:
    """A port for the router. 0 means none inside the launcher, so nobody may say it here by accident."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in OTHER_ROOMS:
        return _other_room(words[0], words[1:])
    parser = build_parser()
    options = parser.parse_args(words)
    if options.version:
        from node.version import GRAPEVINE_VERSION

        print(f"grapevine {GRAPEVINE_VERSION}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    return _command(options)


def _other_room(name: str, words: list[str]) -> int:
    if name == "node":
        from node.server import main as node_main

        return node_main(words)
    if name == "router":
        from router.server import main as router_main

        return router_main(words)
    if name == "chaos":
        from chaos.cli import main as chaos_main

        return chaos_main(words)
    return _bench(words)


def _bench(words: list[str]) -> int:
    if words[:1] == ["compare"]:
        from bench.compare import main as compare_main

        return compare_main(words[1:])
    if words[:1] == ["all"]:
        from bench.suite import main as suite_main

        return suite_main(words[1:])
    if words[:1] == ["losing"]:
        from bench.losing import main as losing_main

        return losing_main(words[1:])
    if words not in ([], ["--help"], ["-h"]):
        print(f"grapevine bench: {words[0]} is none of all, compare and losing", file=sys.stderr)
        return 2
    print("grapevine bench all      everything that docs/results.md shows; --help lists its sections")
    print("grapevine bench compare  GET and SET, with what you choose; --help lists the options")
    print(
        "grapevine bench losing   what others wait while ten million members are deleted, expired, replaced"
    )
    return 0 if words else 2


def _command(options: argparse.Namespace) -> int:
    from deploy.screen import Screen

    if options.command == "up":
        from deploy.up import Wish, up

        directory: Path = options.directory.absolute()
        farewell = (
            f"stop it  grapevine down --dir {options.directory}" if options.detach else "stop it  Ctrl-C"
        )
        wish = Wish(
            directory, options.shards, options.replicas, options.port, options.router_port,
            settings=tuple(options.settings), zones=options.zones, restart=not options.no_restart,
            log_bytes_max=options.log_bytes_max,
        )  # fmt: skip
        return _closing(Screen(farewell), lambda screen: up(wish, screen, detach=options.detach))
    if options.command == "down":
        from deploy.down import down

        return _closing(Screen(), lambda screen: down(options.directory.absolute(), screen))
    from chaos.topology import Address
    from deploy.status import failovers, status

    address = Address(options.host, options.port)
    show = failovers if options.failovers else status
    return _closing(Screen(), lambda screen: show(address, screen, as_json=options.json))


def _closing(screen: Screen, work: Callable[[Screen], int]) -> int:
    """Runs `work`, and leaves no progress line behind however it ends."""
    try:
        return work(screen)
    except KeyboardInterrupt:
        return 130
    finally:
        screen.quiet()


if __name__ == "__main__":
    sys.exit(main())
