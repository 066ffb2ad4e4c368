"""Where studies live: a directory with a database, a tracking store, weights and artifacts; or a database server.

    runs/
      hadnas.db                             Optuna's tables and the ledger (`hadnas_*`)
      mlflow.db                             MLflow's tables: it cannot share a database with Optuna
      artifacts/                            what MLflow keeps as files
      <study>/weights/<fingerprint>.safetensors

Two things may be said: the directory (`--home`, `HADNAS_HOME`) and a database URL (`HADNAS_STORAGE`), for workers
on several machines. With PostgreSQL the tracking store is a second database beside it, `<name>_mlflow`.
"""

import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from hadnas.errors import StudyError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

TIMEOUT = 60.0
"""Seconds that a connection waits for a lock that another process holds."""


class Home:
    """The directory of all studies and the database they share.

    `path` defaults to `HADNAS_HOME`, else `runs`; `storage` to `HADNAS_STORAGE`, else a SQLite file in the home.
    The directory is made. Raises `StudyError` where it cannot be written or the URL is none of SQLite or PostgreSQL.
    """

    def __init__(self, path: str | Path | None = None, storage: str | None = None, tracking: str | None = None) -> None:
        self.path = Path(path or os.environ.get("HADNAS_HOME") or "runs").expanduser().absolute()
        _make(self.path)
        self.url = _checked(storage or os.environ.get("HADNAS_STORAGE") or f"sqlite:///{self.path / 'hadnas.db'}")
        self.tracking_uri = tracking or self._tracking()

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r}, {shown(self.url)!r})"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps files."""
        return self.path / "artifacts"

    def weights(self, study: str, fingerprint: str, variant: str = "") -> Path:
        """Where weights lie: `<home>/<study>/weights/<fingerprint>.safetensors`.

        `variant` tells apart two trainings of one architecture in one study; `Ledger.place_weights` decides it.
        """
        return self.path / weights_name(study, fingerprint, variant)

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
            return f"sqlite:///{self.path / 'mlflow.db'}"
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


def weights_name(study: str, fingerprint: str, variant: str = "") -> str:
    """The place of weights relative to the home, so that a home can be moved."""
    return f"{study}/weights/{fingerprint}{'-' + variant if variant else ''}.safetensors"


def optuna_storage(
    home: Home, on_stale: "Callable[[Study, FrozenTrial], None] | None" = None, timeout: float = TIMEOUT
) -> "RDBStorage":
    """Optuna's storage in the home's database, its schema made once under a lock, with heartbeats.

    `on_stale` is called with every trial whose worker stopped beating for two minutes.
    Raises `StudyError` for a database that cannot be used or that another Optuna wrote.
    """
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import RDBStorage

    sqlite = make_url(home.url).get_backend_name() == "sqlite"
    engine: dict[str, object] = {"pool_pre_ping": True}
    if sqlite:
        engine = {"connect_args": {"timeout": timeout, "factory": _Connection}}
    check_file(home.url)
    with home.schema_lock(), clear_errors(home.url), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats have been experimental since Optuna 2.5
        try:
            storage = RDBStorage(
                home.url,
                engine_kwargs=engine,
                heartbeat_interval=30,
                grace_period=120,
                heartbeat_stale_trial_callback=on_stale,
            )
        except RuntimeError as error:
            raise StudyError(f"{shown(home.url)}: {error}") from error
        use_write_ahead_log(storage.engine)
        return storage


def open_engine(url: str, timeout: float = TIMEOUT) -> Engine:
    """An engine on which `engine.begin()` takes SQLite's write lock at once.

    SQLite refuses a transaction that read first and writes later as soon as another process wrote in between;
    one that starts as a writer waits instead, up to `timeout` seconds.
    """
    url = _checked(url)
    check_file(url)
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    # isolation_level: the driver shall not open transactions on its own
    engine = create_engine(url, connect_args={"timeout": timeout, "factory": _Connection, "isolation_level": None})

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("begin" if reading else "begin immediate")

    return engine


def use_write_ahead_log(engine: Engine) -> None:
    """Switch SQLite to its write-ahead log, in which readers and the writer do not wait for each other."""
    if engine.dialect.name == "sqlite":
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("pragma journal_mode = wal")
        except sqlite3.OperationalError:
            pass  # someone is writing just now: the next one that opens it switches
        finally:
            raw.close()


class _Connection(sqlite3.Connection):
    """SQLite as hadnas uses it: references are checked; a commit survives a killed process and takes no fsync.

    With the write-ahead log a power cut may cost the last commits, never the database. A study makes hundreds of
    commits a minute, and an fsync takes up to 50 ms.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execute("pragma synchronous = normal")
        self.execute("pragma foreign_keys = on")


def check_file(url: str) -> None:
    """Raise `StudyError` where a SQLite URL names something that is no database, before anything opens it."""
    place = make_url(url)
    if place.get_backend_name() != "sqlite" or not place.database or not Path(place.database).exists():
        return
    try:
        with open(place.database, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StudyError(f"{place.database}: cannot be read ({error.strerror})") from error
    if head and head != b"SQLite format 3\x00":
        raise StudyError(f"{place.database}: is not a SQLite database (or is damaged); it was left as it is")


@contextmanager
def clear_errors(url: str) -> Iterator[None]:
    """Turn what a database driver raises into one sentence that names the database."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        if "locked" in said:
            said = "another process holds its lock and did not let go in time; nothing was changed"
        elif "malformed" in said or "not a database" in said:
            said = f"the database is damaged ({said}); the file was left as it is"
        raise StudyError(f"{shown(url)}: {said}") from error


def shown(url: str) -> str:
    """A URL fit for a message: a file by its path, a server without its password."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        return place.database or url
    return place.render_as_string(hide_password=True)


def _checked(url: str) -> str:
    try:
        place: URL = make_url(url)
    except ArgumentError as error:
        raise StudyError(f"storage {url!r}: not a database URL such as postgresql://user@host/name") from error
    if place.get_backend_name() == "sqlite":
        if not place.database or place.database == ":memory:":
            raise StudyError(f"storage {url!r}: a SQLite database needs a file, as in sqlite:////path/hadnas.db")
        return url
    if place.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise StudyError(f"storage {shown(url)!r}: known are sqlite:///file and postgresql://user@host/name")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StudyError("PostgreSQL needs psycopg 3: install hadnas[postgres]") from error
    return place.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StudyError(
            f"home {str(path)!r} cannot be written ({error.strerror}); name another with --home or HADNAS_HOME"
        ) from error
