"""What clients might send: commands of each family with all their options, right and wrong.

A command is a list of bytes. Times that depend on the moment are either far away or long past, so that
two servers that run a command a millisecond apart still agree.
"""

from __future__ import annotations

from hypothesis import strategies as st

Command = list[bytes]

# Few keys, so that commands meet; the odd ones are empty, binary, and tagged.
KEYS = st.sampled_from([b"a", b"b", b"c", b"", b"\x00\xff\r\n", b"{t}x", b"{t}y"])

NUMBERS = [
    0, 1, -1, 2, 7, 10, 44, 45, 99, 100, 9999, 10000, -9999, (1 << 31) - 1, 1 << 31, -(1 << 31),
    (1 << 32) - 1, 1 << 32, (1 << 53) + 1, (1 << 62), -(1 << 62), (1 << 63) - 2, (1 << 63) - 1, 1 << 63,
    -(1 << 63), -(1 << 63) - 1, (1 << 64) - 1, 1 << 64, 10**30,
]  # fmt: skip
ODD_NUMBERS = [
    b"", b"-", b"+1", b"01", b"-0", b"-01", b" 1", b"1 ", b"1.0", b"0x10", b"1e3", b"one", b"1\x00", b"--1",
    b"\xd9\xa1", b"9" * 200,
]  # fmt: skip
FLOATS = [
    b"0", b"0.0", b"-0", b"-0.0", b"1.5", b"-1.5", b"3.14159265358979", b"0.1", b"0.2", b"1e3", b"1E3",
    b"-2e-3", b"5.0e3", b"1e17", b"1e18", b"123456789.123456789", b"1e-10", b".5", b"5.", b"+5", b"inf",
    b"-inf", b"nan", b"infinity", b"1e309", b"1e400", b"1e4932", b"0x1p3", b" 1", b"1 ", b"1,5", b"1e", b"e1",
    b"1e5000",
]  # fmt: skip

whole = st.sampled_from([b"%d" % number for number in NUMBERS])
small = st.integers(-12, 12).map(lambda number: b"%d" % number)
integers = st.one_of(
    whole, small, st.integers(-(1 << 70), 1 << 70).map(lambda n: b"%d" % n), st.sampled_from(ODD_NUMBERS)
)
floats = st.one_of(
    st.sampled_from(FLOATS), whole, st.floats(-1e6, 1e6).map(lambda number: repr(number).encode()), integers
)
values = st.one_of(
    st.sampled_from([b"", b"hello", b"Hello, World", b"x" * 44, b"x" * 45, b"\x00\x01\xfe\xff", b"\r\n"]),
    st.binary(max_size=24),
    integers,
    floats,
)

# Relative times: none that ends while a test runs.
SECONDS = [
    b"100", b"5000", b"1000000", b"0", b"-1", b"-100", b"9223372036854775", b"9223372036854776",
    b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"9223370241606727",
]  # fmt: skip
MILLISECONDS = [
    b"100000", b"123456789", b"0", b"-1", b"9223372036854775807", b"-9223372036854775808",
    b"9223372036854775808", b"9223370241606727000",
]  # fmt: skip
AT_SECONDS = [
    b"4102444800", b"4102444801", b"9999999999", b"1", b"0", b"-1", b"9223372036854775", b"9223372036854776",
    b"9223372036854775807", b"-9223372036854775808",
]  # fmt: skip
AT_MILLISECONDS = [
    b"4102444800000", b"4102444800001", b"9999999999999", b"1", b"0", b"-1", b"9223372036854775807",
    b"-9223372036854775808",
]  # fmt: skip


def _times(usual: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(ODD_NUMBERS))


seconds, milliseconds = _times(SECONDS), _times(MILLISECONDS)
at_seconds, at_milliseconds = _times(AT_SECONDS), _times(AT_MILLISECONDS)


def cased(word: bytes) -> st.SearchStrategy[bytes]:
    """A word in upper, lower or mixed case."""
    return st.sampled_from([word, word, word.lower(), word.capitalize()])


def words(*parts: bytes | st.SearchStrategy[bytes]) -> st.SearchStrategy[Command]:
    """A command of a fixed shape."""
    fixed = [cased(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*fixed).map(list)


def several(*parts: st.SearchStrategy[bytes], least: int = 0, most: int = 4) -> st.SearchStrategy[Command]:
    """A group repeated: its words one after another."""
    return st.lists(st.tuples(*parts), min_size=least, max_size=most).map(
        lambda groups: [word for group in groups for word in group]
    )


def joined(*parts: st.SearchStrategy[Command]) -> st.SearchStrategy[Command]:
    return st.tuples(*parts).map(lambda pieces: [word for piece in pieces for word in piece])


def options(*choices: st.SearchStrategy[Command], most: int = 3) -> st.SearchStrategy[Command]:
    """Some of the options, in any order, now and then one that contradicts another."""
    return st.lists(st.one_of(*choices), max_size=most).map(
        lambda chosen: [word for choice in chosen for word in choice]
    )


@st.composite
def mangled(draw: st.DrawFn, commands: st.SearchStrategy[Command]) -> Command:
    """Mostly as it is; sometimes a word short or a word long."""
    command = draw(commands)
    match draw(st.integers(0, 19)):
        case 0 if len(command) > 1:
            return command[:-1]
        case 1:
            return [*command, draw(values)]
        case 2 if len(command) > 1:
            at = draw(st.integers(1, len(command) - 1))
            return [*command[:at], draw(values), *command[at:]]
    return command


expirations = st.one_of(
    words(b"EX", seconds),
    words(b"PX", milliseconds),
    words(b"EXAT", at_seconds),
    words(b"PXAT", at_milliseconds),
)
# An offset that SETRANGE refuses or that needs next to nothing: never one that takes half a gigabyte.
offsets = st.one_of(
    st.integers(-3, 60).map(lambda number: b"%d" % number),
    st.sampled_from([b"536870912", b"9223372036854775807", b"-9223372036854775808"]),
    st.sampled_from(ODD_NUMBERS),
)
short_values = st.one_of(st.binary(max_size=12), st.text("abcd", max_size=12).map(str.encode), integers)

string_commands: st.SearchStrategy[Command] = mangled(
    st.one_of(
        words(b"GET", KEYS),
        words(b"SET", KEYS, values),
        joined(
            words(b"SET", KEYS, values),
            options(words(b"NX"), words(b"XX"), words(b"GET"), words(b"KEEPTTL"), expirations),
        ),
        words(b"SETNX", KEYS, values),
        words(b"SETEX", KEYS, seconds, values),
        words(b"PSETEX", KEYS, milliseconds, values),
        words(b"GETSET", KEYS, values),
        words(b"GETDEL", KEYS),
        joined(words(b"GETEX", KEYS), options(expirations, words(b"PERSIST"), most=2)),
        joined(words(b"MGET"), several(KEYS, least=1)),
        joined(words(b"MSET"), several(KEYS, values, least=1)),
        joined(words(b"MSETNX"), several(KEYS, values, least=1, most=2)),
        words(b"APPEND", KEYS, values),
        words(b"STRLEN", KEYS),
        words(b"GETRANGE", KEYS, integers, integers),
        words(b"GETRANGE", KEYS, small, small),
        words(b"SUBSTR", KEYS, small, small),
        words(b"SETRANGE", KEYS, offsets, values),
        words(b"INCR", KEYS),
        words(b"DECR", KEYS),
        words(b"INCRBY", KEYS, integers),
        words(b"DECRBY", KEYS, integers),
        words(b"INCRBYFLOAT", KEYS, floats),
        words(b"SET", KEYS, floats),
        words(b"SET", KEYS, short_values),
        joined(
            words(b"LCS", KEYS, KEYS),
            options(words(b"LEN"), words(b"IDX"), words(b"WITHMATCHLEN"), words(b"MINMATCHLEN", small)),
        ),
    )
)

# Bits: near the ends of short values, of words and of what is allowed, but never half a gigabyte away.
bit_offsets = st.one_of(
    st.integers(-2, 140).map(lambda number: b"%d" % number),
    st.sampled_from([b"4294967296", b"9223372036854775807", b"-9223372036854775808", b"4294967303", b"8192"]),
    st.sampled_from(ODD_NUMBERS),
)
bit_ends = st.one_of(
    st.integers(-40, 40).map(lambda number: b"%d" % number),
    st.integers(-330, 330).map(lambda number: b"%d" % number),
    integers,
)
bit_units = st.sampled_from([b"BIT", b"BYTE", b"bit", b"bYTE", b"", b"bits"])
bit_digits = st.sampled_from([b"0", b"1", b"1", b"0", b"2", b"-1", b"x", b"9223372036854775808"])
bit_values = st.one_of(
    values,
    st.binary(min_size=1, max_size=80),
    st.integers(0, 300).flatmap(lambda size: st.sampled_from([b"\x00", b"\xff", b"\x80", b"\x01"]).map(
        lambda byte: byte * size
    )),
)  # fmt: skip
field_types = st.one_of(
    st.tuples(st.sampled_from("iu"), st.integers(1, 63)).map(lambda pair: f"{pair[0]}{pair[1]}".encode()),
    st.sampled_from([b"u8", b"i8", b"u1", b"i1", b"i64", b"u63", b"u64", b"i65", b"i0", b"u-1", b"x8", b"",
                     b"u", b"I8", b"i08"]),
)  # fmt: skip
field_offsets = st.one_of(bit_offsets, st.integers(0, 20).map(lambda number: b"#%d" % number), st.just(b"#"))
field_steps = st.one_of(
    words(b"GET", field_types, field_offsets),
    words(b"SET", field_types, field_offsets, integers),
    words(b"INCRBY", field_types, field_offsets, integers),
    words(b"INCRBY", field_types, field_offsets, small),
    words(b"OVERFLOW", st.sampled_from([b"WRAP", b"sat", b"FAIL", b"SAT", b"fail", b"none"])),
)

bit_commands: st.SearchStrategy[Command] = mangled(
    st.one_of(
        words(b"SET", KEYS, bit_values),
        words(b"SET", KEYS, bit_values, b"EX", st.just(b"100000")),
        words(b"SETBIT", KEYS, bit_offsets, bit_digits),
        words(b"GETBIT", KEYS, bit_offsets),
        words(b"BITCOUNT", KEYS),
        words(b"BITCOUNT", KEYS, bit_ends, bit_ends),
        words(b"BITCOUNT", KEYS, bit_ends, bit_ends, bit_units),
        words(b"BITPOS", KEYS, bit_digits),
        words(b"BITPOS", KEYS, bit_digits, bit_ends),
        words(b"BITPOS", KEYS, bit_digits, bit_ends, bit_ends),
        words(b"BITPOS", KEYS, bit_digits, bit_ends, bit_ends, bit_units),
        joined(
            words(b"BITOP", st.sampled_from([b"AND", b"or", b"XOR", b"Not", b"NOT"]), KEYS),
            several(KEYS, least=1),
        ),
        words(b"BITOP", b"NOT", KEYS, KEYS),
        joined(words(b"BITFIELD", KEYS), options(field_steps, most=5)),
        joined(words(b"BITFIELD_RO", KEYS), options(field_steps, most=2)),
        joined(words(b"BITFIELD_RO", KEYS), several(st.just(b"GET"), field_types, field_offsets, least=1)),
        words(b"GET", KEYS),
        words(b"DEL", KEYS),
    )
)

databases = st.sampled_from(
    [b"0", b"1", b"2", b"15", b"16", b"-1", b"x", b"99999999999999999999", b"4294967296"]
)
patterns = st.sampled_from(
    [
        b"*",
        b"a",
        b"?",
        b"{t}*",
        b"[ab]",
        b"[^a]",
        b"\\a",
        b"",
        b"*\x00*",
        b"[a-c]",
        b"**",
        b"[",
        b"a*",
        b"nothing",
    ]
)
_not_later = options(words(b"NX"), words(b"XX"), most=2)
_conditions = options(words(b"NX"), words(b"XX"), words(b"GT"), words(b"LT"), most=2)

key_commands: st.SearchStrategy[Command] = mangled(
    st.one_of(
        words(b"SET", KEYS, values),
        joined(words(b"SET", KEYS, values), expirations),
        joined(words(b"DEL"), several(KEYS, least=1)),
        joined(words(b"UNLINK"), several(KEYS, least=1)),
        joined(words(b"EXISTS"), several(KEYS, least=1)),
        joined(words(b"TOUCH"), several(KEYS, least=1)),
        words(b"TYPE", KEYS),
        words(b"TTL", KEYS),
        words(b"PTTL", KEYS),
        words(b"EXPIRETIME", KEYS),
        words(b"PEXPIRETIME", KEYS),
        words(b"PERSIST", KEYS),
        joined(words(b"EXPIRE", KEYS, seconds), _not_later),
        joined(words(b"PEXPIRE", KEYS, milliseconds), _not_later),
        joined(words(b"EXPIREAT", KEYS, at_seconds), _conditions),
        joined(words(b"PEXPIREAT", KEYS, at_milliseconds), _conditions),
        words(b"RENAME", KEYS, KEYS),
        words(b"RENAMENX", KEYS, KEYS),
        joined(words(b"COPY", KEYS, KEYS), options(words(b"REPLACE"), words(b"DB", databases))),
        words(b"MOVE", KEYS, databases),
        words(b"SWAPDB", databases, databases),
        words(b"SELECT", databases),
        words(b"KEYS", patterns),
        words(b"DBSIZE"),
        words(b"RANDOMKEY"),
        joined(words(b"FLUSHDB"), options(words(b"ASYNC"), words(b"SYNC"), words(b"OTHER"), most=2)),
        words(b"FLUSHALL"),
        words(b"OBJECT", st.sampled_from([b"ENCODING", b"refcount", b"IDLETIME", b"nothing"]), KEYS),
        words(b"GET", KEYS),
    )
)

names = st.one_of(
    st.sampled_from([b"", b"me", b"a b", b"a\nb", b"!~", b"\x7f", b"\xff"]), st.binary(max_size=4)
)
_hello_options = options(
    words(b"AUTH", st.sampled_from([b"default", b"other"]), values),
    words(b"SETNAME", names),
    words(b"AUTH"),
    most=2,
)

connection_commands: st.SearchStrategy[Command] = mangled(
    st.one_of(
        words(b"PING"),
        words(b"PING", values),
        words(b"ECHO", values),
        words(b"SELECT", databases),
        joined(words(b"HELLO", st.sampled_from([b"2", b"3", b"3", b"4", b"1", b"x", b""])), _hello_options),
        words(b"HELLO"),
        words(b"AUTH", values),
        words(b"AUTH", st.sampled_from([b"default", b"Default", b"other"]), values),
        words(b"RESET"),
        words(b"CLIENT", b"SETNAME", names),
        words(b"CLIENT", b"GETNAME"),
        words(b"CLIENT", b"NO-EVICT", st.sampled_from([b"on", b"OFF", b"x"])),
        words(b"CLIENT", b"UNPAUSE"),
        words(b"CLIENT", b"PAUSE", st.sampled_from([b"-1", b"x", b"1.5"])),
        words(b"CLIENT", b"PAUSE", b"0", st.sampled_from([b"write", b"ALL", b"x"])),
        words(b"CLIENT", b"REPLY", st.sampled_from([b"on", b"x"])),
        words(b"CLIENT", b"TRACKINGINFO"),
        words(b"CLIENT", b"GETREDIR"),
        words(b"CLIENT", b"UNBLOCK", integers),
        joined(
            words(b"CLIENT", b"LIST"),
            options(
                words(b"ID", st.just(b"999999999")),
                words(b"TYPE", st.sampled_from([b"pubsub", b"x"])),
                most=2,
            ),
        ),
        joined(
            words(b"CLIENT", b"KILL"),
            options(
                words(b"ID", st.sampled_from([b"999999999", b"0", b"-1", b"x"])),
                words(b"ADDR", st.just(b"1.2.3.4:5")),
                words(b"LADDR", st.just(b"1.2.3.4:5")),
                words(b"TYPE", st.sampled_from([b"pubsub", b"nobody"])),
                words(b"USER", st.just(b"nobody")),
                most=2,
            ),
        ),
        words(b"CLIENT", values),
        words(b"CONFIG", b"GET", st.sampled_from([b"maxmemory", b"MAXMEMORY", b"nothing", b"save", b"x*"])),
        words(b"CONFIG", b"SET", st.sampled_from([b"timeout", b"hz", b"nothing"]), integers),
        words(b"CONFIG", b"SET", st.sampled_from([b"maxmemory"]), st.sampled_from([b"-1", b"1x", b"x"])),
        words(
            b"CONFIG", b"SET", b"timeout", b"0", st.sampled_from([b"timeout", b"nothing", b"databases"]), b"0"
        ),
        words(b"COMMAND", b"INFO", st.sampled_from([b"nothing", b"get|x", b"client|"])),
        words(
            b"COMMAND", b"GETKEYS", st.sampled_from([b"get", b"mset", b"nothing", b"ping", b"object"]), KEYS
        ),
        joined(words(b"COMMAND", b"GETKEYSANDFLAGS", b"SET"), several(KEYS, least=1)),
        words(b"MEMORY", b"USAGE", b"nothing"),
        words(
            b"DEBUG",
            b"PROTOCOL",
            st.sampled_from(
                [b"string", b"integer", b"double", b"null", b"array", b"set", b"verbatim", b"true", b"false"]
            ),
        ),
        words(b"INFO", st.just(b"nothing")),
        words(b"SHUTDOWN", st.sampled_from([b"ABORT", b"x"])),
        words(values, values),
        words(b"MULTI"),
        words(b"EXEC"),
        words(b"DISCARD"),
        joined(words(b"WATCH"), several(KEYS, least=1, most=2)),
        words(b"UNWATCH"),
        words(b"SET", KEYS, values),
        words(b"INCR", KEYS),
    )
)
