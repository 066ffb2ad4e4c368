"""Workers: the processes that run studies, whether each is alive, and its items.

A worker writes its heartbeat to the database. An item is a draw or a baseline of a study: the unique row (study, item)
gives it to one worker at a time. After two deaths an item is refused, or after one if its supervisor condemned it.
"""

import os
import platform
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from hadnas.errors import LostClaim, StudyError
from hadnas.store.database import Database
from hadnas.store.tables import EpochRow, ItemRow, TrainingRow, WorkerRow

ATTEMPTS = 2
"""Workers that may die at one item, by a crash, an abort or a kill; then the item is refused."""

STALE = 120.0
"""Seconds without a heartbeat after which a worker counts as dead."""


_LEFT: set[str] = set()
"""Workers of this process that have left."""


class Worker:
    """This process, as the other workers of a database see it."""

    def __init__(self, database: Database, stale: float = STALE) -> None:
        self.database = database
        self.stale = stale
        self.id = uuid.uuid4().hex

    def beat(self, session: Session) -> None:
        """Write the heartbeat of this worker, in a writing session."""
        now = self.database.dialect.now(session)
        row: dict[str, Any] = {"id": self.id, "host": this_host(), "pid": os.getpid(), "began": began(os.getpid())}
        insert = self.database.dialect.insert(WorkerRow).values({**row, "heartbeat": now})
        session.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"heartbeat": now}))

    def is_alive(self, session: Session, holder: str | None) -> bool:
        """Whether this worker has a recent heartbeat and, if it runs on this machine, its process exists."""
        row = session.get(WorkerRow, holder) if holder is not None and holder not in _LEFT else None
        if row is None or row.heartbeat < self.database.dialect.now(session) - self.stale:
            return False
        return not is_dead(row.host, row.pid, row.began)

    def living(self) -> set[str]:
        """The ids of the other living workers."""
        with self.database.read() as session:
            ids = session.scalars(select(WorkerRow.id).where(WorkerRow.id != self.id)).all()
            return {each for each in ids if self.is_alive(session, each)}

    def forget_dead(self, session: Session) -> None:
        """Delete the rows of dead workers: a worker without a row counts as dead, and writes it again if it is not."""
        rows = session.scalars(select(WorkerRow).order_by(WorkerRow.id).with_for_update(skip_locked=True)).all()
        dead = [row.id for row in rows if not self.is_alive(session, row.id)]
        session.execute(delete(WorkerRow).where(WorkerRow.id.in_(dead)))

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Write heartbeats from a thread while the body runs, so that no other worker takes over this one's items."""
        with self.database.write() as session:
            self.forget_dead(session)
            self.beat(session)
        over = threading.Event()

        def beats() -> None:
            while not over.wait(self.stale / 4):
                with suppress(StudyError), self.database.write() as session:  # unreachable: the next write raises
                    self.beat(session)

        thread = threading.Thread(target=beats, name=f"heartbeat {self.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            _LEFT.add(self.id)  # also if the database is away
            with suppress(StudyError), self.database.write() as session:
                session.execute(delete(WorkerRow).filter_by(id=self.id))


def this_host() -> str:
    """This machine, on Linux with its boot and process namespace: a process id is unique only within these.

    The name alone is not enough: cloned machines share it.
    """
    with suppress(OSError):
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {started} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def began(pid: int) -> str:
    """When a process of this machine began, in the kernel's ticks, as ids are reused; "" if unknown."""
    with suppress(OSError):
        return _state(pid)[19]
    return ""


def is_dead(host: str, pid: int, start: str = "") -> bool:
    """Whether the process `pid` of `host` that began at `start` is gone; False for another host, as it is unknown."""
    if host != this_host() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    with suppress(OSError):  # a zombie is dead, but its parent has not waited for it yet
        state = _state(pid)
        return state[0] in ("Z", "X") or bool(start and state[19] != start)
    return False


def _state(pid: int) -> list[str]:
    """Linux's fields of a process after `pid (command) `: its state is the first, its start the twentieth."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@dataclass(frozen=True)
class Held:
    """An item of this worker; `attempt` counts from 1 and rises with each worker that died at it.

    fault: what the supervisor of the worker before wrote: how it died, or why it was killed; "" if nothing
    """

    study: str
    item: str
    attempt: int
    fault: str = ""

    @property
    def is_hopeless(self) -> bool:
        """Whether too many workers died at this item."""
        return self.attempt > ATTEMPTS

    @property
    def reason(self) -> str:
        """Why a hopeless item is refused."""
        return self.fault or f"{self.attempt - 1} workers died at it (a crash, an abort, out of memory or a kill)"


@dataclass(frozen=True)
class Activity:
    """An item of a study that a worker began and did not finish, as other processes see it.

    attempt  workers that began it
    host     the machine of its worker, and `pid` its process; None if it is dead
    seconds  since it began the item; None for one of an earlier version
    epoch    the last epoch of its training, 0 before the first, None if it does not train
    """

    item: str
    attempt: int
    host: str | None = None
    pid: int | None = None
    seconds: float | None = None
    epoch: int | None = None


class Claims:
    """Which worker has which item of a study."""

    def __init__(self, database: Database, worker: Worker) -> None:
        self.database, self.worker = database, worker

    def take(self, study: str, items: Iterable[str]) -> Held | None:
        """Take the first of `items` that no other living worker has; None if every item is taken."""
        with self.database.write() as session:
            self.worker.beat(session)
            for item in items:
                now = self.database.dialect.now(session)
                row: dict[str, Any] = {"study": study, "item": item, "holder": self.worker.id, "attempt": 1}
                row["since"] = now
                insert = self.database.dialect.insert(ItemRow).values(row).on_conflict_do_nothing()
                if session.scalar(insert.returning(ItemRow.attempt)) is not None:
                    return Held(study, item, 1)
                known = session.scalar(_of(study, item).with_for_update())
                if known is None or self.worker.is_alive(session, known.holder):
                    continue  # ended meanwhile, or at work
                known.holder, known.attempt, known.since = self.worker.id, known.attempt + 1, now
                fault, known.reason = known.reason, None
                return Held(study, item, known.attempt, fault or "")
            return None

    def check(self, held: Held) -> None:
        """Raise LostClaim if another worker took over the item, because heartbeats of this one were missing."""
        with self.database.write() as session:
            self._held(session, held)
            self.worker.beat(session)

    def give_back(self, held: Held) -> None:
        """Release the item for other workers; this attempt does not count."""
        with self.database.write() as session:
            row = self._held(session, held)
            row.holder, row.attempt, row.since, row.reason = None, row.attempt - 1, None, held.fault or None

    @contextmanager
    def holding(self, held: Held) -> Iterator[None]:
        """Give the item back if the body raises: an interrupt or an error is no death."""
        try:
            yield
        except BaseException:
            with suppress(StudyError):  # lost, or the database is away: then this worker soon counts as dead
                self.give_back(held)
            raise

    def end(self, held: Held) -> None:
        """The item is done."""
        with self.database.write() as session:
            session.execute(delete(ItemRow).filter_by(study=held.study, item=held.item))

    def clear(self, study: str, done: Collection[str]) -> None:
        """Remove the items that are done: a worker may die between the end of a trial and that of its item."""
        with self.database.write() as session:
            items = session.scalars(select(ItemRow.item).filter_by(study=study)).all()
            left = [item for item in items if item in done]
            session.execute(delete(ItemRow).where(ItemRow.study == study, ItemRow.item.in_(left)))

    def at_work(self, study: str) -> set[str]:
        """The items of living workers."""
        with self.database.read() as session:
            rows = session.scalars(select(ItemRow).filter_by(study=study)).all()
            return {row.item for row in rows if self.worker.is_alive(session, row.holder)}

    def activities(self, study: str) -> list[Activity]:
        """The items of a study that were begun and are not finished, the oldest first."""
        found = []
        with self.database.read() as session:
            now = self.database.dialect.now(session)
            begun = select(ItemRow).where(ItemRow.study == study, ItemRow.attempt > 0)  # the others were given back
            for row in session.scalars(begun.order_by(ItemRow.since)).all():
                if not self.worker.is_alive(session, row.holder):
                    found.append(Activity(row.item, row.attempt))
                    continue
                worker = session.get_one(WorkerRow, row.holder)
                seconds = None if row.since is None else now - row.since
                host = worker.host.partition(" ")[0]
                found.append(Activity(row.item, row.attempt, host, worker.pid, seconds, _epoch(session, worker)))
        return found

    def _held(self, session: Session, held: Held) -> ItemRow:
        row = session.scalar(_of(held.study, held.item).with_for_update())
        if row is None or row.holder != self.worker.id:
            raise LostClaim(f"{held.item} of study {held.study!r} was taken over by another worker")
        return row


def note_death(database: Database, study: str, item: str, holder: str, how: str) -> None:
    """Store how the worker `holder` died at an item, for the reason if the item is refused."""
    with database.write() as session:
        row = session.scalar(_of(study, item).with_for_update())
        if row is not None and row.holder == holder and row.reason is None:
            row.reason = f"{row.attempt} workers died at it, the last one by {how}"


def condemn(database: Database, study: str, item: str, holder: str, reason: str) -> bool:
    """Let the item be refused for `reason` once its worker `holder` is dead; False if it is no longer at that item."""
    with database.write() as session:
        row = session.scalar(_of(study, item).with_for_update())
        if row is None or row.holder != holder:
            return False
        row.attempt, row.reason = max(row.attempt, ATTEMPTS), reason
        return True


def _epoch(session: Session, worker: WorkerRow) -> int | None:
    """The last epoch of the training that a worker is at."""
    at_work = session.scalar(select(TrainingRow).filter_by(holder=worker.id, state="running"))
    if at_work is None:
        return None
    points = select(func.max(EpochRow.epoch)).filter_by(training=at_work.id, attempt=at_work.attempt)
    return session.scalar(points) or 0


def _of(study: str, item: str) -> Select[ItemRow]:
    return select(ItemRow).filter_by(study=study, item=item)
