"""The thread that writes a study to MLflow, in order: a tracking server that is slow or absent delays no candidate.

The database is the truth. What cannot be written is dropped, and the study is marked as behind; when a candidate
starts, the connection is tried again, at growing intervals, and what MLflow lacks is written from the database.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue

from hadnas.errors import StudyError
from hadnas.search.mirror.restore import OpenMirror
from hadnas.store.health.outage import is_lost
from hadnas.track.failure import STORE_ERRORS, reason_of
from hadnas.track.runs import End

Write = Callable[[OpenMirror], None]

BACKLOG = 20
"""The most candidates that wait to be written; later ones are written from the database."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 600.0
"""Seconds between two attempts to reach MLflow, twice as many after each."""

QUIET_SECONDS = 2.0
"""The longest wait of a timing for a write; one that takes longer waits for a server, and computes nothing."""


class Writer:
    """Writes a study to MLflow from a thread.

    connect: opens the study in MLflow and writes what it lacks; it calls its argument before each
    mark: stores with the study whether MLflow is behind
    lost: what the user reads when MLflow is lost, before the reason
    """

    def __init__(
        self, connect: Callable[[Callable[[str], None]], OpenMirror], mark: Callable[[bool], None], lost: str
    ) -> None:
        self._connect, self._mark, self._lost = connect, mark, lost
        self.is_behind = False
        self._mirror: OpenMirror | None = None
        self._due, self._pause = 0.0, 0.0
        self._slots = threading.Semaphore(BACKLOG)
        self._left_out = threading.Event()  # a candidate for which there was no slot
        self._error: BaseException | None = None  # of this program, not of MLflow
        self._steps: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._free, self._busy, self._over = threading.Event(), threading.Lock(), threading.Event()
        self._free.set()
        threading.Thread(target=self._work, name="MLflow", daemon=True).start()

    def open(self, seconds: float | None) -> None:
        """Open the study in MLflow. A server is waited for at most so many seconds.

        None is for a file, which does not come back by itself: raises what fails.
        """
        if seconds is None:
            self._mirror = self._connect(lambda name: None)
        else:
            self.add(lambda mirror: None, opens=True)
            self.wait(seconds)

    def begin(self, write: Write) -> bool:
        """Queue the first write of a candidate; False if too many candidates wait."""
        if not self._slots.acquire(blocking=False):
            self._left_out.set()
            return False
        self.add(write, opens=True)
        return True

    def add(self, write: Write, *, opens: bool = False, now: bool = False) -> None:
        """Queue a write; one that `opens` first tries to reach MLflow if it was lost, when that is due or `now`."""
        if self._error is not None:
            raise self._error
        if now:
            self._due = 0.0
        self._steps.put(partial(self._do, write, opens=opens))

    def ended(self) -> None:
        """The last write of a candidate is queued."""
        self._steps.put(self._slots.release)

    def wait(self, seconds: float | None) -> bool:
        """Wait until all that is queued is written or dropped; False if it takes longer."""
        done = threading.Event()
        self._steps.put(done.set)
        return done.wait(seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written in the body."""
        self._free.clear()
        held = self._busy.acquire(timeout=QUIET_SECONDS)
        try:
            yield
        finally:
            if held:
                self._busy.release()
            self._free.set()

    def close(self, state: End, seconds: float | None) -> None:
        """End the study's run; wait so many seconds at most until all is written, and drop the rest."""
        self._steps.put(partial(self._do, lambda mirror: mirror.tracker.close(state), opens=False))
        if not self.wait(seconds):
            self._fall_behind(StudyError(f"not everything was written within {seconds:.0f} s"))
        self._over.set()
        self._steps.put(lambda: None)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not self._over.is_set():
            step = self._steps.get()
            self._free.wait()
            with self._busy:
                step()

    def _do(self, write: Write, *, opens: bool) -> None:
        if self._error is not None or self._over.is_set():
            return
        try:
            if opens and self._left_out.is_set():
                self._left_out.clear()
                raise StudyError(f"{BACKLOG} candidates wait to be written")
            if self._mirror is None and opens and time.monotonic() >= self._due:
                self._mirror = self._connect(self._breathe)
                self._pause, self.is_behind = 0.0, False
            if self._mirror is not None:
                write(self._mirror)
        except Exception as error:
            if isinstance(error, STORE_ERRORS) or is_lost(error):
                self._fall_behind(error)
            else:
                self._error = error

    def _breathe(self, name: str) -> None:
        """Let a timing run, in the middle of a long write."""
        self._busy.release()
        try:
            self._free.wait()
        finally:
            self._busy.acquire()

    def _fall_behind(self, error: Exception) -> None:
        self._mirror = None
        self._due = time.monotonic() + self._pause
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        if not self.is_behind:
            self.is_behind = True
            logging.getLogger(__name__).warning("%s (%s)", self._lost, reason_of(error))
        with suppress(Exception):  # the database may be away, too
            self._mark(True)
