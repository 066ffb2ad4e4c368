"""Where studies live: a directory with a database, a tracking store, weights and artifacts; or a database server.

    runs/
      hadnas.db                             Optuna's tables and the ledger (`hadnas_*`)
      mlflow.db                             MLflow's tables: it cannot share a database with Optuna
      artifacts/                            what MLflow keeps as files
      checkpoints/                          of trainings in work or cut short
      <study>/weights/<fingerprint>.safetensors

Two things may be said: the directory (`--home`, `HADNAS_HOME`) and a database URL (`HADNAS_STORAGE`), for workers
on several machines. With PostgreSQL the tracking store is a second database beside it, `<name>_mlflow`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url, text

from hadnas.errors import StudyError
from hadnas.hosts.build import sha256_of
from hadnas.paths import as_path
from hadnas.store.database import (
    TIMEOUT,
    SqliteConnection,
    checked_url,
    clear_errors,
    closed_at_exit,
    open_engine,
    open_file,
    shown,
    sqlite_url,
)
from hadnas.store.records import Training, TrainingKey

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class Home:
    """The directory of all studies and the database they share.

    `path` defaults to `HADNAS_HOME`, else `runs`; `storage` to `HADNAS_STORAGE`, else a SQLite file in the home.
    The directory is made, unless what is there is only read (`reading`), for which it must be writable too: SQLite
    and the locks write beside the database. Raises `StudyError` where it cannot be written, where there is nothing to
    read, or the URL is none of SQLite or PostgreSQL.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        storage: str | None = None,
        tracking: str | None = None,
        *,
        reading: bool = False,
    ) -> None:
        self.path = as_path(path or os.environ.get("HADNAS_HOME") or "runs").absolute()
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise StudyError(f"the home {str(self.path)!r} is not UTF-8, as URLs are; name another one") from None
        self.url = checked_url(storage or os.environ.get("HADNAS_STORAGE") or sqlite_url(self.path / "hadnas.db"))
        place = make_url(self.url)
        if reading and place.get_backend_name() == "sqlite" and not as_path(str(place.database)).exists():
            missing = f"{place.database} is missing"
            raise StudyError(f"there is no study in {self.path}: {missing}; --home or HADNAS_HOME names a home")
        _make(self.path)
        self.tracking_uri = tracking or self._tracking()

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r}, {shown(self.url)!r})"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps files."""
        return self.path / "artifacts"

    def make_place(self, study: str) -> None:
        """Make the folder of a study's weights. Raises `StudyError` where it cannot be written, before any work."""
        _make(self.path / study / "weights")

    @contextmanager
    def schema_lock(self) -> Iterator[None]:
        """Held while a schema is made, Optuna's or MLflow's: two processes that make one at once break each other."""
        from filelock import FileLock

        with FileLock(self.path / ".schema.lock"):
            if make_url(self.url).get_backend_name() == "sqlite":
                yield
                return
            engine = open_engine(self.url)  # a second machine has its own lock file: the server's lock serves both
            try:
                with clear_errors(self.url), engine.connect() as connection:
                    connection.execute(text("select pg_advisory_lock(20260617)"))
                    yield
                    connection.execute(text("select pg_advisory_unlock(20260617)"))
            finally:
                engine.dispose()

    def _tracking(self) -> str:
        url = make_url(self.url)
        if url.get_backend_name() == "sqlite":
            # MLflow makes the folders of what stands behind a bare `sqlite:///`, escaped as it is
            return sqlite_url(self.path / "mlflow.db", "sqlite+pysqlite")
        return url.set(database=f"{url.database}_mlflow").render_as_string(hide_password=False)

    def make_tracking_database(self) -> None:
        """Make the database of the tracking store on PostgreSQL where it is missing; a SQLite file MLflow makes."""
        url = make_url(self.tracking_uri)
        if url.get_backend_name() != "postgresql" or self.tracking_uri != self._tracking():
            return
        engine = open_engine(self.url)
        try:
            with clear_errors(self.url), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                known = text("select 1 from pg_database where datname = :name")
                if connection.execute(known, {"name": url.database}).scalar() is None:
                    name = engine.dialect.identifier_preparer.quote(str(url.database))
                    connection.execute(text(f"create database {name}"))
        finally:
            engine.dispose()


def weights_of(training: Training, home: Home) -> Path:
    """The file of a training's weights; whatever is built from the ledger's weights asks here for them.

    Raises StudyError where the file is gone, or is another than was written: by its SHA-256, which the ledger knows of
    every file since version 5.
    """
    if training.weights is None:
        raise StudyError(f"the training of {training.key.fingerprint} has no weights: it is {training.state}")
    path = home.path / training.weights
    if not path.is_file():
        raise StudyError(f"the weights {path} are not there; they lie beside the home they were trained in")
    found, written = sha256_of(path), training.weights_sha256
    if written is not None and found != written:
        raise StudyError(
            f"the weights {path} have changed since they were trained: SHA-256 {found[:12]}..., recorded was "
            f"{written[:12]}...; bring the file back from a copy, or train in another home"
        )
    return path


def checkpoint_of(key: TrainingKey, home: Home) -> Path:
    """The file of a training that is not over; a study that takes it over finds it, whichever began it."""
    return home.path / "checkpoints" / f"{key.fingerprint}-{key.variant}.pt"


def weights_name(study: str, fingerprint: str, variant: str = "") -> str:
    """The place of weights relative to the home, so that a home can be moved.

    `variant` tells apart two trainings of one architecture in one study; `Ledger.place_weights` decides it.
    """
    return f"{study}/weights/{fingerprint}{'-' + variant if variant else ''}.safetensors"


def optuna_storage(home: Home, timeout: float = TIMEOUT) -> "RDBStorage":
    """Optuna's storage in the home's database, its schema made once under a lock.

    Raises `StudyError` for a database that cannot be used or that another Optuna wrote.
    """
    from optuna.storages import RDBStorage

    sqlite = make_url(home.url).get_backend_name() == "sqlite"
    options: dict[str, object] = {"pool_pre_ping": True}
    if sqlite:
        options = {"connect_args": {"timeout": timeout, "factory": SqliteConnection}}
    with home.schema_lock(), clear_errors(home.url):
        open_file(home.url, timeout)
        try:
            storage = RDBStorage(home.url, engine_kwargs=options)
        except RuntimeError as error:
            raise StudyError(f"{shown(home.url)}: {error}") from error
    closed_at_exit(storage.engine)
    return storage


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StudyError(
            f"{str(path)!r} cannot be written ({error.strerror}); name another home with --home or HADNAS_HOME"
        ) from error
