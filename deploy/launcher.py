"""Starts the processes of a local cluster, leads them to a serving cluster, watches them, ends them in order.

The shell around two cores: deploy/supervision.py (when a process is started, started again, ended) and
deploy/formation.py (which command goes to whom next). One task per process:

    run
    +- signals            SIGINT, SIGTERM: stop; once more: at once
    +- record             keeps DIR/cluster.json true
    +- logs               keeps the processes' logs short
    +- keep (per process)
       +- watch           waits for its end
       +- greet           waits until it answers

Every process gets a session of its own, so that Ctrl-C at the terminal reaches the launcher only: the order
of an end is the launcher's to keep (router, replicas, primaries), and the terminal would end all at once.
"""

import math
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from chaos.client import Connection, ConnectionLost, NotConnected
from chaos.ports import LOCAL_HOST
from chaos.resp import ErrorReply
from chaos.topology import Address
from deploy.formation import Formation, planned_role
from deploy.logs import LOG_BYTES_MAX, shorten
from deploy.observe import NodeView, observe_all
from deploy.plan import ClusterPlan, ProcessPlan, node_arguments
from deploy.processes import identify
from deploy.record import Record, Started, write_record
from deploy.report import Reporter
from deploy.rows import build_rows
from deploy.spawn import child_environment, describe_exit, grapevine_argv, last_line
from deploy.supervision import Action, Event, Order, State, Supervision

LOOK_MS: Final = 40  # between two looks at all processes while forming
LOOK_PER_PROCESS_MS: Final = (
    5  # a look costs every member four answers; large clusters are looked at less often
)
ASK_MS: Final = 2_000  # for one member to answer four questions; the machine may be busy starting the others
GREET_MS: Final = 50
ROLES_MS: Final = 500  # to find out who is a replica before an ordered end
LOGS_S: Final = 1  # between two looks at the logs' sizes
FORM_MS: Final = 60_000
FORM_PER_PROCESS_MS: Final = 1_000

Argv = Callable[[ClusterPlan, ProcessPlan], list[str]]


class StartFailed(Exception):
    """The cluster did not get ready; the text says why and where to look."""


def process_argv(plan: ClusterPlan, process: ProcessPlan) -> list[str]:
    """The command line of a process of the cluster."""
    return grapevine_argv(node_arguments(plan, process))


def log_path(plan: ClusterPlan, process: ProcessPlan) -> Path:
    return plan.process_directory(process) / "node.log"


class Child:
    """One process of the cluster and what supervises it."""

    def __init__(self, process: ProcessPlan, *, restart: bool) -> None:
        self.plan = process
        self.core = Supervision(restart=restart)
        self.ended = trio.Event()
        # Four kinds of events, each at most a few times per life; a full channel would be a bug of ours.
        self.events, self.arriving = trio.open_memory_channel[Event | None](
            64
        )  # None: the process has exited
        self.process: trio.Process | None = None
        self.greeting = trio.CancelScope()


class Launcher:
    """Runs one local cluster from start to end.

    Args:
        record: what the directory knew before; a new one for a first start.
        restart: start processes again that die.
        log_bytes_max: what the log of a process may have before it begins anew (deploy/logs.py); 0: any.
        argv: the command line of a process.
    """

    def __init__(
        self,
        plan: ClusterPlan,
        record: Record,
        reporter: Reporter,
        *,
        restart: bool,
        log_bytes_max: int = LOG_BYTES_MAX,
        argv: Argv = process_argv,
    ) -> None:
        self.plan = plan
        self.record = record
        self.reporter = reporter
        self._log_bytes_max = log_bytes_max
        self._argv = argv
        self._environment = child_environment()
        self._children = [Child(process, restart=restart) for process in plan.processes()]
        self._changed = trio.Event()  # the record is newer than the file
        self._stop = trio.Event()
        self._stopping = False
        self._stopping_since = 0.0
        self._forming = trio.CancelScope()
        self._failure: str | None = None

    async def run(self) -> None:
        """Returns after everything has been ended in order because somebody asked for it.

        Raises:
            StartFailed: it never got ready; what was started has been ended.
        Cancellation ends the processes too, without the order.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._signals)
            nursery.start_soon(self._keep_record)
            nursery.start_soon(self._keep_logs_short)
            for child in self._children:
                nursery.start_soon(self._keep, child)
                child.events.send_nowait(Event.START)
            formed = False
            with self._forming:
                formed = await self._form()
            if formed:
                await self._stop.wait()
            elif self._stop.is_set():
                self.reporter.note("stopped before it was ready")
            await self._end_all(formed)
            nursery.cancel_scope.cancel("everything has ended")
        self.record = replace(self.record, launcher=None, started=())
        write_record(self.plan.directory, self.record)
        if formed:
            seconds = trio.current_time() - self._stopping_since
            self.reporter.note(f"stopped in {seconds:.1f} s; the data stays in {self.plan.directory}")
        if self._failure is not None:
            raise StartFailed(self._failure)

    async def _signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as arriving:
            task_status.started()
            async for _ in arriving:
                if self._stopping:
                    self.reporter.note("ending everything at once")
                    for child in self._children:
                        if not child.ended.is_set():
                            child.events.send_nowait(Event.STOP)
                            child.events.send_nowait(Event.STOP)  # the second one means: in a hurry
                self._stop.set()
                self._forming.cancel("stop requested")

    async def _keep_record(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            write_record(self.plan.directory, self.record)
            await trio.sleep(0.05)  # one write for all that start together

    async def _keep_logs_short(self) -> None:
        told: set[Path] = set()
        while True:
            await trio.sleep(LOGS_S)
            for child in self._children:
                path = log_path(self.plan, child.plan)
                try:
                    await trio.to_thread.run_sync(shorten, path, self._log_bytes_max)
                except OSError as error:
                    if path not in told:
                        self.reporter.note(f"{path} cannot be shortened, so it grows: {error}")
                    told.add(path)

    def _set_record(self, record: Record) -> None:
        self.record = record
        self._changed.set()

    # ---- one process -------------------------------------------------------------------------------------

    async def _keep(self, child: Child) -> None:
        try:
            async with trio.open_nursery() as nursery:
                deadline = math.inf
                while child.core.state is not State.ENDED:
                    orders: list[Order] = []
                    with trio.move_on_at(deadline) as waiting:
                        event = await child.arriving.receive()
                        orders = self._exited(child) if event is None else child.core.handle(event, _now_ms())
                    if waiting.cancelled_caught:
                        deadline = math.inf
                        orders = child.core.handle(Event.TIMER, _now_ms())
                    for order in orders:
                        if order.action in (Action.ARM_BACKOFF, Action.ARM_KILL):
                            deadline = trio.current_time() + order.timer_ms / 1000
                        elif order.action is Action.DISARM:
                            deadline = math.inf
                        else:
                            await self._perform(child, order.action, nursery)
                nursery.cancel_scope.cancel("ended")
        finally:
            with trio.CancelScope(shield=True):
                await _end_now(child.process)
            child.ended.set()

    async def _perform(self, child: Child, action: Action, nursery: trio.Nursery) -> None:
        if action is Action.SPAWN:
            await self._spawn(child, nursery)
        elif action is Action.TERMINATE and child.process is not None:
            child.process.terminate()
        elif action is Action.KILL and child.process is not None:
            self.reporter.note(f"{child.plan.name} did not end in time and is killed")
            child.process.kill()
        elif action is Action.GIVE_UP and not child.core.is_formed:
            self._failure = self._account(child)
            self._forming.cancel("a process ended early")

    async def _spawn(self, child: Child, nursery: trio.Nursery) -> None:
        plan = child.plan
        path = log_path(self.plan, plan)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            child.process = await trio.lowlevel.open_process(
                self._argv(self.plan, plan),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
            )
        key = identify(child.process.pid)
        if key is not None:  # None: it has ended already, and `watch` will say so
            started = Started(plan.name, plan.kind, plan.port, planned_role(plan), key)
            self._set_record(self.record.with_started(started))
        child.greeting = trio.CancelScope()
        nursery.start_soon(self._watch, child, child.process)
        nursery.start_soon(self._greet, child, child.greeting)

    async def _watch(self, child: Child, process: trio.Process) -> None:
        await process.wait()
        child.greeting.cancel("it has ended")
        await child.events.send(None)

    async def _greet(self, child: Child, scope: trio.CancelScope) -> None:
        """Waits until the process answers; any answer will do, also LOADING."""
        address = Address(LOCAL_HOST, child.plan.port)
        with scope:
            while True:
                try:
                    connection = await Connection.open(address, ASK_MS)
                    try:
                        await connection.request("PING", timeout_ms=ASK_MS)
                    finally:
                        connection.abandon()
                    break
                except (NotConnected, ConnectionLost):
                    await trio.sleep(GREET_MS / 1000)
            if child.core.lives > 1:
                self.reporter.note(
                    f"{child.plan.name} is back (pid {child.process.pid if child.process else 0})"
                )
            await child.events.send(Event.READY)

    def _exited(self, child: Child) -> list[Order]:
        account = self._account(child)
        orders = child.core.exited(_now_ms())
        if child.core.is_formed and not self._stopping:
            wait_ms = next((each.timer_ms for each in orders if each.action is Action.ARM_BACKOFF), None)
            then = (
                "it is not started again"
                if wait_ms is None
                else f"it is started again in {wait_ms / 1000:g} s"
            )
            self.reporter.note(f"{account}: {then}")
        return orders

    def _account(self, child: Child) -> str:
        process = child.process
        status = process.returncode if process is not None else None
        text = f"{child.plan.name} {describe_exit(status or 0)}"
        if status is not None and status > 0:
            path = log_path(self.plan, child.plan)
            text += f": {last_line(path) or 'it said nothing'} (log: {path})"
        return text

    # ---- the cluster -------------------------------------------------------------------------------------

    async def _form(self) -> bool:
        """Leads the processes to a serving cluster. False: it did not work out and `_failure` says why."""
        formation = Formation(self.plan, assign=not self.record.formed)
        addresses = [Address(LOCAL_HOST, child.plan.port) for child in self._children]
        count = len(addresses)
        refusals: dict[str, str] = {}
        waiting_for = ""
        seen: dict[Address, NodeView | str] = {}
        with trio.move_on_after((FORM_MS + count * FORM_PER_PROCESS_MS) / 1000):
            while True:
                seen = await observe_all(addresses, ASK_MS)
                views = {address.port: view for address, view in seen.items() if isinstance(view, NodeView)}
                step = formation.next(views, _now_ms())
                if step.ready:
                    for child in self._children:
                        child.core.formed()
                    self._set_record(replace(self.record, formed=True))
                    self.reporter.ready(build_rows(seen))
                    return True
                waiting_for = step.waiting_for
                self.reporter.progress(f"waiting for {waiting_for}")
                async with trio.open_nursery() as nursery:
                    for command in step.commands:
                        nursery.start_soon(self._send, command.port, command.words, refusals)
                await trio.sleep((LOOK_MS + count * LOOK_PER_PROCESS_MS) / 1000)
        reasons = [view for view in seen.values() if isinstance(view, str)]
        reasons += [f"{command}: {text}" for command, text in refusals.items()]
        why = f" ({reasons[0]})" if reasons else ""
        self._failure = (
            f"the cluster in {self.plan.directory} did not get ready: still waiting for {waiting_for}{why}; "
            f"logs: {self.plan.directory}/*/node.log"
        )
        return False

    async def _send(self, port: int, words: Sequence[str], refusals: dict[str, str]) -> None:
        """Sends one command of the formation.

        A refusal is remembered only: the next look tells what is still due.
        """
        told = f"{' '.join(words)} to port {port}"
        try:
            connection = await Connection.open(Address(LOCAL_HOST, port), ASK_MS)
            try:
                reply = await connection.request(*words, timeout_ms=5 * ASK_MS)
            finally:
                connection.abandon()
        except (NotConnected, ConnectionLost) as error:
            refusals[told] = str(error)
            return
        if isinstance(reply, ErrorReply):
            refusals[told] = reply.text
        else:
            refusals.pop(told, None)

    async def _end_all(self, formed: bool) -> None:
        """Router, then replicas, then primaries; each group has ended before the next is asked to.

        A primary that loses its replica first has nobody who could start an election, and it still has
        somebody to send its last writes to until then.
        """
        self._stopping = True
        self._stopping_since = trio.current_time()
        primaries = set(range(self.plan.port, self.plan.port + self.plan.shards))
        if formed:
            with trio.move_on_after(ROLES_MS / 1000):
                addresses = [Address(LOCAL_HOST, each.port) for each in self.plan.nodes()]
                seen = await observe_all(addresses, ROLES_MS)
                heard = {address.port: view for address, view in seen.items() if isinstance(view, NodeView)}
                primaries = {port for port, view in heard.items() if view.role == "primary"}
        groups = {
            "router": [each for each in self._children if each.plan.kind == "router"],
            "replicas": [
                each
                for each in self._children
                if each.plan.kind == "node" and each.plan.port not in primaries
            ],
            "primaries": [each for each in self._children if each.plan.port in primaries],
        }
        for name, children in groups.items():
            if children:
                self.reporter.progress(f"stopping: {name}")
            for child in children:
                if not child.ended.is_set():
                    child.events.send_nowait(Event.STOP)
            for child in children:
                await child.ended.wait()


def _now_ms() -> int:
    return int(trio.current_time() * 1000)


async def _end_now(process: trio.Process | None) -> None:
    """The way out when the order is lost (we were cancelled, or have a bug): no process stays behind."""
    if process is None or process.returncode is not None:
        return
    process.terminate()
    with trio.move_on_after(2):
        await process.wait()
        return
    process.kill()
    await process.wait()
