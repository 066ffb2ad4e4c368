"""A worker's link to its supervisor: lines of JSON up a pipe, an answer down its standard input."""

import io
import json
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import fields
from functools import cache
from queue import SimpleQueue
from typing import Any

from hadnas.search.progress import Progress

VARIABLE = "HADNAS_SUPERVISOR"
"""The variable by which a supervisor hands the link to a worker."""

SHOW, LEAVE = "show", "leave"
"""Answers to a worker whose search has ended: print the results for this reason, or nothing."""

ORPHAN_SECONDS = 60.0
"""Seconds in which a worker without a supervisor may give its candidate back before it is ended."""


class Link:
    """This worker's side of the link.

    pipe     the file descriptor to which messages are written
    place    the worker's number from 0, of `workers`
    first    whether it is the command's first process, which tries refused baselines again
    timeout  seconds left of the search, or None
    width    columns of the supervisor's terminal
    """

    def __init__(self, pipe: int, place: int, workers: int, first: bool, timeout: float | None, width: int) -> None:
        os.set_inheritable(pipe, False)
        self.place, self.workers, self.first = place, workers, first
        self.timeout, self.width = timeout, width
        self._pipe = os.fdopen(pipe, "w", buffering=1, encoding="utf-8")
        self._answers: SimpleQueue[str] = SimpleQueue()
        self._showed_data = self._over = False
        threading.Thread(target=self._listen, name="supervisor", daemon=True).start()

    def _listen(self) -> None:
        text = b""
        while chunk := os.read(0, 4096):  # a thread that waits in sys.stdin may break the end of the interpreter
            *lines, text = (text + chunk).split(b"\n")
            for line in lines:
                self._answers.put(line.decode())
        if not self._over:  # the supervisor is gone
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(ORPHAN_SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)

    def _send(self, **message: Any) -> None:
        with suppress(BrokenPipeError):  # `_listen` ends the worker
            print(json.dumps(message), file=self._pipe)

    def watch(self, progress: Progress) -> None:
        """Send the progress of the search; once, with its first candidate, the table of its data."""
        if progress.label and progress.data is not None and not self._showed_data:
            from hadnas.shell.console import PlainConsole
            from hadnas.shell.tables.data import show_data

            self._showed_data, text = True, io.StringIO()
            show_data(progress.data, PlainConsole(file=text, width=self.width))
            self._send(data=text.getvalue())
        self._send(progress={f.name: getattr(progress, f.name) for f in fields(progress) if f.name != "data"})

    def end(self, reason: str, *, elsewhere: bool = False) -> str | None:
        """Send that the search has ended; the reason to print, or None if another worker prints the results.

        elsewhere: whether it goes on, in other workers
        """
        self._send(ended=reason, elsewhere=elsewhere)
        answer, _, said = self._answers.get().partition(" ")
        self._over = True
        return said if answer == SHOW else None

    def fail(self, said: str, status: int) -> None:
        """Send that this worker ends by an error, in one sentence, with an exit status."""
        self._send(failed=[said, status])

    def share_device(self, device: str) -> None:
        """Give this worker one of several CUDA devices, unless the user named one; CUDA must not have started."""
        if device not in ("auto", "cuda") or self.workers == 1:
            return
        import torch

        if (count := torch.cuda.device_count()) > 1:
            seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            names = seen if len(seen) == count else [str(number) for number in range(count)]
            os.environ["CUDA_VISIBLE_DEVICES"] = names[self.place % count]


@cache
def this_link() -> Link | None:
    """The link of this process; None if no supervisor started it."""
    text = os.environ.pop(VARIABLE, None)  # a process that a candidate starts is no worker
    return None if text is None else Link(**json.loads(text))
