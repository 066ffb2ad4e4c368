"""A study as a whole in MLflow: settings, data, curves, description and colours, in its parent run and experiment.

Several workers may write at once, each whatever is new: a setting or a point that is there already stays.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.exceptions import MlflowException
from mlflow.types import Schema, TensorSpec

from hadnas.inputs import InputShape, Tokens, size_of
from hadnas.track import keys
from hadnas.track.names import mlflow_name

if TYPE_CHECKING:
    from hadnas.track.runs import Tracker


@dataclass(frozen=True)
class ImageData:
    """The images of a study, as MLflow's datasets: one for each split.

    task_inputs: name and shape of each input, such as (("image", (channels, height, width)),)
    outputs: the number of classes, labels or values; `target` is which of them
    sizes: the number of images of each split by its context, "training" or "validation"
    """

    name: str
    digest: str
    source: str
    task_inputs: tuple[tuple[str, InputShape], ...]
    target: str
    outputs: int
    sizes: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> list[DatasetInput]:
        """The datasets of a run. MLflow distinguishes them by name and digest."""
        several_inputs = len(self.task_inputs) > 1
        images = Schema(
            [
                TensorSpec(
                    np.dtype("int64" if isinstance(shape, Tokens) else "float32"),
                    (-1, *size_of(shape)),
                    name if several_inputs else None,
                )
                for name, shape in self.task_inputs
            ]
        )
        one, several = TensorSpec(np.dtype("int64"), (-1,)), TensorSpec(np.dtype("float32"), (-1, self.outputs))
        schema = TensorDatasetSchema(images, Schema([one if self.target == "classes" else several]))
        return [
            DatasetInput(
                Dataset(
                    f"{self.name} ({context})",
                    self.digest,
                    source_type="local",
                    source=json.dumps({"uri": self.source}),
                    schema=json.dumps(schema.to_dict()),
                    profile=json.dumps({"num_rows": size}),
                ),
                [InputTag(keys.CONTEXT, context)],
            )
            for context, size in self.sizes.items()
        ]


def log_settings(tracker: "Tracker", settings: Mapping[str, object], growing: Mapping[str, object]) -> None:
    """Log the study's settings as parameters of the parent run; `growing`, which may change, as tags."""
    known = tracker.client.get_run(tracker.parent_run_id).data.params
    absent = {key: value for key, value in settings.items() if mlflow_name(key) not in known}
    if absent:
        tracker.log_params(tracker.parent_run_id, absent)
    tracker.log_tags(tracker.parent_run_id, {keys.GROWING[key]: value for key, value in growing.items()})


def describe_experiment(tracker: "Tracker", text: str) -> None:
    """Set the description of the experiment, Markdown."""
    tracker.client.set_experiment_tag(tracker.experiment_id, keys.NOTE, text)


def describe_parent(tracker: "Tracker", text: str) -> None:
    """Set the description of the parent run, Markdown."""
    tracker.log_tags(tracker.parent_run_id, {keys.NOTE: text})


def last_point(tracker: "Tracker") -> int:
    """The time of the last point of the parent run's curves, in milliseconds since 1970; -1 without any."""
    history = tracker.client.get_metric_history(tracker.parent_run_id, keys.FRONT_SIZE)
    return max((point.timestamp for point in history), default=-1)


def log_points(tracker: "Tracker", points: Iterable[tuple[int, int, Mapping[str, float]]]) -> None:
    """Add points to the parent run's curves: (milliseconds since 1970, architectures done, figures by name)."""
    metrics = (
        Metric(mlflow_name(name), float(value), when, done)
        for when, done, figures in points
        for name, value in figures.items()
    )
    tracker.log_points(tracker.parent_run_id, metrics, {})


def recolour(tracker: "Tracker", colour: str, run_ids: Collection[str], otherwise: str) -> None:
    """Give these runs a colour, and the others that have it the colour `otherwise`."""
    having = {str(run.info.run_id) for run in tracker.search(f"tags.`{keys.COLOUR}` = '{colour}'")}
    changes = dict.fromkeys(having - set(run_ids), otherwise) | dict.fromkeys(set(run_ids) - having, colour)
    for run_id, new in changes.items():
        with suppress(MlflowException):  # it was deleted in the UI
            tracker.log_tags(run_id, {keys.COLOUR: new})


def link(tracker: "Tracker", run_id: str) -> str:
    """The address of a run, relative to that of MLflow's server."""
    return f"#/experiments/{tracker.experiment_id}/runs/{run_id}?workflowType=machine_learning"
