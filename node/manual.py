"""docs/parameters.md, written from the table of parameters, so that the two cannot disagree.

python -m node.manual > docs/parameters.md
"""

from __future__ import annotations

from node.parameters import PARAMETERS, Choice, Integer, Limits, Memory, Only, Parameter, YesNo

_HEAD = """\
# Parameters

A node reads a file (`--config FILE`, one `name value` a line, `#` comments, quotes as in redis.conf), then
`--set name=value`, which wins. What is marked *running* can be changed with `CONFIG SET` and written back
with `CONFIG REWRITE`. Unknown names and illegal values are refused with the place they stand at. Memory is
written `100`, `1k` (1000), `1kb` (1024), `1mb`, `1gb`.

Written from `node/parameters.py` by `python -m node.manual`.
"""


def manual() -> str:
    """The whole document."""
    rows = ["| parameter | default | values | changes |", "|---|---|---|---|"]
    for parameter in PARAMETERS:
        rows.append(
            f"| [`{parameter.name}`](#{parameter.name}) | {_default(parameter)} | {_values(parameter)}"
            f" | {_changes(parameter)} |"
        )
    entries = []
    for parameter in PARAMETERS:
        alias = f" Also known as `{parameter.alias}`." if parameter.alias else ""
        entries.append(f"### {parameter.name}\n\n{parameter.doc}{alias}\n")
    return "\n".join([_HEAD, *rows, "", *entries])


def _default(parameter: Parameter) -> str:
    shown = parameter.kind.show(parameter.default)
    return f"`{shown}`" if shown else "empty"


def _changes(parameter: Parameter) -> str:
    if isinstance(parameter.kind, Only):
        return "never"
    return "running" if parameter.runtime else "at start"


def _values(parameter: Parameter) -> str:
    unit = f" {parameter.unit}" if parameter.unit else ""
    match parameter.kind:
        case Memory(low=low):
            return f"memory, from {low}"
        case Integer(taken=(low, high)):
            return f"{low} to {high}{unit}"
        case Integer(low=low, high=high):
            return f"{low} to {high}{unit}"
        case YesNo():
            return "yes, no"
        case Choice(words=words):
            return ", ".join(words)
        case Only(word=word):
            return f"only `{word}`" if word else "only empty"
        case Limits():
            return "class hard soft seconds, repeated"
    return "text"


if __name__ == "__main__":
    print(manual(), end="")
