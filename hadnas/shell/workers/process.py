"""A worker's process, as its supervisor sees it, on this machine or on another one."""

import json
import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import IO, Any

from hadnas.search.progress import Progress
from hadnas.shell.workers.link import VARIABLE


class Failure(Exception):
    """The search ends by an error: a sentence, and an exit status."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.said, self.status = said, status


class WorkerProcess(ABC):
    """A worker that has been started.

    place      its number
    now        its last progress; `since` is when its item began
    ended      why its search ended, None before
    failure    the error by which it ends, None without
    condemned  why its candidate is refused and it was killed, else ""
    """

    def __init__(self, link: Mapping[str, Any], messages: "Messages") -> None:
        self.place: int = link["place"]
        self.now: Progress | None = None
        self.since = 0.0
        self.ended: str | None = None
        self.failure: Failure | None = None
        self.condemned = ""
        self._messages = messages

    @property
    @abstractmethod
    def status(self) -> int | None:
        """Its exit status, or minus the signal by which it ended; None while it is alive."""

    @property
    def is_alive(self) -> bool:
        return self.status is None

    @property
    def how(self) -> str:
        """How it died: a signal, or an exit status."""
        if self.failure is not None:
            return "an interrupt"
        assert self.status is not None
        if self.status == -signal.SIGKILL and not self.condemned:
            return "SIGKILL (memory may have run out)"
        return signal.Signals(-self.status).name if self.status < 0 else f"exit status {self.status}"

    @abstractmethod
    def answer(self, said: str) -> None:
        """Send a line to its standard input."""

    @abstractmethod
    def interrupt(self) -> None:
        """Let it give its candidate back and end."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it with the processes that it started."""

    @abstractmethod
    def close(self) -> None:
        """Read its last messages, after its end."""


Messages = SimpleQueue[tuple[WorkerProcess, dict[str, Any]]]
"""What workers send."""

Starter = Callable[[Mapping[str, Any], Messages], WorkerProcess]
"""Starts a worker with its link; the messages get what it sends."""


class LocalProcess(WorkerProcess):
    """A worker on this machine; each line of its error stream is a message, too.

    captured: whether the lines that it prints are messages; else it prints where this process does
    """

    def __init__(
        self,
        link: Mapping[str, Any],
        messages: Messages,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        captured: bool = False,
    ) -> None:
        super().__init__(link, messages)
        reading, writing = os.pipe()
        # A session of its own: Ctrl-C reaches the supervisor alone, which then interrupts each worker once.
        self._popen = subprocess.Popen(
            command,
            env={**environment, VARIABLE: json.dumps({**link, "pipe": writing})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if captured else None,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        self._readers = [threading.Thread(target=self._read_messages, args=(reading,), daemon=True)]
        for kind, stream in (("text", self._popen.stderr), ("printed", self._popen.stdout)):
            if stream is not None:
                self._readers.append(threading.Thread(target=self._read_lines, args=(kind, stream), daemon=True))
        for reader in self._readers:
            reader.start()

    @property
    def status(self) -> int | None:
        return self._popen.poll()

    def answer(self, said: str) -> None:
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.write(f"{said}\n".encode())
            self._popen.stdin.flush()

    def interrupt(self) -> None:
        self._popen.terminate()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def close(self) -> None:
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.close()
        for reader in self._readers:
            reader.join(2.0)  # a process that it started may hold the pipe longer

    def _read_messages(self, pipe: int) -> None:
        with os.fdopen(pipe, encoding="utf-8") as lines:
            for line in lines:
                with suppress(ValueError):  # the last line of a worker that was killed
                    self._messages.put((self, json.loads(line)))

    def _read_lines(self, kind: str, stream: IO[bytes]) -> None:
        with stream as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip().rpartition("\r")[2]
                self._messages.put((self, {kind: text}))


def on_this_machine(arguments: Sequence[str], workers: int) -> Starter:
    """Starts workers with these arguments of Python, each of `workers` with its share of the processors."""
    environment = dict(os.environ)
    if workers > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // workers)))
    return partial(LocalProcess, command=[sys.executable, *arguments], environment=environment)


def _cores() -> int:
    """The processors that this process may use."""
    with suppress(AttributeError):  # macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
