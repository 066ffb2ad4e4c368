"""Candidates of a search as runs in MLflow: parameters, figures, curves and files."""

import hashlib
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hadnas.arch.diagram import diagram
from hadnas.arch.families import families_texts, family_counts
from hadnas.arch.node import Arch
from hadnas.errors import BuildError, MeasurementError
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import Plan
from hadnas.inputs import AllMoments
from hadnas.measure.cost import Cost, cost
from hadnas.measure.figures import values
from hadnas.results.finals.finals import read_finals
from hadnas.results.finals.stress import read_stressed
from hadnas.results.plots import GREEN, RED, SKY
from hadnas.results.predictions import draw_predictions, prediction_rows
from hadnas.results.table import StudyResults
from hadnas.search.job import Outcome
from hadnas.source.module import plan_source
from hadnas.store.records import CurvePoint, StoredLatency
from hadnas.store.study import Study
from hadnas.store.trials import FINALS_RUNS, final_entries
from hadnas.track import keys
from hadnas.track.parent import ImageData
from hadnas.track.runs import End, Tracker
from hadnas.train.score import Score
from hadnas.train.trainer import Epoch

KIND_COLOURS = {"trial": SKY, "baseline": RED, "final": GREEN}
"""By kind of run, as in the figures of the report; candidates on the front are blue (`Overview`)."""

SETTINGS = ("epochs", "batch", "lr", "optimizer", "augment", "seed", "evaluate")
"""Settings of a training that every run has; of the other ones it has those that differ from the defaults."""


def recipe_settings(study: Study) -> dict[str, object]:
    """The settings of every training of a study, for its runs."""
    shown = (*SETTINGS, *study.recipe.model_dump(exclude_defaults=True))
    return {name: value for name, value in study.training.items() if name in shown}


def image_data(results: StudyResults) -> ImageData:
    """The images of a study, from its stored facts."""
    stored, source = results.stored, results.study.data.source
    parts = stored.get("parts", {})
    return ImageData(
        name=Path(source.removeprefix("torch/").partition(":")[0]).stem,
        digest=stored["digest"],
        source=source,
        task_inputs=results.task().inputs,
        target=stored.get("target", "classes"),
        outputs=stored["classes"],
        sizes={context: parts.get(part, "-") for context, part in (("training", "train"), ("validation",) * 2)},
    )


TREE_WIDTH = 60
"""Characters in a line of a run's description."""


class Mirror:
    """Writes candidates to MLflow.

    settings: parameters that all of its runs have
    data: the images of all of its runs
    home: the folder with the weights
    """

    def __init__(
        self,
        tracker: Tracker,
        moments: AllMoments,
        class_names: Sequence[str],
        settings: Mapping[str, object] | None = None,
        data: ImageData | None = None,
        home: Path | None = None,
    ) -> None:
        self.home = home
        self.tracker, self.moments, self.class_names = tracker, moments, class_names
        self.settings, self.data = settings or {}, data

    def start(self, number: int | None, kind: str, name: str, arch: Arch, params: Mapping[str, Any]) -> str:
        """Open the run of a candidate and return its id."""
        blocks, merges = families_texts(arch)
        counts = {keys.count_of(family): count for family, count in family_counts(arch).items()}
        shown = {keys.BLOCKS: blocks, keys.MERGES: merges, **counts, **self.settings, **params}
        known = {keys.FINGERPRINT: arch.fingerprint, keys.COLOUR: KIND_COLOURS[kind]}
        run_id = self.tracker.start_trial(number, kind, name, shown, known, note=_tree(arch))
        if self.data is not None:
            self.tracker.log_inputs(run_id, self.data.inputs)
        return run_id

    def measured(self, run_id: str, name: str, plan: Plan, outcome: Outcome) -> None:
        """Log the figures and the files."""
        timed = {keys.LATENCY: json.dumps(outcome.latency.protocol)} if outcome.latency is not None else {}
        self.tracker.log_metrics(run_id, outcome.figures, timed)
        self._write(run_id, name, plan, outcome.counted)

    def epoch(self, run_id: str, epoch: Epoch) -> None:
        """Add a point to the curves."""
        self.tracker.log_epoch(run_id, epoch.epoch, _point(epoch))

    def trained(self, run_id: str, outcome: Outcome, *, live: bool = True) -> None:
        """Log the curve as a table, and as points unless they were logged `live`."""
        assert outcome.training is not None
        last = outcome.training.attempt  # earlier attempts were interrupted
        curve = [point for point in outcome.training.curve if point.attempt == last]
        if outcome.rung is not None:  # its training may have been continued since
            curve = [point for point in curve if point.epoch <= outcome.rung]
            self.tracker.log_tags(run_id, {keys.RUNG: outcome.rung})
        if curve:
            self.tracker.log_rows(run_id, [_row(point) for point in curve], "curve.csv")
        if outcome.score is not None:
            self._predictions(run_id, outcome.score)
        if self.home is not None and outcome.training.weights is not None:
            self.tracker.log_weights(run_id, self.home / outcome.training.weights)
        if live and not outcome.reused:
            return
        points = [(point.epoch, _point(point)) for point in curve]
        self.tracker.log_curve(run_id, points, {keys.REUSED: outcome.training.study} if outcome.reused else {})

    def _predictions(self, run_id: str, score: Score) -> None:
        """Write tables and a drawing of what the trained network predicts on the validation split."""
        for name, rows in prediction_rows(score, self.class_names).items():
            self.tracker.log_rows(run_id, rows, f"predictions/{name}.csv")
        if drawing := draw_predictions(score, self.class_names):
            self.tracker.log_text(run_id, drawing, "predictions/drawing.svg")

    def compared(self, run_id: str, backend: str, latency: StoredLatency) -> None:
        """Log the latency on a further backend."""
        figures = {f"{name}.{backend}": value for name, value in values("latency", latency.figures).items()}
        self.tracker.log_metrics(run_id, figures, {f"{keys.LATENCY}.{backend}": json.dumps(latency.protocol)})

    def end(self, run_id: str, state: End, reason: str | None = None) -> None:
        """Close the run."""
        self.tracker.end_trial(run_id, state, reason)

    def _write(self, run_id: str, name: str, plan: Plan, counted: Cost | None) -> None:
        """Write data, tree, diagram, cost by module (counted now if it is not given) and code."""
        log, arch = self.tracker.log_text, plan.arch
        log(run_id, arch.json, "arch.json")
        log(run_id, arch.tree(), "arch.txt")
        log(run_id, diagram(arch), "architecture.svg")
        try:
            counted = counted or cost(build_plan(plan, device="meta"), *plan.task.shapes)
            parts = [{"module": path, **asdict(own)} for path, own in counted.by_module.items()]
            self.tracker.log_rows(run_id, parts, "cost.csv")
            origin = {"study": self.tracker.study, "network": name}
            log(run_id, plan_source(plan, origin, self.moments, self.class_names), "model.py")
        except (BuildError, MeasurementError):  # of the candidate, which was refused for it
            return


def _row(point: CurvePoint) -> dict[str, Any]:
    """A point as a row of numbers."""
    rest = asdict(point)
    metrics = rest.pop("metrics")
    return {**rest, **{f"val_{name}": value for name, value in metrics.items()}}


def _point(epoch: Epoch | CurvePoint) -> dict[str, float]:
    """The finite values of an epoch's point; the last point has the figures of the training."""
    point = {"train/loss": epoch.train_loss, **values("training", epoch)}
    return {name: value for name, value in point.items() if value is not None}


def _tree(arch: Arch) -> str:
    """The tree in Markdown, in lines so short that MLflow shows them beside its own column."""
    lines = []
    for line in arch.tree().splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(line, TREE_WIDTH, subsequent_indent=f"{indent}    ")
    return "\n".join(["```", *lines, "```"])


def mirror_of(results: StudyResults, tracker: Tracker, **settings: object) -> Mirror:
    """The mirror of a study's candidates; `settings` are shown with those of its recipe."""
    shared = {**recipe_settings(results.study), **settings}
    return Mirror(tracker, results.moments(), results.class_names(), shared, image_data(results), results.home.path)


def mirror_finals(results: StudyResults, tracker: Tracker) -> None:
    """One run per network of the finals, with the metric on the test split and its interval; an existing run stays.

    For one process at a time, under `Tracker.alone`.
    """
    known = tracker.run_ids(deleted=True)
    runs = results.book.user_attrs.get(FINALS_RUNS, {})
    shown: dict[str, str] = {sign: run_id for sign, run_id in runs.items() if run_id in known}
    stressed = read_stressed(results)
    for final, entry in zip(read_finals(results), final_entries(results.book), strict=True):
        sign = hashlib.sha256(repr((final.name, [asdict(key) for key in entry.keys])).encode()).hexdigest()[:16]
        under = {
            f"stress/{one.stress.replace(':', '/')}": one.estimate.mean for one in stressed if one.name == final.name
        }
        if sign in shown:
            tracker.log_metrics(shown[sign], under)
            continue
        arch = results.architecture(final.fingerprint)
        assert arch is not None
        tags = {keys.FINGERPRINT: final.fingerprint, keys.FINAL: final.kind, keys.COLOUR: KIND_COLOURS["final"]}
        run_id = tracker.start_trial(None, "final", f"final {final.name}", {}, tags, note=_tree(arch))
        if final.estimate is not None:
            found = final.estimate
            figures = {f"test/{final.metric}": found.mean, "test/low": found.low, "test/high": found.high}
            tracker.log_metrics(run_id, figures | under | {"test/n": found.n, "test/seeds": found.seeds})
        tracker.end_trial(run_id, "FINISHED" if final.estimate is not None else "KILLED", final.reason)
        shown[sign] = run_id
    results.book.set_user_attr(FINALS_RUNS, shown)
