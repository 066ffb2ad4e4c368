"""What a study has to do, item by item: each is done by one worker at a time, and two deaths at one item are enough.

An item is a draw or a baseline. The unique row (study, item) lets one worker hold it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from hadnas.errors import LostClaim
from hadnas.store.database import Database
from hadnas.store.tables import ItemRow
from hadnas.store.worker import Worker

ATTEMPTS = 2
"""Workers that may die at one item, by a crash, an abort or a kill; then the item is refused."""


@dataclass(frozen=True)
class Held:
    """An item that this worker holds; `attempt` counts from 1 and rises with each worker that died at it."""

    study: str
    item: str
    attempt: int

    @property
    def is_hopeless(self) -> bool:
        """Whether too many workers died at this item."""
        return self.attempt > ATTEMPTS

    @property
    def reason(self) -> str:
        """Why a hopeless item is refused."""
        return f"{self.attempt - 1} workers died at it (a crash, an abort, out of memory or a kill)"


class Claims:
    """The items of studies, as the workers hold them."""

    def __init__(self, database: Database, worker: Worker) -> None:
        self.database, self.worker = database, worker

    def take(self, study: str, items: Iterable[str]) -> Held | None:
        """The first of `items` that no other living worker holds, for this one; None where all are held."""
        with self.database.write() as session:
            self.worker.beat(session)
            for item in items:
                row: dict[str, Any] = {"study": study, "item": item, "holder": self.worker.id, "attempt": 1}
                insert = self.database.insert(ItemRow).values(row).on_conflict_do_nothing()
                if session.scalar(insert.returning(ItemRow.attempt)) is not None:
                    return Held(study, item, 1)
                known = session.scalar(_of(study, item).with_for_update())
                if known is None or self.worker.is_alive(session, known.holder):
                    continue  # ended meanwhile, or at work
                known.holder, known.attempt = self.worker.id, known.attempt + 1
                return Held(study, item, known.attempt)
            return None

    def check(self, held: Held) -> None:
        """Raise LostClaim where another worker took the item over, as this one gave no sign of life."""
        with self.database.write() as session:
            self._held(session, held)
            self.worker.beat(session)

    def give_back(self, held: Held) -> None:
        """Let another worker have the item; this attempt does not count."""
        with self.database.write() as session:
            row = self._held(session, held)
            row.holder, row.attempt = None, row.attempt - 1

    def end(self, held: Held) -> None:
        """The item is done."""
        with self.database.write() as session:
            session.execute(delete(ItemRow).filter_by(study=held.study, item=held.item))

    def at_work(self, study: str) -> set[str]:
        """The items that living workers hold."""
        with self.database.read() as session:
            rows = session.scalars(select(ItemRow).filter_by(study=study)).all()
            return {row.item for row in rows if self.worker.is_alive(session, row.holder)}

    def _held(self, session: Session, held: Held) -> ItemRow:
        row = session.scalar(_of(held.study, held.item).with_for_update())
        if row is None or row.holder != self.worker.id:
            raise LostClaim(f"{held.item} of study {held.study!r} was taken over by another worker")
        return row


def _of(study: str, item: str) -> Select[ItemRow]:
    return select(ItemRow).filter_by(study=study, item=item)
