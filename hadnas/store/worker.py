"""A worker: a process that takes part in studies, and whether it is alive, as its heartbeat in the database says."""

import os
import platform
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from hadnas.errors import StudyError
from hadnas.store.database import Database
from hadnas.store.tables import WorkerRow

STALE = 120.0
"""Seconds without a heartbeat after which a worker counts as dead."""


class Worker:
    """This process, as the other workers of a database see it."""

    def __init__(self, database: Database, stale: float = STALE) -> None:
        self.database = database
        self.stale = stale
        self.id = uuid.uuid4().hex

    def beat(self, session: Session) -> None:
        """Say in a writing session that this worker is alive."""
        now = self.database.now(session)
        row: dict[str, Any] = {"id": self.id, "host": this_host(), "pid": os.getpid(), "began": began(os.getpid())}
        insert = self.database.insert(WorkerRow).values({**row, "heartbeat": now})
        session.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"heartbeat": now}))

    def is_alive(self, session: Session, holder: str | None) -> bool:
        """Whether the worker of this id is: it has beaten lately and, on this machine, its process is there."""
        row = session.get(WorkerRow, holder) if holder is not None else None
        if row is None or row.heartbeat < self.database.now(session) - self.stale:
            return False
        return not is_dead(row.host, row.pid, row.began)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Beat from a thread while the body runs, so that no other worker takes over what this one holds."""
        over = threading.Event()

        def beats() -> None:
            while not over.wait(self.stale / 4):
                with suppress(StudyError), self.database.write() as session:  # unreachable: the next write says so
                    self.beat(session)

        thread = threading.Thread(target=beats, name=f"heartbeat {self.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def this_host() -> str:
    """This machine, on Linux since it was started, and the process namespace: a process id means something only there.

    The name alone would not do: cloned machines share it.
    """
    with suppress(OSError):
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {started} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def began(pid: int) -> str:
    """When a process of this machine began, in the kernel's count, as ids are given again; "" where it is unknown."""
    with suppress(OSError):
        return _state(pid)[19]
    return ""


def is_dead(host: str, pid: int, start: str = "") -> bool:
    """Whether the process `pid` of `host` that began at `start` is gone; False for another host: nothing is known."""
    if host != this_host() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    with suppress(OSError):  # a zombie is killed, and not yet waited for by who started it
        state = _state(pid)
        return state[0] in ("Z", "X") or bool(start and state[19] != start)
    return False


def _state(pid: int) -> list[str]:
    """What Linux says of a process behind `pid (command) `: its state first, when it began as the twentieth."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
