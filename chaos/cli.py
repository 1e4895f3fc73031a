"""`grapevine chaos SCENARIO`: break a running cluster on purpose and report what clients felt.

Exit status:
    0  every planned round was made and every acknowledged write is there
    1  acknowledged writes are missing, or refused ones are there; stutter: or somebody was replaced
    2  the scenario was refused or could not begin; nothing was done to the cluster
    3  it ended early, or the last check could not be made (what was measured is reported all the same)
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import trio
from rich.console import Console

from chaos.client import ConnectionLost, NotConnected
from chaos.faults.processes import Refused, is_loopback
from chaos.peers import PeerMissing, PeerOptions, redis_cluster
from chaos.report import as_json, print_stutter, print_table, stutter_json
from chaos.scenarios import hurt_primary, stutter
from chaos.scenarios.watch import CannotBegin, NotWhole, Patience
from chaos.sim.cli import main as simulate
from chaos.topology import Address, BadView
from chaos.workloads.writers import Load

Plan = hurt_primary.Plan | stutter.Plan
FREEZE_MS: Final = 3_000.0
EXPECTED = (NotConnected, ConnectionLost, BadView, Refused, CannotBegin, PeerMissing, NotWhole)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grapevine chaos", description=__doc__.splitlines()[0])
    scenarios = parser.add_subparsers(dest="scenario", required=True, metavar="SCENARIO")
    scenarios.add_parser(
        "sim", help="simulated clusters under virtual time, by seed (has options of its own: sim --help)"
    )
    told = (
        "Reports the longest gap without an acknowledged write, in the victim's slots and elsewhere, and the "
        "acknowledged writes that are missing afterwards. Only nodes on this machine's loopback addresses "
        "are touched."
    )
    kill = scenarios.add_parser(
        "kill-primary",
        help="SIGKILL one primary a round while every shard is written to",
        description="Kills one primary a round with SIGKILL while every shard is written to. " + told,
    )
    _add_common(kill)
    _add_rounds(kill)
    kill.add_argument(
        "--restart-limit-s",
        type=float,
        default=20.0,
        help="wait for somebody to restart the victim (%(default)s)",
    )
    freeze = scenarios.add_parser(
        "freeze-primary",
        help="SIGSTOP one primary a round for a while",
        description="Freezes one primary a round (SIGSTOP), and lets it go on after a while (SIGCONT), while "
        "every shard is written to. " + told,
    )
    _add_common(freeze)
    _add_rounds(freeze)
    freeze.add_argument(
        "--for-ms", type=float, default=FREEZE_MS, help="how long it stands still (%(default)s)"
    )
    hand_over = scenarios.add_parser(
        "hand-over",
        help="CLUSTER FAILOVER at one replica a round",
        description="Lets the best replica of one primary a round take over (CLUSTER FAILOVER) while every "
        "shard is written to. " + told,
    )
    _add_common(hand_over)
    _add_rounds(hand_over)
    stand_still = scenarios.add_parser(
        "stutter",
        help="members stand still for moments on a busy machine: nobody may be replaced",
        description="Freezes members for moments, one after the other, while processes beside them keep "
        "every core busy, and counts the failovers: none of them has a cause.",
    )
    _add_common(stand_still)
    stand_still.add_argument("--seconds", type=float, default=60.0, help="how long (%(default)s)")
    stand_still.add_argument("--for-ms", type=float, default=500.0, help="the longest freeze (%(default)s)")
    stand_still.add_argument(
        "--pause-ms", type=float, default=1_000.0, help="between two freezes (%(default)s)"
    )
    stand_still.add_argument(
        "--busy", type=int, help="processes that want a core each (as many as there are cores)"
    )
    return parser


def _add_common(scenario: argparse.ArgumentParser) -> None:
    """What all scenarios are told."""
    where = scenario.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="client port of any node of the cluster")
    where.add_argument(
        "--peer",
        choices=["redis"],
        help="measure a throw-away cluster of redis-server processes (3 shards, 1 replica each) instead",
    )
    scenario.add_argument(
        "--host", default="127.0.0.1", help="its address; must be a loopback address (%(default)s)"
    )
    scenario.add_argument(
        "--seed", type=int, help="chooses the victims; printed first, random when not given"
    )
    scenario.add_argument("--rate", type=float, default=300.0, help="writes a second and shard (%(default)s)")
    scenario.add_argument("--writers", type=int, default=4, help="writers a shard (%(default)s)")
    scenario.add_argument("--value-bytes", type=int, default=64, help="size of a value (%(default)s)")
    scenario.add_argument(
        "--op-timeout-ms", type=float, default=250.0, help="a silent write is unknown after (%(default)s)"
    )
    scenario.add_argument(
        "--whole-limit-s", type=float, default=60.0, help="wait for the cluster to be whole (%(default)s)"
    )
    scenario.add_argument(
        "--peer-node-timeout-ms", type=int, default=15_000, help="with --peer: cluster-node-timeout"
    )
    scenario.add_argument(
        "--json", action="store_true", help="print the result as JSON; progress goes to standard error"
    )


def _add_rounds(scenario: argparse.ArgumentParser) -> None:
    scenario.add_argument("--rounds", type=int, default=5, help="rounds, one primary each (%(default)s)")
    scenario.add_argument(
        "--durability",
        choices=["async", "quorum"],
        default="",
        help="begin only if every node has this write-durability",
    )


def main(argv: Sequence[str]) -> int:
    """Runs `grapevine chaos` with the words after `chaos`; returns the exit status."""
    if argv and argv[0] == "sim":
        return simulate(argv[1:])
    options = build_parser().parse_args(argv)
    progress = Console(stderr=options.json, highlight=False)
    if options.port is not None and not 0 < options.port < 65_536:
        return _refuse(f"--port {options.port}: between 1 and 65535")
    if not is_loopback(options.host):
        return _refuse(
            f"--host {options.host}: faults are injected only into nodes on this machine's loopback addresses"
        )
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    progress.print(f"seed {seed} (repeat this run with --seed {seed})")
    try:
        plan = _plan(options, seed)
        peer = None
        if options.peer:
            timeout_ms = options.peer_node_timeout_ms
            # late enough for the failover to be over (see chaos/peers.py), and then time to come back
            peer = PeerOptions(node_timeout_ms=timeout_ms, restart_after_ms=timeout_ms * 2.0 + 2_000)
            restart_ms = timeout_ms * 2.0 + 22_000
            plan = replace(
                plan, patience=Patience(max(plan.patience.whole_ms, restart_ms + 30_000), restart_ms)
            )
    except ValueError as error:
        return _refuse(str(error))
    refused: list[str] = []
    result = None
    try:
        result = trio.run(_run, plan, peer, progress)
    except* EXPECTED as group:
        refused = [str(error) for error in _leaves(group)]
    except* KeyboardInterrupt:
        refused = ["interrupted"]
    if result is None:
        return _refuse("; ".join(refused))
    if isinstance(result, stutter.Result):
        _tell(options.json, stutter_json(result), lambda: print_stutter(result, progress))
        # an epoch that grew without a failover that we saw: one that was undone between two looks
        bad = bool(result.losses or result.failovers or result.epochs[0] != result.epochs[1])
    else:
        _tell(options.json, as_json(result), lambda: print_table(result, progress))
        bad = bool(result.losses or result.false_refusals)
    if bad:
        return 1
    return 3 if result.ended_early or result.unread else 0


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    """Raises: ValueError: an option is out of its bounds."""
    entry = Address(options.host, options.port or 0)
    load = Load(rate=options.rate, writers=options.writers, value_bytes=options.value_bytes)
    whole_ms = options.whole_limit_s * 1000
    if options.scenario == "stutter":
        return stutter.Plan(
            entry=entry,
            seconds=options.seconds,
            freeze_ms=options.for_ms,
            pause_ms=options.pause_ms,
            busy=options.busy,
            seed=seed,
            load=load,
            patience=Patience(whole_ms, whole_ms),
            op_timeout_ms=max(options.op_timeout_ms, options.for_ms * 4),
        )
    fault = hurt_primary.Fault(options.scenario)
    kills = fault is hurt_primary.Fault.KILL
    return hurt_primary.Plan(
        entry=entry,
        fault=fault,
        rounds=options.rounds,
        seed=seed,
        load=load,
        patience=Patience(whole_ms, options.restart_limit_s * 1000 if kills else whole_ms),
        freeze_ms=options.for_ms if fault is hurt_primary.Fault.FREEZE else FREEZE_MS,
        op_timeout_ms=options.op_timeout_ms,
        durability=options.durability,
    )


def _tell(as_text: bool, values: dict[str, Any], show: Callable[[], None]) -> None:
    if as_text:
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        show()


async def _run(
    plan: Plan, peer: PeerOptions | None, console: Console
) -> hurt_primary.Result | stutter.Result:
    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    async with AsyncExitStack() as stack:
        if peer is not None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="grapevine-peer-"))
            console.print("starting a cluster of redis-server processes")
            addresses = await stack.enter_async_context(redis_cluster(Path(directory), peer))
            plan = replace(plan, entry=addresses[0])
        if isinstance(plan, stutter.Plan):
            return await stutter.run(plan, say)
        return await hurt_primary.run(plan, say)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _refuse(text: str) -> int:
    sys.stderr.write(f"grapevine chaos: {text}\n")
    return 2
