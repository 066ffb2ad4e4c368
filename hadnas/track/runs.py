"""A study in MLflow: one experiment, one parent run, one nested run per trial or baseline.

MLflow is a mirror: plain values go in, and no decision depends on it, so it can be deleted and written again from the
database and the ledger. All calls go through `MlflowClient` with an explicit run id: there is no global active run, so
several workers write to one study at once without a lock.
"""

import csv
import io
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import islice
from pathlib import Path
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.entities import Run as Run
from mlflow.exceptions import MlflowException

from hadnas.errors import StudyError, markdown
from hadnas.paths import locked
from hadnas.track import keys, store
from hadnas.track.failure import lost, reason_of
from hadnas.track.names import PARAM_LENGTH, TAG_LENGTH, clip, mlflow_name, user, without_password
from hadnas.track.weights import FOLDER

End = Literal["FINISHED", "KILLED", "FAILED"]

LEFT = "interrupted"
"""The reason of a run whose candidate is tried again."""

BATCH = 100  # parameters or tags in one request
POINTS = 1000  # points in one request
EVERY = 2.0  # most seconds that a point of a curve waits for others


class Tracker:
    """Writes one study to MLflow.

    tracking_uri:   MLflow's store, as `sqlite:////absolute/path/mlflow.db` or a server's address
    artifact_root:  a folder for files logged to runs; created if missing
    study:          the study's name; its experiment is `hadnas/<study>`

    For a known study it opens the experiment and the parent run, and sets the latter running; if the home was moved,
    both are new, and `search.mirror` fills them. Raises `StudyError` if the tracking store cannot be opened.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path, study: str) -> None:
        quieten()
        self.study = study
        self.tracking_uri = tracking_uri
        self._mine: set[str] = set()
        self._lock = artifact_root / f".{study}.runs.lock"
        self._found = "FINISHED"  # the status in which the parent run was found
        self._notes: dict[str, str] = {}
        self._points: dict[str, list[Metric]] = {}  # of curves, not written yet
        self._wrote: dict[str, int] = {}  # when, in milliseconds since 1970
        try:
            self._artifacts = artifact_root = artifact_root.resolve()
            artifact_root.mkdir(parents=True, exist_ok=True)
            # Two processes that open a new store at once would each create its tables, the experiment and the parent.
            with locked(artifact_root / ".open.lock"):
                store.make(tracking_uri, artifact_root)
                self.client = MlflowClient(tracking_uri)
                self.experiment_id, moved = store.open_experiment(self.client, tracking_uri, artifact_root, study)
                self.parent_run_id = self._open_parent()
                if moved is not None:
                    store.leave_behind(self.client, moved, artifact_root / study, self.parent_run_id)
        except Exception as error:  # of SQLAlchemy, MLflow or the system
            raise StudyError(
                f"study {study!r}: MLflow cannot store its runs in {without_password(tracking_uri)} with files in "
                f"{artifact_root} ({reason_of(error)}); allowed: a database of its own, as sqlite:////path/mlflow.db, "
                "and a folder that can be written; a damaged database may be deleted: the search writes it again"
            ) from error

    def _open_parent(self) -> str:
        for run in self.search(f"tags.`{keys.KIND}` = 'study'", "ALL"):
            run_id = str(run.info.run_id)
            if run.info.lifecycle_stage == "deleted":  # in the UI, but the study continues
                self.client.restore_run(run_id)
            self._found = str(run.info.status)
            self.client.update_run(run_id, status="RUNNING")
            return run_id
        return self._create(self.study, {keys.KIND: "study", keys.STUDY: self.study})

    def alone(self) -> AbstractContextManager[None]:
        """The lock under which a process of this machine repairs the study's runs or writes those of finals."""
        return locked(self._lock)

    @property
    def is_whole(self) -> bool:
        """Whether the store has all of the study; one that was deleted and created again has not."""
        return bool(self.client.get_experiment(self.experiment_id).tags.get(keys.WHOLE) == keys.CURRENT)

    def set_whole(self) -> None:
        """Mark the store as having all of the study."""
        self.client.set_experiment_tag(self.experiment_id, keys.WHOLE, keys.CURRENT)

    def run_ids(self, *, deleted: bool = False) -> set[str]:
        """The runs of the study; with `deleted` also those that were deleted in the UI."""
        return {str(run.info.run_id) for run in self.search("", "ALL" if deleted else "ACTIVE_ONLY")}

    def search(self, query: str, view: str = "ACTIVE_ONLY") -> Iterator[Run]:
        """The runs of the study that match a query of MLflow; `view` is ACTIVE_ONLY or ALL."""
        return store.runs(self.client, self.experiment_id, query, view)

    def _create(self, name: str, tags: Mapping[str, object]) -> str:
        named = {keys.SOURCE_NAME: "hadnas", keys.SOURCE_TYPE: "LOCAL", keys.USER: user(), **tags}
        cut = {mlflow_name(key): clip(value, TAG_LENGTH) for key, value in named.items()}
        return str(self.client.create_run(self.experiment_id, run_name=name, tags=cut).info.run_id)

    def start_trial(
        self,
        number: int | None,
        kind: str,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, object],
        note: str = "",
    ) -> str:
        """Open a run under the parent and return its id; it is visible, and running, from here on.

        number:  the number of the Optuna trial; None for a run without a trial, as of a baseline
        kind:    "trial", "baseline", ...; kept as a tag
        params:  the choices of the candidate and what else distinguishes runs; values of any plain type
        note:    Markdown for the run's description, as the architecture's tree
        """
        own: dict[str, object] = {keys.PARENT: self.parent_run_id, keys.KIND: kind, keys.STUDY: self.study}
        if number is not None:
            own[keys.TRIAL_NUMBER] = number
        if note:
            own[keys.NOTE] = note
        run_id = self._create(name, {**tags, **own})
        self._mine.add(run_id)
        if note:
            self._notes[run_id] = note
        self.log_params(run_id, params)
        return run_id

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters; MLflow refuses to change one already logged."""
        entities = iter([Param(mlflow_name(key), clip(value, PARAM_LENGTH)) for key, value in params.items()])
        while batch := list(islice(entities, BATCH)):
            self.client.log_batch(run_id, params=batch)

    def log_inputs(self, run_id: str, inputs: Sequence[DatasetInput]) -> None:
        """Log the datasets of a run; one that the experiment has is not stored again."""
        self.client.log_inputs(run_id, list(inputs))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, object] | None = None) -> None:
        """Log figures, and tags on them, in one write; a figure may be NaN or infinite."""
        now = time.time_ns() // 1_000_000
        figures = [Metric(mlflow_name(k), float(v), now, 0) for k, v in metrics.items()]
        self.client.log_batch(run_id, metrics=figures, tags=_tags(tags or {}))

    def log_epoch(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the point of an epoch (counted from 1) to the run's curves; visible within `EVERY` seconds.

        Points of short epochs are written together, as each write of MLflow is a transaction.
        """
        now = time.time_ns() // 1_000_000
        points = self._points.setdefault(run_id, [])
        points += [Metric(mlflow_name(key), float(value), now, epoch) for key, value in metrics.items()]
        if now - self._wrote.get(run_id, 0) >= 1000 * EVERY:
            self._write_points(run_id)
            self._wrote[run_id] = now

    def log_curve(
        self, run_id: str, points: Iterable[tuple[int, Mapping[str, float]]], tags: Mapping[str, object]
    ) -> None:
        """Add whole curves, as (epoch, values), and tags, in as few writes as MLflow allows."""
        now = time.time_ns() // 1_000_000
        self._points.setdefault(run_id, []).extend(
            Metric(mlflow_name(key), float(value), now, epoch)
            for epoch, known in points
            for key, value in known.items()
        )
        self._write_points(run_id, tags)

    def _write_points(self, run_id: str, tags: Mapping[str, object] | None = None) -> None:
        self.log_points(run_id, self._points.pop(run_id, []), tags or {})

    def log_points(self, run_id: str, points: Iterable[Metric], tags: Mapping[str, object]) -> None:
        """Write points of curves and tags, in as few writes as MLflow allows."""
        left, rest = iter(points), _tags(tags)
        while (batch := list(islice(left, POINTS))) or rest:
            self.client.log_batch(run_id, metrics=batch, tags=rest)
            rest = []

    def log_tags(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags; an existing tag changes."""
        entities = iter(_tags(tags))
        while batch := list(islice(entities, BATCH)):
            self.client.log_batch(run_id, tags=batch)

    def log_text(self, run_id: str, text: str, path: str) -> None:
        """Store `text` as the run's file `path`, as `model.py` or `figures/front.svg`.

        Raises `StudyError` if it cannot be written, or would lie outside the home.
        """
        store.check_inside(self.tracking_uri, self._artifacts, self.client.get_run(run_id), path)
        try:
            self.client.log_text(run_id, text, path)
        except OSError as error:
            raise lost(self.tracking_uri, error) from error

    def log_weights(self, run_id: str, path: Path) -> None:
        """Store a file of weights on MLflow's server, for other machines; without a server it lies in the home."""
        if store.is_server(self.tracking_uri) and path.is_file():
            self.client.log_artifact(run_id, str(path), FOLDER)

    def log_rows(self, run_id: str, rows: Sequence[Mapping[str, object]], path: str) -> None:
        """Store rows of equal columns as the run's file `path`, which ends in `.csv`; MLflow shows it as a table."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        self.log_text(run_id, out.getvalue(), path)

    def end_trial(self, run_id: str, state: End, reason: str | None = None) -> None:
        """Close a run: FINISHED if trained, KILLED if refused, pruned or interrupted, FAILED after an error.

        The reason, if any, is a tag and the start of the run's description.
        """
        self._write_points(run_id)
        note = self._notes.pop(run_id, "")
        if reason:
            described = _described(state, reason) + (f"\n\n{note}" if note else "")
            self.log_tags(run_id, {keys.REASON: reason, keys.NOTE: described})
        self.client.set_terminated(run_id, state)
        self._mine.discard(run_id)
        self._wrote.pop(run_id, None)

    def runs(self, status: str) -> list[Run]:
        """The runs of this status, except the parent and those that this tracker has open."""
        held = {self.parent_run_id, *self._mine}
        return [run for run in self.search(f"attributes.status = '{status}'") if run.info.run_id not in held]

    def end_stale(self, run: Run) -> None:
        """Close a run that a dead process left, as KILLED and "interrupted"."""
        if self.client.get_run(run.info.run_id).info.status != run.info.status:
            return  # it has ended since it was looked up
        self._interrupt(run)

    def interrupt(self, run_id: str, reason: str = LEFT) -> None:
        """Close the run of a candidate that a dead worker left, as KILLED; a run that is gone is ignored.

        One that another worker has closed already gets the `reason` for which its candidate is refused.
        """
        with suppress(MlflowException):  # its store was deleted
            run = self.client.get_run(run_id)
            if run.info.status != "KILLED" or reason != LEFT:
                self._interrupt(run, reason)

    def delete(self, run_id: str) -> None:
        """Close and delete a run that was written in part, as in the UI: it can be restored there."""
        self.client.set_terminated(run_id, "KILLED")
        self.client.delete_run(run_id)

    def _interrupt(self, run: Run, reason: str = LEFT) -> None:
        note = run.data.tags.get(keys.NOTE, "")
        self._notes[run.info.run_id] = note.removeprefix(_described("KILLED", LEFT)).lstrip("\n")
        self.end_trial(run.info.run_id, "KILLED", reason)

    def close(self, state: End = "FINISHED") -> None:
        """End the parent run; the study may be opened again."""
        self.client.set_terminated(self.parent_run_id, state)

    def leave(self, *, searched: bool = True) -> None:
        """Put the parent run back as it was found; if no search runs elsewhere, one that was left open is closed."""
        status = "KILLED" if self._found == "RUNNING" and not searched else self._found
        self.client.update_run(self.parent_run_id, status=status)


def _described(state: End, reason: str) -> str:
    return f"**{state.lower()}**: {markdown(reason)}"


def _tags(tags: Mapping[str, object]) -> list[RunTag]:
    return [RunTag(mlflow_name(key), clip(value, TAG_LENGTH)) for key, value in tags.items()]


def quieten() -> None:
    """Silence MLflow and its schema migrations, except for warnings."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of what it raises, too
