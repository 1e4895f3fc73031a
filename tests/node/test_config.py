"""Parameters: files, command line, CONFIG SET's all-or-nothing, and what is refused where."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import Config, ConfigError, SetError, quote, split_words
from node.manual import manual
from node.parameters import BY_NAME, PARAMETERS, BadValue, Integer, OutputLimit, parse_memory


def write(directory: Path, text: str) -> Path:
    file = directory / "node.conf"
    file.write_text(text)
    return file


def test_defaults_are_legal_and_relations_hold() -> None:
    config = Config.load(None)
    for parameter in PARAMETERS:
        shown = parameter.kind.show(parameter.default)
        assert parameter.kind.parse(shown, parameter.default) == parameter.default, parameter.name
        assert parameter.doc.endswith("."), parameter.name
        if isinstance(parameter.kind, Integer) and parameter.kind.high > 65535:
            assert parameter.unit, parameter.name
    assert config.integer("maxclients") == 10000


def test_file_then_command_line(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "# a comment\n\nport 7001\nMAXMEMORY 1gb\nbind 127.0.0.1 ::1\nsave \"\"\nzone 'rack #4'\n"
        "client-output-buffer-limit normal 1kb 2 3\nclient-output-buffer-limit pubsub 4 5 6\n",
    )
    config = Config.load(file, ["port=7002", "cluster-enabled=yes"])
    assert config.integer("port") == 7002
    assert config.integer("maxmemory") == 1 << 30
    assert config.text("bind") == "127.0.0.1 ::1"
    assert config.text("zone") == "rack #4"
    assert config.flag("cluster-enabled")
    assert config.output_limits()["normal"] == OutputLimit(1024, 2, 3)
    assert config.output_limits()["pubsub"] == OutputLimit(4, 5, 6)
    assert config.output_limits()["slave"].soft_s == 60


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("maxmemroy 1gb", "there is no parameter 'maxmemroy'; did you mean 'maxmemory'?"),
        ("port 70000", "port cannot be '70000': argument must be between 0 and 65535 inclusive"),
        ("port", "'port' has no value"),
        ("maxclients many", "maxclients cannot be 'many': argument couldn't be parsed into an integer"),
        ("maxclients " + "9" * 5000, "couldn't be parsed into an integer"),
        ("maxmemory 1tb", "maxmemory cannot be '1tb': argument must be a memory value"),
        ("cluster-enabled maybe", "cluster-enabled cannot be 'maybe': argument must be 'yes' or 'no'"),
        ('dir "unclosed', "unbalanced quotes"),
        ('dir "a"b', "text follows a closing quote"),
        ("appendonly yes", "appendonly cannot be 'yes': only 'no' is possible"),
        ("enable-debug-command x", "must be one of the following: no, local, yes"),
    ],
)
def test_refusals_name_file_line_and_parameter(tmp_path: Path, line: str, says: str) -> None:
    file = write(tmp_path, f"# first line\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        Config.load(file)
    assert str(caught.value).startswith(f"{file}:2: ")
    assert says in str(caught.value)


def test_refusals_of_the_command_line_and_of_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--set port: write it as name=value"):
        Config.load(None, ["port"])
    with pytest.raises(ConfigError, match="--set prot=1: there is no parameter 'prot'; did you mean 'port'"):
        Config.load(None, ["prot=1"])
    with pytest.raises(ConfigError, match=r"absent\.conf: No such file"):
        Config.load(tmp_path / "absent.conf")
    binary = tmp_path / "binary.conf"
    binary.write_bytes(b"port 1\n\xff")
    with pytest.raises(ConfigError, match="not UTF-8 text \\(byte 7\\)"):
        Config.load(binary)


def test_related_parameters_are_checked_together() -> None:
    with pytest.raises(ConfigError, match=r"lease-ms \(300\) must be at least 2 x probe-interval-ms \(400\)"):
        Config.load(None, ["lease-ms=300"])
    config = Config.load(None)
    with pytest.raises(SetError, match="repl-timeout must be at least 1 x repl-ping-replica-period"):
        config.set_many([("repl-timeout", "5")])
    config.set_many([("repl-timeout", "5"), ("repl-ping-slave-period", "1")])
    assert config.integer("repl-ping-replica-period") == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("100", 100), ("1b", 1), ("1k", 1000), ("1KB", 1024), ("2m", 2_000_000), ("1mb", 1 << 20),
     ("1g", 10**9), ("1Gb", 1 << 30), ("9223372036854775807", (1 << 63) - 1), ("", 0), ("kb", 0), ("000", 0),
     ("9000000000gb", 1 << 63), ("9223372036854775808", 1 << 63), ("9" * 5000, 1 << 63),
     ("0" * 5000 + "1k", 1000)],
)  # fmt: skip
def test_memory_units(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["-1", "1x", "1.5gb", " ", "9" * 5000 + "x", "1 kb", "٣"])
def test_bad_memory(text: str) -> None:
    with pytest.raises(BadValue, match="must be a memory value"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("pairs", "culprit", "reason"),
    [
        ([("timeout", "5"), ("nonsense", "1")], "nonsense", "unknown"),
        ([("timeout", "5"), ("Port", "1")], "Port", "can't set immutable config"),
        ([("timeout", "5"), ("TIMEOUT", "6")], "TIMEOUT", "duplicate parameter"),
        ([("timeout", "5"), ("hz", "x")], "hz", "argument couldn't be parsed into an integer"),
    ],
)
def test_set_changes_all_or_nothing(pairs: list[tuple[str, str]], culprit: str, reason: str) -> None:
    config = Config()
    with pytest.raises(SetError) as caught:
        config.set_many(pairs)
    assert (caught.value.parameter, caught.value.reason) == (culprit, reason)
    assert config.integer("timeout") == 0


def test_a_change_that_cannot_be_applied_is_taken_back() -> None:
    config = Config()
    seen: list[object] = []

    def refuse(value: object) -> None:
        if value == 20000:
            raise ValueError("the system allows 1024 descriptors")

    config.on_change("timeout", seen.append)
    config.on_change("maxclients", refuse)
    with pytest.raises(SetError, match="the system allows 1024 descriptors"):
        config.set_many([("timeout", "7"), ("maxclients", "20000")])
    assert (config.integer("timeout"), config.integer("maxclients")) == (0, 10000)
    assert seen == [0, 7, 0]


def test_values_out_of_reason_are_taken_as_the_nearest_reasonable_one() -> None:
    config = Config()
    config.set_many([("hz", "100000")])
    assert config.shown()["hz"] == "500"
    config.set_many([("hz", "0")])
    assert config.shown()["hz"] == "1"


def test_rewrite_keeps_what_it_did_not_change(tmp_path: Path) -> None:
    file = write(tmp_path, "# mine\nport 7001\ntimeout 10\n\ntimeout 20\nzone a\n")
    config = Config.load(file)
    config.set_many([("timeout", "33"), ("maxmemory", "1mb")])
    config.rewrite()
    assert file.read_text() == (
        "# mine\nport 7001\ntimeout 33\n\nzone a\n\n# Set while running\nmaxmemory 1048576\n"
    )
    again = Config.load(file)
    assert again.shown() == config.shown()
    assert [path.name for path in tmp_path.iterdir()] == ["node.conf"]
    config.set_many([("hz", "20")])
    config.rewrite()
    assert file.read_text().count("# Set while running") == 1


def test_rewrite_without_a_file() -> None:
    with pytest.raises(ConfigError, match="running without a config file"):
        Config().rewrite()


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))))
def test_quoted_words_read_back(words: list[str]) -> None:
    assert split_words(" ".join(map(quote, words))) == words


@given(st.text())
def test_any_line_is_words_or_an_error(line: str) -> None:
    try:
        words = split_words(line)
    except ValueError:
        return
    assert all(isinstance(word, str) for word in words)


def test_quotes_and_escapes() -> None:
    assert split_words(r"""a "b \"c\" \x41\n" 'd "e" \'f' #g""") == ["a", 'b "c" A\n', 'd "e" \'f', "#g"]
    assert split_words("  # only a comment") == []


def test_every_alias_leads_to_its_parameter() -> None:
    assert BY_NAME["repl-ping-slave-period"] is BY_NAME["repl-ping-replica-period"]


def test_the_manual_is_what_the_table_says() -> None:
    assert Path("docs/parameters.md").read_text() == manual(), (
        "run: python -m node.manual > docs/parameters.md"
    )
