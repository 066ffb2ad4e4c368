"""The ledger as flat tables, to print and to export."""

import csv
import json
from pathlib import Path
from typing import Any

from sqlalchemy import Select, and_, func, select

from hadnas.errors import StudyError, unknown
from hadnas.measure.figures import shown_in
from hadnas.store.ledger import Ledger
from hadnas.store.tables import ArchitectureRow, CostRow, EpochRow, LatencyRow, PredictorRow, TestRow, TrainingRow

LISTINGS: dict[str, Select[Any]] = {
    "architectures": select(*ArchitectureRow.__table__.columns).order_by(ArchitectureRow.created),
    "costs": select(*CostRow.__table__.columns).order_by(CostRow.fingerprint, CostRow.task, CostRow.code),
    "latencies": select(*LatencyRow.__table__.columns).order_by(LatencyRow.id),
    "predictors": select(*PredictorRow.__table__.columns).order_by(PredictorRow.created),
    "trainings": select(
        *TrainingRow.__table__.columns, *(getattr(CostRow, figure.name) for figure in shown_in("top", "cost"))
    )
    .outerjoin(
        CostRow, and_(*(getattr(CostRow, k) == getattr(TrainingRow, k) for k in ("fingerprint", "task", "code")))
    )
    .order_by(TrainingRow.id),
    "tests": select(
        TestRow.training,
        *(getattr(TrainingRow, name) for name in ("fingerprint", "task", "data", "seed", "epochs")),
        func.length(func.replace(TestRow.hits, "0", "")).label("right"),
        func.length(TestRow.hits).label("n"),
        TestRow.loss,
        TestRow.created,
    )
    .join(TrainingRow)
    .order_by(TestRow.training),
    "epochs": select(*EpochRow.__table__.columns).order_by(EpochRow.training, EpochRow.attempt, EpochRow.epoch),
}


def rows(ledger: Ledger, table: str) -> list[dict[str, Any]]:
    """One of LISTINGS, a dict per row; trainings come with costs. Raises UnknownName for another name."""
    with ledger.database.read() as session:
        return [dict(row) for row in session.execute(_listing(table)).mappings()]


def num_rows(ledger: Ledger) -> dict[str, int]:
    """How many rows each of LISTINGS has."""
    with ledger.database.read() as session:
        return {
            name: session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
            for name, query in LISTINGS.items()
        }


def export_csv(ledger: Ledger, path: str | Path, table: str, *, force: bool = False) -> None:
    """Write one of LISTINGS as CSV. Raises UnknownName, or StudyError if `path` cannot be written.

    A file that exists is overwritten only with `force`.
    """
    columns = [column["name"] for column in _listing(table).column_descriptions]
    found = rows(ledger, table)
    try:
        with open(path, "w" if force else "x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in found)
    except FileExistsError:
        raise StudyError(f"{path} exists already; name another file, or overwrite it with --force") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({error.strerror})") from error


def _listing(table: str) -> Select[Any]:
    if table not in LISTINGS:
        raise unknown("ledger table", table, LISTINGS)
    return LISTINGS[table]
