"""Checks of a home's database and files: pages, claims of dead workers, weights, files that nothing names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import select, text

from hadnas.errors import StudyError
from hadnas.store.database import Sqlite, clear_errors, dialect, open_engine
from hadnas.store.home import Home, checkpoint_of, weights_beside, weights_of
from hadnas.store.ledger import Ledger
from hadnas.store.records import Training
from hadnas.store.tables import ItemRow, TrainingRow


def database_damage(url: str) -> str:
    """What SQLite finds wrong with the pages of a file; "" if nothing, or if it is PostgreSQL, which checks its own.

    Raises StudyError if the database cannot be opened or read.
    """
    if not isinstance(dialect(url), Sqlite):
        return ""
    engine = open_engine(url)
    with clear_errors(url), engine.execution_options(reading=True).connect() as connection:
        found = [str(line) for line in connection.scalars(text("pragma integrity_check(3)"))]
    engine.dispose()
    return "" if found == ["ok"] else "; ".join(found)


def left_items(ledger: Ledger) -> list[tuple[str, str]]:
    """The draws and baselines, as (study, item), and the trainings, of workers that died at them."""
    with ledger.database.read() as session:
        alive = ledger.worker.is_alive
        rows = session.scalars(select(ItemRow).where(ItemRow.holder.is_not(None)).order_by(ItemRow.study)).all()
        items = [(row.study, row.item) for row in rows if not alive(session, row.holder)]
        trainings = session.scalars(select(TrainingRow).where(TrainingRow.state == "running")).all()
        dead = [row for row in trainings if not alive(session, row.holder)]
        return items + [(row.study, f"training of {row.fingerprint}") for row in dead]


def weights_damage(trainings: Sequence[Training], home: Home) -> Iterator[str]:
    """A sentence for every finished training whose weights are missing or have another hash than was recorded."""
    for training in trainings:
        if training.state == "complete" and training.weights is not None:
            try:
                weights_of(training, home)
            except StudyError as error:
                yield str(error)


def orphans(trainings: Sequence[Training], home: Home) -> list[Path]:
    """Files of weights, outputs and checkpoints that no training names, as a kill leaves them."""
    named = {home.path / training.weights for training in trainings if training.weights is not None}
    named |= {checkpoint_of(each.key, home) for each in trainings if each.state not in ("complete", "failed")}
    found = [*home.path.glob("*/weights/*"), *home.path.glob("checkpoints/*")]
    return sorted(path for path in found if path.is_file() and path not in named and weights_beside(path) not in named)
