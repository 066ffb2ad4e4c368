"""The SQLite file that MLflow keeps a home's runs in: made whole or not at all, and right after the home was moved.

MLflow builds its tables in a hundred steps, of which each is written at once: a file whose making was interrupted is
one that MLflow refuses for good. And it notes where files lie by their whole path.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

LOCK_SECONDS = 10.0  # that another process's write is waited for, as MLflow does

# What holds the place of a file, as MLflow 3 has it.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def make(tracking_uri: str, artifact_root: Path) -> None:
    """Make the file where it is missing or empty, under another name until it is whole; for one process at a time."""
    file = _file(tracking_uri)
    if file is None or (file.exists() and file.stat().st_size):
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite+pysqlite:///{quote(str(new))}", artifact_root.as_uri()).engine.dispose()
    os.replace(new, file)


def follow(tracking_uri: str, artifact_root: Path) -> None:
    """Note the present place of all files where the home was moved or copied since they were written."""
    file = _file(tracking_uri)
    if file is None or not file.exists():
        return
    now = artifact_root.resolve().as_uri()
    with closing(sqlite3.connect(file, timeout=LOCK_SECONDS)) as store, store:
        known = store.execute("select artifact_location from experiments where name like 'hadnas/%'").fetchall()
        for before in {location.rpartition("/")[0] for (location,) in known} - {now}:
            for table, column in PLACES:
                store.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where substr({column}, 1, ?) = ?",
                    (now, len(before) + 1, len(before) + 1, f"{before}/"),
                )


def _file(tracking_uri: str) -> Path | None:
    """The store's file; None where it is no SQLite file."""
    uri = urlsplit(tracking_uri)
    return Path(unquote(uri.path)[1:]) if uri.scheme in ("sqlite", "sqlite+pysqlite") and len(uri.path) > 1 else None
