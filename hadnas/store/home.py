"""Where studies live: a directory with a database, a tracking store, weights and artifacts; or a database server.

    runs/
      hadnas.db                             Optuna's tables and the ledger (`hadnas_*`)
      mlflow.db                             MLflow's tables: it cannot share a database with Optuna
      artifacts/                            MLflow's files
      checkpoints/                          of trainings that run, were interrupted or stopped
      <study>/weights/<fingerprint>.safetensors
      <study>/start_<hash>.safetensors      of a distillation: what its combinations start from

Three things may be set: the directory (`--home`, `HADNAS_HOME`) and, for workers on several machines, a database URL
(`HADNAS_STORAGE`) and the address of MLflow's server (`HADNAS_TRACKING`). With PostgreSQL the tracking store is by
default a second database beside it, `<name>_mlflow`.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Literal

from hadnas.errors import StudyError, cut
from hadnas.paths import as_path, locked, sha256_of
from hadnas.store.database import (
    TIMEOUT,
    checked_url,
    clear_errors,
    closed_at_exit,
    dialect,
    open_file,
    shown,
    sqlite_url,
)
from hadnas.store.health.outage import wait_for_server
from hadnas.store.records import Training, TrainingKey

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


SCHEMA = 20260617
"""The key of the server's lock under which schemas are created."""
REPAIR = 20261128
"""The key of that under which the runs of a study are repaired."""


class Home:
    """The directory of all studies and the database they share.

    `path` defaults to `HADNAS_HOME`, else `runs`; `storage` to `HADNAS_STORAGE`, else a SQLite file in the home;
    `tracking`, MLflow's store, to `HADNAS_TRACKING`, else one beside the database.
    The directory is created if it is missing, unless it is only read (`reading`); even then it must be writable, as
    SQLite and the locks write beside the database. Raises `StudyError` if it cannot be written, if there is nothing to
    read, or if the URL is neither SQLite nor PostgreSQL.
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
        if reading and dialect(self.url).is_missing:
            missing = f"{shown(self.url)} is missing"
            raise StudyError(f"there is no study in {self.path}: {missing}; --home or HADNAS_HOME names a home")
        _make(self.path)
        self.tracking_uri = tracking or os.environ.get("HADNAS_TRACKING") or self._tracking()

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r}, {shown(self.url)!r})"

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's files."""
        return self.path / "artifacts"

    def file(self, place: str) -> Path:
        """The path of a file that the ledger names. Raises `StudyError` if it leaves the home, as a changed row may."""
        if os.path.isabs(place) or ".." in Path(place).parts or "\0" in place:
            raise StudyError(
                f"the ledger names the weights {cut(place)}; allowed are paths inside the home {self.path}"
            )
        return self.path / place

    def make_place(self, study: str) -> None:
        """Create the folder of a study's weights. Raises `StudyError` if it cannot be written, before any work."""
        _make(self.path / study / "weights")

    @contextmanager
    def schema_lock(self) -> Iterator[None]:
        """The lock under which a schema is created, Optuna's or MLflow's: two processes at once would break it."""
        with locked(self.path / ".schema.lock"), clear_errors(self.url), dialect(self.url).alone(SCHEMA):
            yield

    def repair_lock(self) -> AbstractContextManager[None]:
        """The lock of the server under which one machine repairs the runs of a study; with SQLite nothing."""
        return dialect(self.url).alone(REPAIR)

    def _tracking(self) -> str:
        return dialect(self.url).tracking(self.path)

    @property
    def tracks_in_file(self) -> bool:
        """Whether MLflow's store is a file, not a server."""
        return self.tracking_uri.startswith("sqlite")

    def make_tracking_database(self) -> None:
        """Create MLflow's database on PostgreSQL if it is missing; MLflow creates a SQLite file itself."""
        if self.tracking_uri == self._tracking():
            with self.schema_lock():  # the server refuses the second of two that create one at once
                dialect(self.tracking_uri).make(beside=self.url)


def weights_of(training: Training, home: Home) -> Path:
    """The file of a training's weights, checked against the SHA-256 in the ledger (there since version 5).

    Raises StudyError if the file is missing or has changed.
    """
    if training.weights is None:
        raise StudyError(f"the training of {training.key.fingerprint} has no weights: it is {training.state}")
    path = home.file(training.weights)
    if not path.is_file():
        host = training.host.partition(" ")[0]
        raise StudyError(f"the weights {path} are missing; the home on {host}, where they were trained, has them")
    found, written = sha256_of(path), training.weights_sha256
    if written is not None and found != written:
        raise StudyError(
            f"the weights {path} have changed since they were trained: SHA-256 {found[:12]}..., recorded was "
            f"{written[:12]}...; bring the file back from a copy, or train in another home"
        )
    return path


def score_of(training: Training, home: Home, split: Literal["val", "test"], stress: str = "") -> Path:
    """The file of a finished training's outputs on a split, beside its weights; those before version 6 have none.

    stress: the text of a stress under which the network was scored
    """
    assert training.weights is not None
    changed = f"-{stress.replace(':', '-')}" if stress else ""
    return home.file(training.weights).with_suffix(f".{split}{changed}.safetensors")


def weights_beside(score: Path) -> Path | None:
    """The weights of which a file has the outputs, by its name as `score_of` gives it; None if it is no such file."""
    stem, _, split = score.name.removesuffix(".safetensors").partition(".")
    known = split == "val" or split.startswith("test")
    return score.with_name(f"{stem}.safetensors") if known and score.suffix == ".safetensors" else None


def checkpoint_of(key: TrainingKey, home: Home) -> Path:
    """The checkpoint of an unfinished training; it depends on the key only, so that any study can continue it."""
    return home.path / "checkpoints" / f"{key.fingerprint}-{key.variant}.pt"


def weights_name(study: str, fingerprint: str, variant: str = "") -> str:
    """The place of weights relative to the home, so that a home can be moved.

    `variant` distinguishes two trainings of one architecture in one study; `Ledger.place_weights` chooses it.
    """
    return f"{study}/weights/{fingerprint}{'-' + variant if variant else ''}.safetensors"


def optuna_storage(home: Home, timeout: float = TIMEOUT) -> "RDBStorage":
    """Optuna's storage in the home's database; its schema is created once, under a lock.

    Raises `StudyError` for a database that cannot be used or that another version of Optuna wrote.
    """
    from optuna.storages import RDBStorage

    with home.schema_lock():
        open_file(home.url, timeout)
        try:
            storage = RDBStorage(home.url, engine_kwargs=dialect(home.url).options(timeout))
        except RuntimeError as error:
            raise StudyError(f"{shown(home.url)}: {error}") from error
    wait_for_server(closed_at_exit(storage.engine))
    return storage


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):  # a probe without a name, which a kill cannot leave behind
            pass
    except OSError as error:
        raise StudyError(
            f"{str(path)!r} cannot be written ({error.strerror}); name another home with --home or HADNAS_HOME"
        ) from error
