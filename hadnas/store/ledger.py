"""The ledger: everything that was ever measured, so that nothing is trained or timed twice.

It is in the database of the studies and is shared by all of them and by all their workers. A `TrainingKey` identifies
a training; a worker claims it before it trains, and a unique key in the database lets one worker win:

    claim = ledger.claim(key, study="digits")
    if claim.status == "mine":
        with ledger.worker.alive():
            ledger.add_epoch(claim, 1, train_loss=..., val_loss=..., metrics=..., seconds=...)
        sha256 = save_weights(module, home.path / ledger.place_weights(claim))
        ledger.finish(claim, metrics=..., val_loss=..., val_n=..., seconds=..., weights_sha256=sha256)
    elif claim.status == "done":
        claim.training.metrics, claim.training.curve
    else:  # "running elsewhere": claim again later, or with wait=seconds
        ...

A claim whose worker was killed goes to the next worker that asks: at once on the same machine, elsewhere after `stale`
seconds without a heartbeat. The curve of an interrupted training stays, under the number of its attempt; the next
attempt has a whole curve of its own, including the epochs that it continues from in a checkpoint.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hadnas.errors import LostClaim, StudyError
from hadnas.store.database import TIMEOUT, Database, clear_errors, shown
from hadnas.store.health.outage import wait_for_server
from hadnas.store.home import weights_name
from hadnas.store.measured import Measured, numbers
from hadnas.store.records import Claim, CurvePoint, State, Status, Test, Training, TrainingKey, record
from hadnas.store.tables import SCHEMA_LOCK, EpochRow, TestRow, TrainingRow, prepare
from hadnas.store.worker import STALE, Claims, Worker, this_host

_NETWORK = ("fingerprint", "code")  # the part of a key that says what is trained; the rest says how


class Ledger:
    """The ledger in the database at `url`; opening it creates its tables or updates them.

    measured  costs, latencies and predictors, which need no training
    worker    this process, as the other workers of the database see it
    claims    which worker has which item of a study

    Raises `StudyError` for a database that is locked, damaged, unreachable, or of another version, and changes nothing.
    """

    def __init__(self, url: str, *, stale: float = STALE, timeout: float = TIMEOUT) -> None:
        self.database = Database(url, timeout)
        self.measured = Measured(self.database)
        self.worker = Worker(self.database, stale)
        self.claims = Claims(self.database, self.worker)
        try:
            with clear_errors(url), self.database.dialect.alone(SCHEMA_LOCK), self.database.write() as session:
                prepare(session.connection(), where=shown(url))
            wait_for_server(self.database.engine)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    # Trainings

    def claim(
        self,
        key: TrainingKey,
        worker: str | None = None,
        *,
        study: str = "",
        versions: Mapping[str, Any] | None = None,
        wait: float = 0.0,
    ) -> Claim:
        """Ask to train `key`: of all workers that ask at once, one gets `mine`.

        Complete and failed trainings are `done`. A training that runs elsewhere is asked for again for `wait` seconds.
        Raises `StudyError` for a fingerprint without `put_architecture`.
        """
        until = time.monotonic() + wait
        worker = worker or f"{platform.node()}:{os.getpid()}"
        while True:
            claim = self._claim(key, worker, study, dict(versions or {}))
            if claim.status != "running elsewhere" or time.monotonic() >= until:
                return claim
            time.sleep(0.5)

    def _claim(self, key: TrainingKey, worker: str, study: str, versions: dict[str, Any]) -> Claim:
        with self.database.write() as session:
            now = self.database.dialect.now(session)
            start: dict[str, Any] = {"state": "running", "reason": None, "worker": worker, "host": this_host()}
            self.worker.beat(session)
            start |= {"holder": self.worker.id, "pid": os.getpid(), "versions": versions}
            start |= {"started": now, "heartbeat": now, "finished": None}
            new = self.database.dialect.insert(TrainingRow).values(**asdict(key), **start, study=study, attempt=1)
            mine = session.scalar(new.on_conflict_do_nothing().returning(TrainingRow.id)) is not None
            row = session.scalars(_of(key).with_for_update()).one()
            if not mine and (
                row.state in ("interrupted", "stopped")
                or (row.state == "running" and not self.worker.is_alive(session, row.holder))
            ):
                for name, value in start.items():
                    setattr(row, name, value)
                row.attempt += 1
                session.flush()
                mine = True
            status: Status = "mine" if mine else "running elsewhere" if row.state == "running" else "done"
            return Claim(status, key, row.id, _training(row, _curve(session, row.id)))

    def add_epoch(
        self,
        claim: Claim,
        epoch: int,
        *,
        train_loss: float | None = None,
        val_loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Add one point to the curve (epochs count from 1); it stays even if the training fails.

        Like every write under a claim it raises `LostClaim` if another worker has taken over the training.
        """
        point = {"train_loss": train_loss, "val_loss": val_loss, "seconds": seconds, **_columns(metrics or {})}
        with self.database.write() as session:
            now = self._held(session, claim).heartbeat
            place = {"training": claim.id, "attempt": claim.attempt, "epoch": epoch}
            session.merge(EpochRow(**place, **numbers(point), created=now))

    def place_weights(self, claim: Claim) -> str:
        """Reserve a path for the weights, relative to the home, that no other training has.

        It is `<study>/weights/<fingerprint>.safetensors`; a second training of the same architecture in the same study
        (other seed, recipe or block code) gets the `variant` of its key in the name, so that the first file remains.
        """
        with self.database.write() as session:
            row = self._held(session, claim)
            if row.weights is not None:
                return row.weights
            try:
                with session.begin_nested():
                    row.weights = place = weights_name(row.study, claim.key.fingerprint)
            except IntegrityError:
                row.weights = place = weights_name(row.study, claim.key.fingerprint, claim.key.variant)
            return place

    def finish(
        self,
        claim: Claim,
        *,
        metrics: Mapping[str, float],
        val_loss: float,
        val_n: int,
        seconds: float,
        weights_sha256: str | None = None,
    ) -> Training:
        """Close a training with its final figures: metrics and loss on `val_n` validation samples, training time.

        `weights_sha256` is the hash of the file of its weights, as `save_weights` returns it.
        """
        figures = {"val_loss": val_loss, "val_n": val_n, "seconds": seconds, **_columns(metrics)}
        return self._end(claim, "complete", None, {**figures, "weights_sha256": weights_sha256})

    def fail(self, claim: Claim, reason: str) -> Training:
        """Close a training that cannot succeed (it diverged): it is never tried again."""
        return self._end(claim, "failed", reason, {})

    def release(self, claim: Claim, reason: str = "interrupted") -> Training:
        """Release a claim without a result (Ctrl-C, lost data, out of memory): the next worker that asks gets it."""
        return self._end(claim, "interrupted", reason, {})

    def stop(self, claim: Claim, reason: str) -> Training:
        """Close a training that a rung stopped, without figures: the next worker that asks continues it."""
        return self._end(claim, "stopped", reason, {})

    def _end(self, claim: Claim, state: State, reason: str | None, figures: Mapping[str, Any]) -> Training:
        with self.database.write() as session:
            row = self._held(session, claim)
            row.state, row.reason, row.finished = state, reason, row.heartbeat
            for name, value in numbers(figures).items():
                setattr(row, name, value)
            session.flush()
            return _training(row, _curve(session, row.id))

    # The test split

    def put_test(self, key: TrainingKey, hits: Sequence[bool], loss: float) -> None:
        """Store which test images a finished training classified correctly, none for values, and the mean loss.

        A score that is there stays: the split is opened once. Raises `StudyError` for a training that is not complete.
        """
        with self.database.write() as session:
            row = session.scalar(_of(key))
            if row is None or row.state != "complete":
                raise StudyError(f"the training of {key.fingerprint} with seed {key.seed} is not complete")
            values: dict[str, Any] = {"training": row.id, "hits": "".join("01"[hit] for hit in hits), "loss": loss}
            values["created"] = self.database.dialect.now(session)
            insert = self.database.dialect.insert(TestRow).values(values)
            session.execute(insert.on_conflict_do_nothing())

    def get_test(self, key: TrainingKey) -> tuple[list[bool], float] | None:
        """The hits and the loss of `put_test`; None if the training was not scored."""
        with self.database.read() as session:
            query = select(TestRow).join(TrainingRow, TrainingRow.id == TestRow.training)
            row = session.scalar(query.where(*_is(key)))
            if row is None:
                return None
            kept = record(Test, {"hits": row.hits, "loss": row.loss})
            return [hit == "1" for hit in kept.hits], kept.loss

    # Reading

    def training(self, key: TrainingKey) -> Training | None:
        """One training with its curve, or None."""
        with self.database.read() as session:
            row = session.scalar(_of(key))
            return _training(row, _curve(session, row.id)) if row else None

    def trainings(self, *, fingerprint: str | None = None, study: str | None = None) -> list[Training]:
        """All trainings, oldest first, or those of one architecture or study, each with its curve."""
        query = select(TrainingRow).order_by(TrainingRow.id)
        if fingerprint is not None:
            query = query.where(TrainingRow.fingerprint == fingerprint)
        if study is not None:
            query = query.where(TrainingRow.study == study)
        with self.database.read() as session:
            return [_training(row, _curve(session, row.id)) for row in session.scalars(query).all()]

    def curves(self, like: TrainingKey) -> dict[tuple[str, str], list[CurvePoint]]:
        """(fingerprint, code) -> curve of the last attempt, of complete trainings that differ from `like` in no more.

        One query, however many they are.
        """
        alike = [getattr(TrainingRow, name) == value for name, value in asdict(like).items() if name not in _NETWORK]
        last = and_(EpochRow.training == TrainingRow.id, EpochRow.attempt == TrainingRow.attempt)
        query = select(TrainingRow.fingerprint, TrainingRow.code, EpochRow).join(EpochRow, last)
        query = query.where(*alike, TrainingRow.state == "complete").order_by(EpochRow.epoch)
        found: dict[tuple[str, str], list[CurvePoint]] = {}
        with self.database.read() as session:
            for fingerprint, code, row in session.execute(query):
                found.setdefault((fingerprint, code), []).append(_epoch(row))
        return found

    # Inside

    def _held(self, session: Session, claim: Claim) -> TrainingRow:
        row = session.scalar(select(TrainingRow).where(TrainingRow.id == claim.id).with_for_update())
        if row is None or row.attempt != claim.attempt or row.state != "running":
            now = f"{row.state} under {row.worker}, attempt {row.attempt}" if row else "gone"
            raise LostClaim(f"the training of {claim.key.fingerprint} is no longer this worker's: it is {now}")
        self.worker.beat(session)
        row.heartbeat = self.database.dialect.now(session)
        return row


def _is(key: TrainingKey) -> list[ColumnElement[bool]]:
    return [getattr(TrainingRow, name) == value for name, value in asdict(key).items()]


def _of(key: TrainingKey) -> Select[TrainingRow]:
    return select(TrainingRow).where(*_is(key))


def _curve(session: Session, training: int) -> tuple[CurvePoint, ...]:
    query = select(EpochRow).where(EpochRow.training == training).order_by(EpochRow.attempt, EpochRow.epoch)
    return tuple(map(_epoch, session.scalars(query)))


def _epoch(row: EpochRow) -> CurvePoint:
    rest = {f.name: getattr(row, f.name) for f in fields(CurvePoint)}
    return record(CurvePoint, {**rest, "metrics": _metrics(row)})


def _columns(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Metrics as columns; before version 6 the accuracy had the only one."""
    return {"metrics": numbers(metrics), "val_accuracy": metrics.get("accuracy")}


def _metrics(row: EpochRow | TrainingRow) -> dict[str, Any]:
    """The metrics of a row; a value that was not finite is left out."""
    old = {} if row.val_accuracy is None else {"accuracy": row.val_accuracy}
    return {name: value for name, value in (row.metrics or old).items() if value is not None}


def _training(row: TrainingRow, curve: tuple[CurvePoint, ...]) -> Training:
    key = record(TrainingKey, {f.name: getattr(row, f.name) for f in fields(TrainingKey)})
    rest = {f.name: getattr(row, f.name) for f in fields(Training) if f.name not in ("key", "curve")}
    return record(Training, {"key": key, "curve": curve, **rest, "metrics": _metrics(row)})
