"""The tables of the ledger and the version of their schema.

They are in the database that Optuna uses, with the prefix `hadnas_`, and have a version of their own in
`hadnas_schema`. `prepare` creates them once, updates an older ledger in one transaction, and refuses a
newer one. To change a table: change the class here, raise `VERSION` by one, and add to `STEPS` the function that
turns the version before into the new one with plain SQL (never with these classes: they will change again).
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import JSON, BigInteger, Connection, Double, ForeignKey, Integer, Text, UniqueConstraint, inspect, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hadnas.errors import StudyError

VERSION = 7


def add_workers(connection: Connection) -> None:
    """Version 5 adds workers with their heartbeats and items, and a hash of every file of weights.

    Earlier files have no hash.
    """
    connection.execute(
        text(
            "create table hadnas_worker (id text not null primary key, host text not null, pid bigint not null, "
            "began text not null, heartbeat double precision not null)"
        )
    )
    connection.execute(
        text(
            "create table hadnas_item (study text not null, item text not null, holder text, "
            "attempt bigint not null, primary key (study, item))"
        )
    )
    connection.execute(text("alter table hadnas_training add column holder text"))
    connection.execute(text("alter table hadnas_training add column weights_sha256 text"))


def add_metrics(connection: Connection) -> None:
    """Version 6 adds the metrics of a training and of each of its epochs; earlier ones have their accuracy alone."""
    for table in ("hadnas_training", "hadnas_epoch"):
        connection.execute(text(f"alter table {table} add column metrics json"))


def add_beginnings(connection: Connection) -> None:
    """Version 7 adds when the worker of an item began it, and what its supervisor writes when it dies or is killed."""
    connection.execute(text("alter table hadnas_item add column since double precision"))
    connection.execute(text("alter table hadnas_item add column reason text"))


Step = Callable[[Connection], None]
STEPS: dict[int, Step] = {4: add_workers, 5: add_metrics, 6: add_beginnings}
"""`STEPS[n]` turns a ledger of version n into one of version n + 1."""

SCHEMA_LOCK = 0x6861646E6173
"""The key ("hadnas") of the server's lock under which the ledger's schema is created."""


class Table(DeclarativeBase):
    """What all tables share: integers and floats wide enough for counts of operations and for seconds."""

    type_annotation_map = {int: BigInteger, float: Double, str: Text, dict[str, Any]: JSON}  # noqa: RUF012


class SchemaRow(Table):
    """One row: the version of the tables and the hadnas that wrote it."""

    __tablename__ = "hadnas_schema"
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    written_by: Mapped[str]


class ArchitectureRow(Table):
    """An architecture as canonical JSON, by fingerprint."""

    __tablename__ = "hadnas_architecture"
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    arch: Mapped[str]
    created: Mapped[float]


class CostRow(Table):
    """The costs of one forward of an architecture, with this code of its blocks, for a task at batch 1.

    In rows older than `code`, it is '', and the last three costs are null.
    """

    __tablename__ = "hadnas_cost"
    fingerprint: Mapped[str] = mapped_column(ForeignKey(ArchitectureRow.fingerprint), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    params: Mapped[int]
    macs: Mapped[int]
    elementwise: Mapped[int]
    products: Mapped[int]
    activations: Mapped[int]
    bytes_moved: Mapped[int | None]
    calls: Mapped[int | None]
    peak_activation_bytes: Mapped[int | None]


class LatencyRow(Table):
    """One latency measurement. Repeated ones are all stored; the newest is used."""

    __tablename__ = "hadnas_latency"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey(ArchitectureRow.fingerprint), index=True)
    task: Mapped[str]
    code: Mapped[str]
    protocol: Mapped[str]
    protocol_json: Mapped[dict[str, Any]]
    figures: Mapped[dict[str, Any]]
    host: Mapped[str]
    created: Mapped[float]


class PredictorRow(Table):
    """A latency predictor, fitted to candidates of a space for a task under a protocol (device, backend, ...)."""

    __tablename__ = "hadnas_predictor"
    space: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    protocol: Mapped[str] = mapped_column(primary_key=True)
    protocol_json: Mapped[dict[str, Any]]
    fit: Mapped[dict[str, Any]]
    created: Mapped[float]


class WorkerRow(Table):
    """A process that runs studies: its machine, its start, its last heartbeat."""

    __tablename__ = "hadnas_worker"
    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    began: Mapped[str]
    heartbeat: Mapped[float]


class ItemRow(Table):
    """A draw or a baseline of a study that is not finished, its worker, and the number of attempts.

    `since` is when the worker began it; a supervisor writes as `reason` how the worker died, or why it was killed.
    """

    __tablename__ = "hadnas_item"
    study: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str | None]
    attempt: Mapped[int]
    since: Mapped[float | None]
    reason: Mapped[str | None]


class TrainingRow(Table):
    """One training, with everything that determines its outcome as a unique key, so that one worker can claim it."""

    __tablename__ = "hadnas_training"
    __table_args__ = (UniqueConstraint("fingerprint", "task", "data", "recipe", "epochs", "seed", "code"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey(ArchitectureRow.fingerprint))
    task: Mapped[str]
    data: Mapped[str]
    recipe: Mapped[str]
    epochs: Mapped[int]
    seed: Mapped[int]
    code: Mapped[str]
    study: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    attempt: Mapped[int]
    worker: Mapped[str]
    holder: Mapped[str | None]
    host: Mapped[str]
    pid: Mapped[int]
    versions: Mapped[dict[str, Any]]
    started: Mapped[float]
    heartbeat: Mapped[float]
    finished: Mapped[float | None]
    val_accuracy: Mapped[float | None]
    val_loss: Mapped[float | None]
    val_n: Mapped[int | None]
    metrics: Mapped[dict[str, Any] | None]
    seconds: Mapped[float | None]
    weights: Mapped[str | None] = mapped_column(unique=True)
    weights_sha256: Mapped[str | None]


class EpochRow(Table):
    """One point of a training curve. The points of an interrupted attempt stay beside those of the next."""

    __tablename__ = "hadnas_epoch"
    training: Mapped[int] = mapped_column(Integer, ForeignKey(TrainingRow.id), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    train_loss: Mapped[float | None]
    val_loss: Mapped[float | None]
    val_accuracy: Mapped[float | None]
    metrics: Mapped[dict[str, Any] | None]
    seconds: Mapped[float | None]
    created: Mapped[float]


class TestRow(Table):
    """The score of a finished training on the test split: one character per image, 1 if correct; "" for values.

    The network's outputs are in a file beside its weights."""

    __tablename__ = "hadnas_test"
    training: Mapped[int] = mapped_column(Integer, ForeignKey(TrainingRow.id), primary_key=True)
    hits: Mapped[str]
    loss: Mapped[float]
    created: Mapped[float]


def prepare(
    connection: Connection, where: str = "ledger", version: int = VERSION, steps: Mapping[int, Step] = STEPS
) -> None:
    """Create the tables, or update them from an older version to `version`.

    `connection` is in a writing transaction, under SCHEMA_LOCK; the caller commits it: a step that fails changes
    nothing.
    Raises `StudyError` for a ledger that is newer than `version` or older than the oldest step.
    """
    if not inspect(connection).has_table(SchemaRow.__tablename__):
        Table.metadata.create_all(connection)
        _write_version(connection, version)
        return
    found, by = connection.execute(text("select version, written_by from hadnas_schema")).one()
    if found == version:
        return
    if found > version or any(at not in steps for at in range(found, version)):
        raise StudyError(
            f"{where}: the ledger has schema version {found} (written by {by}) and this hadnas reads versions "
            f"{_oldest(version, steps)} to {version}; use the hadnas that wrote it or another home; nothing was changed"
        )
    for at in range(found, version):
        steps[at](connection)
    _write_version(connection, version)


def _oldest(version: int, steps: Mapping[int, Step]) -> int:
    while version - 1 in steps:
        version -= 1
    return version


def _write_version(connection: Connection, version: int) -> None:
    from importlib.metadata import version as installed

    connection.execute(text("delete from hadnas_schema"))
    row = {"version": version, "written_by": f"hadnas {installed('hadnas')}"}
    connection.execute(text("insert into hadnas_schema (version, written_by) values (:version, :written_by)"), row)
