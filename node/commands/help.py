"""HELP of any container command, written from the table itself: it cannot name what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.commands.syntax import Argument, parse
from node.commands.table import CommandSpec
from node.engine.reply import Reply, Status

if TYPE_CHECKING:
    from node.engine.session import Session


def answer_help(session: Session, args: list[bytes]) -> Reply:
    """Handler of `X HELP` for every container X."""
    container = session.engine.registry.get(args[0].decode("ascii"))
    assert container is not None  # it is running
    return [Status(line.encode()) for line in help_lines(container.spec)]


def help_lines(spec: CommandSpec) -> list[str]:
    """A line for the container, then two for each subcommand: its syntax, what it does."""
    lines = [f"{spec.name.upper()} <subcommand> [<argument> ...]. Subcommands:"]
    for sub in sorted(spec.subcommands, key=lambda sub: sub.word):
        words = [sub.word.upper(), *map(written, parse(sub.arguments))]
        lines += [" ".join(words), f"    {sub.summary}"]
    return lines


def written(argument: Argument) -> str:
    """An argument as people write it: `[EX <seconds>]`, `<key> [<key> ...]`."""
    if argument.kind == "pure-token":
        text = argument.token
    elif argument.children:
        between = " | " if argument.kind == "oneof" else " "
        text = between.join(map(written, argument.children))
        if argument.kind == "oneof" and not argument.optional:
            text = f"({text})"
    else:
        text = f"<{argument.name}>"
    if argument.token and argument.kind != "pure-token":
        text = f"{argument.token} {text}"
    if argument.multiple:
        again = f"[{text} ...]" if argument.multiple_token or not argument.children else "..."
        text = f"{text} {again}"
    return f"[{text}]" if argument.optional else text
