"""The supervisor of a search: it starts the workers, watches and replaces them, and displays all of them at once.

It loads no torch, reads no study and trains nothing: the workers run its own command line and send their progress. It
writes to the database only what a dead worker cannot: how it died, or that its candidate exceeded the time limit.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from queue import Empty
from typing import TYPE_CHECKING, Any

import click

from hadnas.errors import StudyError
from hadnas.search.progress import Progress
from hadnas.shell.progress import SearchDisplay, clock
from hadnas.shell.workers.link import LEAVE, SHOW
from hadnas.shell.workers.process import Failure, Messages, Starter, WorkerProcess
from hadnas.signals import interrupted_by

if TYPE_CHECKING:
    from hadnas.store.database import Database

TICK = 0.2
"""Seconds between two looks at the workers."""

LEAST_LIMIT, TIMES_LONGEST = 600.0, 10.0
"""The time limit of a candidate by default: ten times the longest evaluation of the study, at least ten minutes."""

INTERRUPT_SECONDS = 60.0
"""Seconds in which interrupted workers give their candidates back before they are killed."""

INTERRUPTED = 130
"""The exit status after Ctrl-C, SIGTERM or SIGHUP; a worker that gets one of its own, as from a system that runs out of
memory, is replaced."""

DEATHS = 2
"""Deaths in a row, for each worker, after which the search ends: its candidates are refused after as many."""


class Supervisor:
    """Runs workers, which find their `Link` in the environment.

    start: starts one
    time_limit: seconds that a candidate may take, or None: by the study's own evaluations
    timeout: seconds after which no further training starts, or None
    home: the folder of the studies, as the user named it
    """

    def __init__(
        self,
        start: Starter,
        workers: int,
        *,
        time_limit: float | None,
        timeout: float | None,
        home: str | None,
    ) -> None:
        self.start, self.workers, self.home = start, workers, home
        self.time_limit, self.timeout = time_limit, timeout
        self.display, self.begun = SearchDisplay(), time.monotonic()
        self.messages: Messages = Messages()
        self.processes: list[WorkerProcess] = []
        self.waiting = [*range(1, workers)]  # places whose workers start when the first has set up the study
        self.started = self.deaths = 0
        self.data_shown = False
        self.reason = ""  # why the search has ended

    def run(self) -> None:
        """Supervise until all workers have ended. Raises Failure if the search ends by an error, or by Ctrl-C."""
        with ExitStack() as self.showing, interrupted_by(signal.SIGTERM, signal.SIGHUP):
            self.showing.enter_context(self.display.bar)
            try:
                self._start(0)
                while self.processes:
                    self._look()
            except KeyboardInterrupt:
                self._stop()
                found = [process.failure for process in self.processes if process.failure]
                raise found[0] if found else Failure("interrupted", INTERRUPTED) from None
            except BaseException:
                self._stop()
                raise

    def _start(self, place: int) -> None:
        left = None if self.timeout is None else max(0.0, self.timeout - (time.monotonic() - self.begun))
        width = self.display.console.width
        link = {"place": place, "workers": self.workers, "first": not self.started, "timeout": left, "width": width}
        self.started += 1
        self.processes.append(self.start(link, self.messages))

    def _look(self) -> None:
        with suppress(Empty):
            self._take(*self.messages.get(timeout=TICK))
        for process in [*self.processes]:
            if not process.is_alive:
                self._gone(process)
            else:
                self._limit(process)

    def _take(self, process: WorkerProcess, message: dict[str, Any]) -> None:
        match message:
            case {"progress": found}:
                before, now = process.now, Progress(**found)
                if before is None or before.item != now.item:
                    process.since = time.monotonic()
                    if before is not None and before.item:
                        self.deaths = 0
                process.now = now
                self.display(now, process.place)
                if now.label:
                    self._start_others()
            case {"data": text}:
                if not self.data_shown:
                    self.display.console.print("\n".join(map(str.rstrip, text.splitlines())), soft_wrap=True)
                self.data_shown = True
            case {"text": text}:
                self.display.console.print(text, soft_wrap=True)
            case {"printed": text}:
                click.echo(text)
            case {"ended": reason, "elsewhere": elsewhere}:
                process.ended = reason
                if not (elsewhere and self.reason):
                    self.reason = reason
                self.display.leave(process.place)
                self._answer(process)
            case {"failed": [said, status]}:
                process.failure = Failure(said, status)

    def _start_others(self) -> None:
        waiting, self.waiting = self.waiting, []
        for place in waiting:
            self._start(place)

    def _answer(self, process: WorkerProcess) -> None:
        """Let the last worker print the results, and the others leave."""
        if any(other.ended is None for other in self.processes):
            process.answer(LEAVE)
            return
        self.showing.close()
        process.answer(f"{SHOW} {self.reason}")

    def _hear(self, process: WorkerProcess) -> None:
        """Take the last messages of a worker that has ended."""
        process.close()
        while not self.messages.empty():
            self._take(*self.messages.get())

    def _gone(self, process: WorkerProcess) -> None:
        self._hear(process)
        if process.failure is not None and process.failure.status != INTERRUPTED:
            raise process.failure
        self.processes.remove(process)
        if process.ended is None:
            self._replace(process)

    def _replace(self, process: WorkerProcess) -> None:
        """Start another worker in place of a dead one, unless they die one after the other."""
        self.deaths, how = self.deaths + 1, process.how
        at = ""
        if process.now is not None and process.now.item:
            at = f" at {process.now.item}"
            if not process.condemned:
                from hadnas.store.worker import note_death

                with suppress(StudyError), self._database() as database:
                    note_death(database, process.now.study, process.now.item, process.now.worker, how)
        if self.deaths > DEATHS * self.workers:
            said = f"error: {self.deaths} workers in a row died, the last one{at} by {how}, and finished no candidate"
            raise Failure(f"{said}; the same command continues the search", 2)
        why = f"was stopped{at}: {process.condemned}" if process.condemned else f"died{at} by {how}"
        self.display.console.print(f"worker {process.place} {why}; a new one takes its place", soft_wrap=True)
        self._start(process.place)

    def _limit(self, process: WorkerProcess) -> None:
        """Kill a worker whose candidate exceeds the time limit, so that the next worker refuses the candidate."""
        now = process.now
        if now is None or not now.item or process.condemned:
            return
        limit = self.time_limit
        if limit is None and now.longest is not None:
            limit = max(LEAST_LIMIT, TIMES_LONGEST * now.longest)
        if limit is None or time.monotonic() - process.since <= limit:
            return
        from hadnas.store.worker import condemn

        reason = f"it exceeded the time limit of {clock(limit)} (--time-limit)"
        try:
            with self._database() as database:
                if condemn(database, now.study, now.item, now.worker, reason):
                    process.condemned = reason
                    process.kill()
        except StudyError:  # the database is away, and the worker may wait for it: its time begins again
            process.since = time.monotonic()

    @contextmanager
    def _database(self) -> "Iterator[Database]":
        from hadnas.store.database import Database
        from hadnas.store.home import Home

        with closing(Database(Home(self.home).url)) as database:
            yield database

    def _stop(self) -> None:
        """Interrupt all workers, wait until they have given their candidates back, and kill those that do not."""
        try:
            for process in self.processes:
                process.interrupt()
            until = time.monotonic() + INTERRUPT_SECONDS
            while any(p.is_alive for p in self.processes) and time.monotonic() < until:
                with suppress(Empty):
                    process, message = self.messages.get(timeout=TICK)
                    self._take(process, message)
            for process in self.processes:
                self._hear(process)
        finally:  # on a second Ctrl-C, too
            for process in self.processes:
                process.kill()
