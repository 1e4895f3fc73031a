"""probe.c from Python: built once for a run, then driven through its standard input."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bench.load import LoadFailed
from bench.servers import built
from bench.stillness import Span, Stillness, stillness

END_S: Final = 10.0
RUN_S_MAX: Final = 120.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of one kind of request in one phase, in us; `percentiles` by their number as text, up to "100"."""

    count: int
    misses: int
    mean_us: float
    percentiles_us: dict[str, float]


@dataclass(frozen=True, slots=True)
class Phase:
    """What was measured from one line to the next. `stillness`: with witnesses."""

    name: str
    seconds: float
    gets: Latencies
    sets: Latencies
    stillness: Stillness | None = None

    @property
    def requests(self) -> int:
        return self.gets.count + self.sets.count


class Probe:
    """The built program.

    Raises:
        ServerFailed: no C compiler, or it refuses.
    """

    def __init__(self, directory: Path) -> None:
        self._program = built("probe.c", directory)

    def run(self, port: int, **options: int | str | bool) -> Phase:
        """A load of `count` requests, or a `fill`; returns when all are answered.

        Args:
            options: those of probe.c, with underscores.
        Raises:
            LoadFailed: the server refused a request or the load did not end.
        """
        try:
            done = subprocess.run(
                self._words(port, options), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=RUN_S_MAX, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"the load {options} did not end within {RUN_S_MAX:.0f} s") from None
        if done.returncode:
            raise LoadFailed(done.stderr.strip() or f"the probe ended with {done.returncode}")
        return _phase(done.stdout)

    def start(self, port: int, **options: int | str | bool) -> "Running":
        """A load that goes on until it is stopped, in phases."""
        return Running(self._words(port, options))

    def _words(self, port: int, options: dict[str, int | str | bool]) -> list[str]:
        words = [str(self._program), "--port", str(port)]
        for name, value in options.items():
            if value is True:
                words.append(f"--{name.replace('_', '-')}")
            else:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return words


class Running:
    """A load that runs; a context manager that ends it."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def end_phase(self, name: str) -> Phase:
        """What was measured since the phase before ended.

        Raises:
            LoadFailed: the load ended early, or the server refused a request.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = ""
        if self._process.poll() is None:
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise LoadFailed(self._process.stderr.read().strip() or "the probe ended")
        return _phase(line)

    @property
    def process_id(self) -> int:
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _phase(line: str) -> Phase:
    read: dict[str, Any] = json.loads(line)
    if read["errors"]:
        raise LoadFailed(f"the server refused {read['errors']} requests, the first: {read['error']}")
    found = None
    if "slow" in read:
        for what in ("slow", "still"):
            if read[f"{what}_count"] > len(read[what]):
                raise LoadFailed(f"{read[f'{what}_count']} {what} spans in a phase are more than are noted")
        found = stillness(*([Span(*pair) for pair in read[what]] for what in ("slow", "still")))
    return Phase(read["phase"], read["seconds"], Latencies(**read["gets"]), Latencies(**read["sets"]), found)
