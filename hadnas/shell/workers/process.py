"""A worker's process, as its supervisor sees it."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from hadnas.search.progress import Progress
from hadnas.shell.workers.link import VARIABLE


class Failure(Exception):
    """The search ends by an error: a sentence, and an exit status."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.said, self.status = said, status


class WorkerProcess:
    """Starts a worker; `messages` gets what it sends, and each line of its error stream as a text.

    place      its number
    now        its last progress; `since` is when its item began
    ended      why its search ended, None before
    failure    the error by which it ends, None without
    condemned  why its candidate is refused and it was killed, else ""
    """

    def __init__(
        self,
        command: Sequence[str],
        link: Mapping[str, Any],
        environment: Mapping[str, str],
        messages: "SimpleQueue[tuple[WorkerProcess, dict[str, Any]]]",
    ) -> None:
        self.place: int = link["place"]
        self.now: Progress | None = None
        self.since = 0.0
        self.ended: str | None = None
        self.failure: Failure | None = None
        self.condemned = ""
        self._messages = messages
        reading, writing = os.pipe()
        # A session of its own: Ctrl-C reaches the supervisor alone, which then interrupts each worker once.
        self.popen = subprocess.Popen(
            command,
            env={**environment, VARIABLE: json.dumps({**link, "pipe": writing})},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        self._readers = [threading.Thread(target=self._read_messages, args=(reading,), daemon=True)]
        self._readers.append(threading.Thread(target=self._read_errors, daemon=True))
        for reader in self._readers:
            reader.start()

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def how(self) -> str:
        """How it died: a signal, or an exit status."""
        if self.failure is not None:
            return "an interrupt"
        status: int = self.popen.returncode
        if status == -signal.SIGKILL and not self.condemned:
            return "SIGKILL (memory may have run out)"
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def answer(self, said: str) -> None:
        """Send a line to its standard input."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):
            self.popen.stdin.write(f"{said}\n".encode())
            self.popen.stdin.flush()

    def kill(self) -> None:
        """Kill it with the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def close(self) -> None:
        """Read its last messages, after its end."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):
            self.popen.stdin.close()
        for reader in self._readers:
            reader.join(2.0)  # a process that it started may hold the pipe longer

    def _read_messages(self, pipe: int) -> None:
        with os.fdopen(pipe, encoding="utf-8") as lines:
            for line in lines:
                with suppress(ValueError):  # the last line of a worker that was killed
                    self._messages.put((self, json.loads(line)))

    def _read_errors(self) -> None:
        assert self.popen.stderr is not None
        with self.popen.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip().rpartition("\r")[2]
                self._messages.put((self, {"text": text}))
