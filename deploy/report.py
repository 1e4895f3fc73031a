"""How a launcher tells what it does: on the screen, or through a pipe when it has left the screen behind.

    launcher in the foreground:   Launcher -> Screen
    detached:                     Launcher -> PipeReporter -> pipe -> relay() -> Screen      until it is ready
                                  Launcher -> LogReporter -> DIR/launcher.log                from then on

Messages in the pipe are JSON objects, one per line: {"progress": text}, {"note": text}, {"ready": rows},
{"failed": text}.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, Protocol

from deploy.rows import Row


class Reporter(Protocol):
    """Where a launcher's news goes."""

    def progress(self, text: str) -> None:
        """What is being waited for just now; each replaces the one before."""

    def note(self, text: str) -> None:
        """Something that happened and stays worth knowing."""

    def ready(self, rows: Sequence[Row]) -> None:
        """The cluster serves."""

    def failed(self, text: str) -> None:
        """The cluster could not be started."""


class PipeReporter:
    """Writes to the process that waits for us to get ready, and to the log what stays worth knowing."""

    def __init__(self, descriptor: int) -> None:
        self._pipe: IO[str] | None = os.fdopen(descriptor, "w")

    def _send(self, message: dict[str, object]) -> None:
        if self._pipe is None:
            return
        try:
            print(json.dumps(message), file=self._pipe, flush=True)
        except BrokenPipeError:  # whoever waited has gone; the cluster lives on without it
            self._pipe = None

    def progress(self, text: str) -> None:
        self._send({"progress": text})

    def note(self, text: str) -> None:
        log(text)
        self._send({"note": text})

    def ready(self, rows: Sequence[Row]) -> None:
        log("the cluster is ready")
        self._send({"ready": [asdict(row) for row in rows]})
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def failed(self, text: str) -> None:
        log(text)
        self._send({"failed": text})


def log(text: str) -> None:
    """A line with the time on standard output, which is the log of a detached launcher."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True, file=sys.stdout)


def relay(descriptor: int, reporter: Reporter) -> bool | None:
    """Passes on what comes through the pipe.

    Returns:
        True: ready. False: it failed, and why has been reported. None: the other end closed without a word.
    """
    with os.fdopen(descriptor) as pipe:
        for line in pipe:
            message = json.loads(line)
            if "progress" in message:
                reporter.progress(message["progress"])
            elif "note" in message:
                reporter.note(message["note"])
            elif "failed" in message:
                reporter.failed(message["failed"])
                return False
            elif "ready" in message:
                reporter.ready([Row(**row) for row in message["ready"]])
                return True
    return None
