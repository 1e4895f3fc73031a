"""What a person at the terminal sees. The only module that draws; rich is imported here and nowhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from deploy.failovers import Told
from deploy.rows import Row

# Without a terminal, progress is worth a line this often; one that repeats the last, less often.
PLAIN_PROGRESS_S: Final = 1.0
PLAIN_REPEAT_S: Final = 15.0


class Screen:
    """Progress on one line while waiting (a line now and then when nobody watches), then tables and text."""

    def __init__(self, farewell: str = "") -> None:
        """`farewell` is the line after the table of a cluster that has become ready."""
        self._farewell = farewell
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._plain_at = -PLAIN_PROGRESS_S
        self._plain_text = ""

    def progress(self, text: str) -> None:
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(escape(text))
                self._status.start()
            else:
                self._status.update(escape(text))
        else:
            now = time.monotonic()
            if now - self._plain_at >= (PLAIN_REPEAT_S if text == self._plain_text else PLAIN_PROGRESS_S):
                self._plain_at, self._plain_text = now, text
                self._console.print(escape(text))

    def note(self, text: str) -> None:
        self._console.print(escape(text))

    def ready(self, rows: Sequence[Row]) -> None:
        self.quiet()
        self.table(rows)
        entry = next((row for row in rows if row.role == "router"), rows[0])
        host, _, port = entry.address.rpartition(":")
        self._console.print(f"shell    redis-cli -c -p {port}", markup=False)
        self._console.print(
            f'Python   from redis.cluster import RedisCluster; r = RedisCluster(host="{host}", port={port})',
            markup=False,
        )
        self._console.print(self._farewell, markup=False)

    def failed(self, text: str) -> None:
        self.quiet()
        self._errors.print(f"[red]grapevine:[/red] {escape(text)}")

    def quiet(self) -> None:
        """Ends the progress line."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def failovers(self, told: Sequence[Told], names: Mapping[str, str]) -> None:
        """One row an election. `names`: addresses by member id."""
        if not told:
            self._console.print("no member tells of an election")
            return
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in ("when", "node", "instead of", "epoch", "took", "outcome"):
            table.add_column(heading, no_wrap=heading != "outcome", overflow="fold")
        for each in told:
            table.add_row(
                time.strftime("%H:%M:%S", time.localtime(each.unix_ms / 1000)),
                str(each.node),
                names.get(each.text("old-primary"), each.text("old-primary")[:8]),
                each.text("new-epoch") if each.ms("new-epoch") else "",
                each.ms("took-ms"),
                escape(each.text("outcome")),
            )
        self._console.print(table)
        for each in told:
            if each.ms("new-epoch"):
                steps = f"waited {each.ms('waited-ms') or 'for nothing'}, voted {each.ms('voted-ms')}"
                story = f"{each.text('reason')}; {steps}; lost: {each.text('lost')}"
                self._console.print(f"epoch {each.text('new-epoch')}: {story}", markup=False)

    def failovers_json(self, told: Sequence[Told]) -> None:
        """The same with everything that was told."""
        print(json.dumps([{"node": str(each.node), **each.account} for each in told], indent=1))

    def table(self, rows: Sequence[Row]) -> None:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("node", "role", "shard", "slots", "address"):
            table.add_column(name, no_wrap=name != "slots")
        table.add_column("pid", justify="right")
        troubled = any(row.state != "ok" for row in rows)
        if troubled:
            table.add_column("state")
        for row in rows:
            cells = [row.node, row.role, str(row.shard or ""), row.slots, row.address, str(row.pid or "")]
            if troubled:
                cells.append(row.state if row.state == "ok" else f"[red]{escape(row.state)}[/red]")
            table.add_row(*cells)
        self._console.print(table)

    def json(self, rows: Sequence[Row], healthy: bool) -> None:
        print(json.dumps({"healthy": healthy, "members": [asdict(row) for row in rows]}, indent=1))
