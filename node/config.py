"""The configuration of one node: read before start, changed while it runs, written back.

    file (name value ...)  ->  --set name=value  ->  Config  <->  CONFIG GET / SET / REWRITE

Everything unknown or illegal is refused with the parameter's name and where it was said; nothing is
ever half applied. Who must act on a change registers with `on_change`; if that fails, all changes of the
same command are taken back.

What is legal, and what each parameter is for, is the table in `parameters.py`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

from node.parameters import BY_NAME, PARAMETERS, BadValue, Limits, OutputLimits, Parameter, Value

Apply: TypeAlias = Callable[[Value], None]

_REWRITE_MARK: Final = "# Set while running"
_FILE_BYTES_MAX: Final = 1 << 20  # a configuration file of more than 1 MB is some other file
_MUST_EXCEED: Final = (
    # (longer, shorter, at least so many times)
    ("probe-interval-ms", "probe-timeout-ms", 1),
    ("lease-ms", "probe-interval-ms", 2),
    ("repl-timeout", "repl-ping-replica-period", 1),
)


class ConfigError(Exception):
    """The configuration cannot be used. The text names file and line (or option), parameter and reason."""


class SetError(Exception):
    """CONFIG SET cannot do it; nothing has changed. `parameter` is the culprit, as the client wrote it."""

    def __init__(self, parameter: str, reason: str, *, unknown: bool = False) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter
        self.reason = reason
        self.unknown = unknown


class Config:
    """All parameters of a node with their present values."""

    def __init__(self, file: Path | None = None) -> None:
        """Every parameter at its default.

        Args:
            file: where CONFIG REWRITE writes to; None: nowhere.
        """
        self.file = file
        self._values: dict[str, Value] = {parameter.name: parameter.default for parameter in PARAMETERS}
        self._changed: set[str] = set()  # by CONFIG SET, since the file was read or rewritten
        self._appliers: dict[str, list[Apply]] = {}

    @classmethod
    def load(cls, file: Path | None, settings: Sequence[str] = ()) -> Config:
        """Reads a file, then the `name=value` settings of the command line, which win.

        Raises:
            ConfigError: for the first thing wrong.
        """
        config = cls(file)
        if file is not None:
            for number, line in enumerate(_read_lines(file), start=1):
                config._load_line(line, f"{file}:{number}")
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals:
                raise ConfigError(f"--set {setting}: write it as name=value")
            config._load_value(name.strip(), value, f"--set {setting}")
        for longer, shorter, times in _MUST_EXCEED:
            if config.integer(longer) < times * config.integer(shorter):
                raise ConfigError(
                    f"{file or 'configuration'}: {longer} ({config.integer(longer)}) must be at least"
                    f" {times} x {shorter} ({config.integer(shorter)})"
                )
        return config

    # --- reading -------------------------------------------------------------------------------------

    def integer(self, name: str) -> int:
        """A number, in the parameter's unit."""
        value = self._values[name]
        assert isinstance(value, int), name
        return int(value)

    def flag(self, name: str) -> bool:
        """A yes or no."""
        value = self._values[name]
        assert isinstance(value, bool), name
        return value

    def text(self, name: str) -> str:
        """A word or several, as written."""
        value = self._values[name]
        assert isinstance(value, str), name
        return value

    def output_limits(self) -> OutputLimits:
        """client-output-buffer-limit: normal, slave (any replica), pubsub."""
        value = self._values["client-output-buffer-limit"]
        assert isinstance(value, Mapping)
        return value

    def shown(self) -> dict[str, str]:
        """Every name (aliases too) and its value as text."""
        return {
            name: parameter.kind.show(self._values[parameter.name]) for name, parameter in BY_NAME.items()
        }

    # --- changing ------------------------------------------------------------------------------------

    def on_change(self, name: str, apply: Apply, *, now: bool = True) -> None:
        """Calls `apply` with each new value of a parameter, and with the present one unless not `now`.

        `apply` may raise ValueError to refuse a value the system cannot provide; CONFIG SET answers
        its text.
        """
        self._appliers.setdefault(BY_NAME[name].name, []).append(apply)
        if now:
            apply(self._values[BY_NAME[name].name])

    def set_many(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Changes parameters of the running node: all of them or none.

        Raises:
            SetError: unknown, immutable, repeated or illegal; nothing has changed.
        """
        wanted: dict[str, Value] = {}
        spelled: dict[str, str] = {}
        for name, text in pairs:
            parameter = BY_NAME.get(name.lower())
            if parameter is None:
                raise SetError(name, "unknown", unknown=True)
            if not parameter.runtime:
                raise SetError(name, "can't set immutable config")
            if parameter.name in wanted:
                raise SetError(name, "duplicate parameter")
            try:
                wanted[parameter.name] = parameter.kind.parse(text, self._values[parameter.name])
            except BadValue as reason:
                raise SetError(name, str(reason)) from None
            spelled[parameter.name] = name
        self._check_pairs(wanted, spelled)
        before = {name: self._values[name] for name in wanted}
        for name, value in wanted.items():
            try:
                self._apply(name, value)
            except ValueError as reason:
                for undone in reversed(list(wanted)[: list(wanted).index(name) + 1]):
                    self._apply(undone, before[undone])
                raise SetError(spelled[name], str(reason)) from reason
        self._changed |= wanted.keys()

    def rewrite(self) -> None:
        """Writes what CONFIG SET changed into the file; every other line stays as it is.

        The file is replaced atomically: a crash leaves the old one or the new one.

        Raises:
            ConfigError: there is no file.
            OSError: it could not be written.
        """
        if self.file is None:
            raise ConfigError("The server is running without a config file")
        missing = set(self._changed)
        lines: list[str] = []
        for line in _read_lines(self.file):
            words = _words_or_none(line)
            parameter = BY_NAME.get(words[0].lower()) if words else None
            if parameter is None or parameter.name not in self._changed:
                lines.append(line)
            elif parameter.name in missing:  # later lines of the same name are dropped
                missing.discard(parameter.name)
                lines.append(self._line(parameter))
        if missing and _REWRITE_MARK not in lines:
            lines += ["", _REWRITE_MARK]
        lines += [self._line(parameter) for parameter in PARAMETERS if parameter.name in missing]
        _replace_file(self.file, "\n".join(lines) + "\n")
        self._changed.clear()

    # --- inside --------------------------------------------------------------------------------------

    def _apply(self, name: str, value: Value) -> None:
        self._values[name] = value
        for apply in self._appliers.get(name, ()):
            apply(value)

    def _check_pairs(self, wanted: Mapping[str, Value], spelled: Mapping[str, str]) -> None:
        values = {**self._values, **wanted}
        for longer, shorter, times in _MUST_EXCEED:
            if (longer in wanted or shorter in wanted) and cast(int, values[longer]) < times * cast(
                int, values[shorter]
            ):
                culprit = longer if longer in wanted else shorter
                raise SetError(spelled[culprit], f"{longer} must be at least {times} x {shorter}")

    def _load_line(self, line: str, where: str) -> None:
        try:
            words = split_words(line)
        except ValueError as reason:
            raise ConfigError(f"{where}: {reason}") from None
        if words:
            if len(words) == 1:
                raise ConfigError(f"{where}: '{words[0]}' has no value")
            self._load_value(words[0], " ".join(words[1:]), where)

    def _load_value(self, name: str, text: str, where: str) -> None:
        parameter = BY_NAME.get(name.lower())
        if parameter is None:
            close = difflib.get_close_matches(name.lower(), BY_NAME, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ConfigError(f"{where}: there is no parameter '{name}'{hint}")
        try:
            self._values[parameter.name] = parameter.kind.parse(text, self._values[parameter.name])
        except BadValue as reason:
            raise ConfigError(f"{where}: {parameter.name} cannot be '{text}': {reason}") from None

    def _line(self, parameter: Parameter) -> str:
        text = parameter.kind.show(self._values[parameter.name])
        if not isinstance(parameter.kind, Limits) and (text == "" or _needs_quotes(text)):
            text = quote(text)
        return f"{parameter.name} {text}"


def split_words(line: str) -> list[str]:
    """Words of a line of a configuration file; comments and blank lines have none.

    Double quotes know the escapes `\\n \\r \\t \\b \\a \\xHH`, and any other character for itself; single
    quotes only `\\'`. A closing quote must end the word.

    Raises:
        ValueError: a quote is not closed, or text follows a closing quote.
    """
    words: list[str] = []
    at = 0
    while True:
        while at < len(line) and line[at].isspace():
            at += 1
        if at >= len(line) or (line[at] == "#" and not words):
            return words
        word, at = _word(line, at)
        words.append(word)


def quote(text: str) -> str:
    """Text as a double-quoted word that `split_words` reads back."""
    out = ['"']
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char in _ESCAPE_OF:
            out.append("\\" + _ESCAPE_OF[char])
        elif not char.isprintable() and ord(char) < 256:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(char)
    out.append('"')
    return "".join(out)


_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}
_ESCAPE_OF: Final = {char: letter for letter, char in _ESCAPES.items()}


def _word(line: str, at: int) -> tuple[str, int]:
    out: list[str] = []
    while at < len(line) and not line[at].isspace():
        char = line[at]
        if char not in "\"'":
            out.append(char)
            at += 1
            continue
        at = _quoted(line, at, out)
        if at < len(line) and not line[at].isspace():
            raise ValueError("text follows a closing quote")
    return "".join(out), at


def _quoted(line: str, at: int, out: list[str]) -> int:
    mark = line[at]
    at += 1
    while at < len(line):
        char = line[at]
        if char == mark:
            return at + 1
        if char == "\\" and at + 1 < len(line) and (mark == '"' or line[at + 1] == "'"):
            follow = line[at + 1]
            hexits = line[at + 2 : at + 4]
            if follow == "x" and len(hexits) == 2 and all(c in "0123456789abcdefABCDEF" for c in hexits):
                out.append(chr(int(hexits, 16)))
                at += 4
            else:
                out.append(_ESCAPES.get(follow, follow))
                at += 2
            continue
        out.append(char)
        at += 1
    raise ValueError("unbalanced quotes")


def _needs_quotes(text: str) -> bool:
    return any(char in "\"'\\#" or not char.isprintable() for char in text)


def _words_or_none(line: str) -> list[str]:
    try:
        return split_words(line)
    except ValueError:
        return []  # cannot be ours: load would have refused it; keep the line


def _read_lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            data = stream.read(_FILE_BYTES_MAX + 1)
    except OSError as reason:
        raise ConfigError(f"{file}: {reason.strerror}") from reason
    if len(data) > _FILE_BYTES_MAX:
        raise ConfigError(f"{file}: longer than {_FILE_BYTES_MAX} bytes; is this a configuration file?")
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError as reason:
        raise ConfigError(f"{file}: not UTF-8 text (byte {reason.start})") from None


def _replace_file(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with fresh.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
