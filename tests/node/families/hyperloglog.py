"""Commands on HyperLogLog sketches; their bytes are compared too."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, mangled
from tests.node.strategies import Command

KEYS = (b"p", b"q", b"r", b"p", b"text")


def _elements(chooser: Chooser) -> Command:
    most = chooser.pick((0, 1, 3, 3, 40, 400))
    first = chooser.number(0, 5000)
    return [b"%d" % (first + number) for number in range(most)]


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 12):
        case 0 | 1 | 2 | 3 | 4:
            return [b"PFADD", key, *_elements(chooser)]
        case 5 | 6:
            return [b"pfcount", *(chooser.pick(KEYS) for _ in range(chooser.number(1, 3)))]
        case 7:
            return [b"PFMERGE", key, *(chooser.pick(KEYS) for _ in range(chooser.number(0, 3)))]
        case 8 | 9:
            return [b"GET", key]
        case 10:
            return [b"PFDEBUG", chooser.pick((b"DECODE", b"ENCODING", b"TODENSE", b"NOSUCH")), key]
        case 11:
            # Bytes of the header. Damage among the registers is not compared: we change nothing then,
            # while Redis keeps what it had added before it came upon the damage.
            return [
                b"SETRANGE",
                key,
                chooser.pick((b"0", b"3", b"5", b"8", b"15")),
                chooser.pick((b"\x00", b"\x7f")),
            ]
        case _:
            return chooser.pick(
                ([b"DEL", key], [b"SET", b"text", b"no sketch"], [b"OBJECT", b"ENCODING", key])
            )


FAMILY = Family(
    name="hyperloglog",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(*([word, key] for key in KEYS[1:] for word in (b"GET", b"PFCOUNT")), [b"DBSIZE"]),
    settings=(
        {b"hll-sparse-max-bytes": b"3000"},
        {b"hll-sparse-max-bytes": b"60"},
        {b"hll-sparse-max-bytes": b"0"},
    ),
)
