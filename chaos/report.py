"""A result for people (a table) and for machines (JSON). Pure up to the console that is passed in."""

from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from chaos.client import Outcome
from chaos.scenarios import stutter
from chaos.scenarios.hurt_primary import Fault, Result, RoundResult
from chaos.topology import Address

LOSSES_SHOWN: Final = 20


def as_json(result: Result) -> dict[str, Any]:
    """Everything that was measured, units last in every name."""
    plan = result.plan
    return {
        "scenario": plan.fault.value,
        "freeze_ms": plan.freeze_ms if plan.fault is Fault.FREEZE else None,
        "seed": plan.seed,
        "entry": str(plan.entry),
        "rounds_planned": plan.rounds,
        "rate_per_shard": plan.load.rate,
        "writers_per_shard": plan.load.writers,
        "op_timeout_ms": plan.op_timeout_ms,
        "acknowledged": result.acknowledged,
        "missing": len(result.losses),
        "false_refusals": len(result.false_refusals),
        "unread": result.unread,
        "ended_early": result.ended_early,
        "victim_gap_worst_ms": round(
            max((each.victim_gap.length_ms for each in result.rounds), default=0.0), 1
        ),
        "other_gap_worst_ms": round(
            max((each.other_gap.length_ms for each in result.rounds), default=0.0), 1
        ),
        "rounds": [_round_json(each) for each in result.rounds],
    }


def _round_json(each: RoundResult) -> dict[str, Any]:
    return {
        "round": each.number,
        "victim": str(each.victim),
        "pid": each.pid,
        "slots": each.slot_count,
        "replica_lag_bytes": each.replica_lag_bytes,
        "promoted": str(each.promoted) if each.promoted else None,
        "victim_gap_ms": round(each.victim_gap.length_ms, 1),
        "other_gap_ms": round(each.other_gap.length_ms, 1),
        "healed_ms": None if each.healed_ms is None else round(each.healed_ms, 1),
        "acknowledged": each.counts[Outcome.ACKNOWLEDGED],
        "not_applied": each.counts[Outcome.NOT_APPLIED],
        "unknown": each.counts[Outcome.UNKNOWN],
        "unread": each.unread,
        "missing": [
            {
                "key": loss.write.key.decode(),
                "acknowledged_after_fault_ms": round(loss.write.ended_ms - each.hurt_ms, 1),
                "found": None if loss.found is None else loss.found.decode("utf-8", "replace"),
            }
            for loss in each.losses
        ],
        "false_refusals": len(each.false_refusals),
    }


def print_table(result: Result, console: Console) -> None:
    """The table of rounds, then what was lost and what could not be checked."""
    title = f"{result.plan.fault.value}, seed {result.plan.seed}"
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )  # fits 80 columns
    table.add_column("round", justify="right", no_wrap=True)
    table.add_column("victim", no_wrap=True)
    table.add_column("took\nover", no_wrap=True)
    for name in ("gap\nms", "others\nms", "whole\ns", "acked", "refused", "unknown", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    hosts = {each.victim.host for each in result.rounds}

    def place(address: Address) -> str:
        return str(address.port) if len(hosts) == 1 and address.host in hosts else str(address)

    for each in result.rounds:
        took_over = "nobody" if each.promoted is None else place(each.promoted)
        table.add_row(
            str(each.number),
            place(each.victim),
            "itself" if each.promoted == each.victim else took_over,
            f"{each.victim_gap.length_ms:.0f}",
            f"{each.other_gap.length_ms:.0f}",
            "never" if each.healed_ms is None else f"{each.healed_ms / 1000:.1f}",
            str(each.counts[Outcome.ACKNOWLEDGED]),
            str(each.counts[Outcome.NOT_APPLIED]),
            str(each.counts[Outcome.UNKNOWN]),
            "?" if each.unread else str(len(each.losses)),
        )
    console.print(table)
    hurt_at = {loss.write.key: each.hurt_ms for each in result.rounds for loss in each.losses}
    for loss in result.losses[:LOSSES_SHOWN]:
        when = ""
        if loss.write.key in hurt_at:
            when = f", acknowledged {loss.write.ended_ms - hurt_at[loss.write.key]:+.1f} ms from the fault"
        console.print(
            f"missing: {loss.write.key.decode()}{when}; found {loss.found!r}", highlight=False, markup=False
        )
    if len(result.losses) > LOSSES_SHOWN:
        console.print(f"... and {len(result.losses) - LOSSES_SHOWN} more (--json lists all of a round)")
    if result.false_refusals:
        console.print(
            f"{len(result.false_refusals)} writes were refused as not applied and are there nevertheless"
        )
    if result.unread:
        console.print(f"The last check could not be made: {result.unread}", markup=False, soft_wrap=True)
    if result.ended_early:
        console.print(f"Ended early: {result.ended_early}", markup=False, soft_wrap=True)
    console.print(
        f"{result.acknowledged} writes acknowledged, {len(result.losses)} of them missing afterwards. "
        f"Longest gap in a victim's slots "
        f"{max((each.victim_gap.length_ms for each in result.rounds), default=0.0):.0f} ms, elsewhere "
        f"{max((each.other_gap.length_ms for each in result.rounds), default=0.0):.0f} ms.",
        highlight=False,
        soft_wrap=True,
    )


def stutter_json(result: stutter.Result) -> dict[str, Any]:
    """Everything that was measured, units last in every name."""
    plan = result.plan
    return {
        "scenario": "stutter",
        "seconds": plan.seconds,
        "freeze_ms": plan.freeze_ms,
        "pause_ms": plan.pause_ms,
        "seed": plan.seed,
        "entry": str(plan.entry),
        "freezes": result.freezes,
        "frozen_ms": round(result.frozen_ms, 1),
        "failovers": list(result.failovers),
        "epoch_before": result.epochs[0],
        "epoch_after": result.epochs[1],
        "gap_worst_ms": round(result.gap_ms, 1),
        "acknowledged": result.counts[Outcome.ACKNOWLEDGED],
        "not_applied": result.counts[Outcome.NOT_APPLIED],
        "unknown": result.counts[Outcome.UNKNOWN],
        "missing": len(result.losses),
        "unread": result.unread,
        "ended_early": result.ended_early,
    }


def print_stutter(result: stutter.Result, console: Console) -> None:
    """What happened while members stood still, a line each."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(
        f"stutter, seed {result.plan.seed}: {result.freezes} freezes of up to "
        f"{result.plan.freeze_ms:.0f} ms, {result.frozen_ms / 1000:.1f} s in all, "
        f"within {result.plan.seconds:.0f} s"
    )
    say(
        f"failovers without cause: {len(result.failovers)}; "
        f"epoch {result.epochs[0]} before, {result.epochs[1]} after"
    )
    for text in result.failovers:
        say(f"  {text}")
    say(
        f"{result.counts[Outcome.ACKNOWLEDGED]} writes acknowledged, "
        f"{len(result.losses)} of them missing afterwards, "
        f"{result.counts[Outcome.NOT_APPLIED]} refused, {result.counts[Outcome.UNKNOWN]} unknown. "
        f"Longest gap {result.gap_ms:.0f} ms."
    )
    if result.unread:
        say(f"The last check could not be made: {result.unread}")
    if result.ended_early:
        say(f"Not whole at the end: {result.ended_early}")
