"""Access to a database: SQLite in a file for one machine, PostgreSQL for several.

Both have the same waits, transactions and errors; an error is one sentence that names the database.
"""

import atexit
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from hadnas.errors import HadnasError, StudyError, cut, first_line
from hadnas.paths import as_path

TIMEOUT = 60.0
"""Seconds that a connection waits for a lock that another process holds."""

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_BUSY_SNAPSHOT", "SQLITE_BUSY_RECOVERY", "SQLITE_LOCKED_SHAREDCACHE")
_DAMAGED, _FOREIGN_KEY = ("SQLITE_CORRUPT", "SQLITE_NOTADB"), ("SQLITE_CONSTRAINT_FOREIGNKEY", "23503")
"""Codes of the drivers' errors: names in SQLite, five characters in PostgreSQL."""
_LOCKED = "another process holds its lock and did not release it in time; nothing was changed"


class Sqlite:
    """A database in a file, for the processes of one machine; `insert` has `on_conflict_do_nothing`."""

    insert = staticmethod(sqlite.insert)

    def __init__(self, place: URL) -> None:
        self.place, self.file = place, Path(str(place.database))

    def __str__(self) -> str:
        return self.place.database or self.place.render_as_string(hide_password=True)

    @property
    def is_missing(self) -> bool:
        """Whether there is certainly nothing to read."""
        return not as_path(str(self.file)).exists()

    def tracking(self, home: Path) -> str:
        """The URL of MLflow's database beside this one; with a plain `sqlite:///`, MLflow would create its folders."""
        return sqlite_url(home / "mlflow.db", "sqlite+pysqlite")

    def make(self, beside: str) -> None:
        """Nothing: MLflow creates the file."""

    def options(self, timeout: float) -> dict[str, Any]:
        """What `create_engine` takes beside the URL."""
        return {"connect_args": {"timeout": timeout, "factory": SqliteConnection}}

    def engine(self, timeout: float) -> Engine:
        """An engine on which `engine.begin()` takes the write lock at once, waiting up to `timeout` seconds.

        A transaction that read first and writes later is refused as soon as another process wrote in between.
        """
        options = self.options(timeout)
        options["connect_args"]["isolation_level"] = None  # the driver must not open transactions itself
        engine = create_engine(self.place, **options)

        @event.listens_for(engine, "begin")
        def _begun(connection: Connection) -> None:
            reading = connection.get_execution_options().get("reading", False)
            connection.exec_driver_sql("begin" if reading else "begin immediate")

        return engine

    def now(self, session: Session) -> float:
        """Seconds since 1970 by one clock for all workers: the machine's."""
        return time.time()

    def alone(self, key: int) -> AbstractContextManager[None]:
        """Nothing: a writing transaction is alone, and the processes of one machine have a lock file."""
        return nullcontext()


class Postgres:
    """A database on a server, for the processes of several machines."""

    insert = staticmethod(postgresql.insert)
    is_missing = False

    def __init__(self, place: URL) -> None:
        self.place = place

    def __str__(self) -> str:
        return self.place.set(query={}).render_as_string(hide_password=True)

    def tracking(self, home: Path) -> str:
        """The URL of MLflow's database beside this one."""
        return self.place.set(database=f"{self.place.database}_mlflow").render_as_string(hide_password=False)

    def make(self, beside: str) -> None:
        """Create the database if it is missing; `beside` is the URL of another one on the server."""
        with Postgres(make_url(beside))._connected(isolation_level="AUTOCOMMIT") as connection:
            known = text("select 1 from pg_database where datname = :name")
            if connection.execute(known, {"name": self.place.database}).scalar() is None:
                name = connection.dialect.identifier_preparer.quote(str(self.place.database))
                connection.execute(text(f"create database {name}"))

    def options(self, timeout: float) -> dict[str, Any]:
        """What `create_engine` takes beside the URL."""
        return {"pool_pre_ping": True}

    def engine(self, timeout: float) -> Engine:
        """An engine that replaces a lost connection."""
        return create_engine(self.place, **self.options(timeout))

    def now(self, session: Session) -> float:
        """Seconds since 1970 by one clock for all workers: the server's."""
        return float(session.scalars(select(func.extract("epoch", func.clock_timestamp()))).one())

    @contextmanager
    def _connected(self, **options: Any) -> Iterator[Connection]:
        engine = create_engine(self.place, poolclass=NullPool)
        with engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def alone(self, key: int) -> Iterator[None]:
        """Hold the server's lock `key`: a lock file covers one machine only."""
        with self._connected() as connection:
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": key})
            yield


def dialect(url: str | URL) -> Sqlite | Postgres:
    """The part that depends on the kind of database. Its text is fit for a message: no password, no options."""
    place = make_url(url)
    return Sqlite(place) if place.get_backend_name() == "sqlite" else Postgres(place)


class Database:
    """Reading and writing sessions on the database at `url`."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self.url = url
        self.engine = open_engine(url, timeout)
        self._reader = self.engine.execution_options(reading=True)
        self.dialect = dialect(self.engine.url)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction, alone among the writers of a SQLite file."""
        with clear_errors(self.url), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that reads and waits for no writer."""
        with clear_errors(self.url, "a row of the ledger"), Session(self._reader) as session:
            yield session


def open_engine(url: str, timeout: float = TIMEOUT) -> Engine:
    """An engine that waits up to `timeout` seconds for a lock. Raises `StudyError` if a file cannot be opened."""
    url = checked_url(url)
    open_file(url, timeout)
    return closed_at_exit(dialect(url).engine(timeout))


_ENGINES: WeakSet[Engine] = WeakSet()


def closed_at_exit(engine: Engine) -> Engine:
    """The engine; its connections are closed when the process ends, if not before.

    With the last one SQLite moves its write-ahead log into the database: then there is one file to copy.
    """
    _ENGINES.add(engine)
    return engine


@atexit.register
def close_engines() -> None:
    """Close every database that this process opened."""
    for engine in list(_ENGINES):
        engine.dispose()


class SqliteConnection(sqlite3.Connection):
    """SQLite as hadnas uses it: references are checked; a commit survives a killed process and takes no fsync.

    With the write-ahead log a power cut may cost the last commits, never the database. A study makes hundreds of
    commits a minute, and an fsync takes up to 50 ms.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execute("pragma synchronous = normal")
        self.execute("pragma foreign_keys = on")


def open_file(url: str, timeout: float = TIMEOUT) -> None:
    """Create a missing SQLite file, and raise `StudyError` for a file that is no database, before anything opens it.

    Also for triggers and views, programs that run when rows are read or written. A new file gets a write-ahead log:
    readers and the writer do not wait for each other. Nothing but SQLite may open the file: when a process closes it,
    POSIX releases the locks of all its connections, and another may delete their log (sqlite.org/howtocorrupt, 2.2).
    """
    kind, until = dialect(url), time.monotonic() + timeout
    if not isinstance(kind, Sqlite):
        return
    with clear_errors(url):
        while not _opened(kind.file, timeout):
            if time.monotonic() > until:
                raise StudyError(f"{shown(url)}: {_LOCKED}")
            time.sleep(0.01)


def _opened(path: Path, timeout: float) -> bool:
    """Whether the file could be opened; False while another process creates it, for which SQLite does not wait."""
    try:
        new = not path.exists() or not path.stat().st_size
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from error
    with closing(sqlite3.connect(path, timeout=timeout)) as connection:
        try:
            connection.execute("pragma journal_mode = wal" if new else "pragma schema_version")
            programs = "select type, name from sqlite_master where type in ('trigger', 'view')"
            for kind, name in connection.execute(programs):
                raise StudyError(f"{path}: the database has the {kind} {cut(name)}; a home has tables only")
        except sqlite3.OperationalError as error:
            if new and error.sqlite_errorname in _BUSY:
                return False
            raise
    return True


@contextmanager
def clear_errors(url: str, read: str = "") -> Iterator[None]:
    """Turn a database driver's error, also as the cause of an Optuna error, into a StudyError that names the database.

    read: what the body only reads; any other error there means a damaged row (text that is no JSON, no date)
    """
    try:
        yield
    except HadnasError:
        raise
    except Exception as raised:
        error = raised if isinstance(raised, DBAPIError | sqlite3.Error) else raised.__cause__
        if not isinstance(error, DBAPIError | sqlite3.Error):
            if not read:
                raise
            said = f"{type(raised).__name__}: {first_line(raised)}"
            raise StudyError(f"{shown(url)}: {read} is damaged ({said})") from raised
        own = getattr(error, "orig", None) or error  # the driver's error has a code
        code = getattr(own, "sqlite_errorname", None) or getattr(own, "sqlstate", None) or ""
        said = str(own).strip().partition("\n")[0]
        if code in _FOREIGN_KEY:
            raise StudyError("the ledger does not know this architecture; put_architecture first") from error
        if code in _BUSY:
            said = _LOCKED
        elif code.startswith(_DAMAGED):
            said = f"the database is damaged ({said}); the file was left as it is"
        raise StudyError(f"{shown(url)}: {said}") from error


def sqlite_url(path: Path, driver: str = "sqlite") -> str:
    """The URL of a SQLite file; characters of the path with a meaning in URLs (`?`, `#`, `%`) are escaped."""
    return URL.create(driver, database=str(path)).render_as_string()


def shown(url: str) -> str:
    """A URL fit for a message: a file by its path, a server without password and options (an option may be one)."""
    return str(dialect(url))


def checked_url(url: str) -> str:
    """The URL with its driver. Raises `StudyError` if it is neither a SQLite file nor PostgreSQL."""
    try:
        place: URL = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise StudyError(
            "the storage is no database URL (not shown here: it may contain a password); allowed are "
            "sqlite:////path/hadnas.db and postgresql://user@host:port/name"
        ) from None
    if isinstance(dialect(place), Sqlite):
        if not place.database or place.database == ":memory:":
            raise StudyError(f"storage {shown(url)!r}: a SQLite database needs a file, as in sqlite:////path/hadnas.db")
        return place.render_as_string(hide_password=False)
    if place.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise StudyError(f"storage {shown(url)!r}: known are sqlite:///file and postgresql://user@host/name")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StudyError("PostgreSQL needs psycopg 3: install hadnas[postgres]") from error
    return place.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
