"""A study as a whole in MLflow: settings, curves over its architectures, its front as a table, in the end a report."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from hadnas.errors import markdown
from hadnas.measure.figures import TABLE, metric_words, shown_in
from hadnas.measure.front import pareto_front
from hadnas.results.comparison import cost_axis
from hadnas.results.plots import BLUE, SKY
from hadnas.results.report import first_sentence, log_report
from hadnas.results.sections import MAX_ROWS, front_table
from hadnas.results.table import StudyResults
from hadnas.samplers.problem import Problem
from hadnas.samplers.volume import FIRST, Volume, volume
from hadnas.search.mirror.candidates import image_data, recipe_settings
from hadnas.search.proposals.prospects import prospects
from hadnas.space import size
from hadnas.store.stored import read_trials
from hadnas.store.trials import FIGURES, FINGERPRINT, ended, when
from hadnas.track import parent
from hadnas.track.keys import BEST, FRONT_SIZE, HYPERVOLUME, RUNG, WORDS, count_of
from hadnas.track.runs import Tracker
from hadnas.track.view import set_view, view_path
from hadnas.train.data.spec import Data

UPDATE_SECONDS = 5.0
"""The fewest seconds between two updates."""

UPDATE_SHARE = 0.05
"""The largest share of the time that updates take."""


class Overview:
    """Writes what the parent run and the experiment show of a study, with all its workers."""

    def __init__(self, results: StudyResults, tracker: Tracker, problem: Problem) -> None:
        self.results, self.tracker, self.problem = results, tracker, problem
        self._due = 0.0

    def open(self) -> None:
        """Set the view, the descriptions, the settings and the data."""
        study, tracker, stored = self.results.study, self.tracker, self.results.stored
        _set_view(self.results, tracker)
        goals = " and ".join(study.objectives)
        parent.describe_experiment(
            tracker,
            f"[Runs and charts]({view_path(tracker.experiment_id)}) and "
            f"[summary]({parent.link(tracker, tracker.parent_run_id)}) of an architecture search on "
            f"{markdown(Path(study.data.source).name)} for {goals}.",
        )
        settings: dict[str, object] = {"metric": study.metric_figure, "objectives": ", ".join(study.objectives)}
        settings |= {"constraints": study.limits or "none", "sampler": study.sampler}
        settings |= {f"sampler.{name}": value for name, value in study.sampler_options.items()}
        settings |= {"assignments": f"{size(study.space)}", "data": study.data.source, "digest": stored["digest"]}
        settings |= {"latency": str(study.latency), "rungs": ", ".join(map(str, study.rungs)) or "none"}
        settings |= {"baselines": ", ".join(study.baselines or ()) or "none", **recipe_settings(study)}
        growing = {"trials": study.trials, "patience": study.patience, "backends": ", ".join(study.backends) or "none"}
        parent.log_settings(tracker, settings, growing)
        tracker.log_inputs(tracker.parent_run_id, image_data(self.results).inputs)

    def update(self) -> None:
        """Write what is new, unless something was written a moment ago."""
        began = time.monotonic()
        if began >= self._due:
            self.results.refresh()
            self._write(_progress(self.results))
            now = time.monotonic()
            self._due = now + max(UPDATE_SECONDS, (now - began) / UPDATE_SHARE)

    def close(self, data: Data | None = None) -> None:
        """Write what is new and, if an architecture is trained, the report; `data` spares reading the images again."""
        self.results.refresh()
        trained = bool(self.results.distinct)
        self._write(first_sentence(self.results) if trained else _progress(self.results))
        if trained:
            with self.tracker.alone():
                log_report(self.results, self.tracker, data)

    def _write(self, heading: str) -> None:
        results, tracker = self.results, self.tracker
        trials = [trial for _, trial in read_trials(results.book, results.home) if isinstance(trial, FrozenTrial)]
        with tracker.alone():
            points = curves(self.problem, trials, results.study.metric_figure, parent.last_point(tracker))
            parent.log_points(tracker, points)
            front = [found.run_id for found in results.front if found.run_id is not None]
            parent.recolour(tracker, BLUE, front, SKY)
            parent.describe_parent(tracker, f"{markdown(heading)}\n\n{_table(results, tracker)}")


def overview_of(results: StudyResults, tracker: Tracker) -> Overview:
    """The overview of a stored study."""
    study = results.study
    return Overview(results, tracker, prospects(study.space, results.task(), study.objectives, study.constraints))


def curves(
    problem: Problem, trials: Sequence[FrozenTrial], metric: str, after: int
) -> Iterator[tuple[int, int, dict[str, float]]]:
    """What a search had found after each architecture, as (milliseconds since 1970, architectures done, figures).

    Architectures count when they are trained, reused or stopped, in the order in which they finished; only points
    later than `after` are returned. The figures are the best `metric`, the size of the front and, from the architecture
    on that fixes its scale, the hypervolume.
    """
    better = max if TABLE[metric].direction == "maximize" else min
    met: set[str] = set()
    rows: dict[str, Sequence[float]] = {}
    front: list[Sequence[float]] = []  # with dominated rows until the next point: they do not change it
    scale: Volume | None = None
    best: float | None = None
    for trial in ended(trials):
        name = trial.user_attrs[FINGERPRINT]
        met.add(name)
        if trial.state == TrialState.COMPLETE and all(over <= 0 for over in trial.constraints.values()):
            value = trial.user_attrs[FIGURES][metric]
            best = value if best is None else better(best, value)
            if name not in rows:
                rows[name] = trial.values
                front.append(trial.values)
        at = int(1000 * when(trial))
        if best is None or at <= after:
            continue
        front = [front[place] for place in pareto_front(front, problem.directions)]
        figures = {BEST.format(metric.rpartition("/")[2]): best, FRONT_SIZE: len(front)}
        if len(rows) >= FIRST:
            scale = scale or volume(problem, [*rows.values()])
            figures[HYPERVOLUME] = scale.of(front)
        yield at, len(met), figures


def _progress(results: StudyResults) -> str:
    if not results.distinct:
        return "No architecture is trained yet."
    best, study = results.best, results.study
    value = results.text(best, TABLE[best.metric])
    return (
        f"{results.num_met} of {study.trials} architectures; best validation {metric_words(best.metric)} {value} "
        f"(n = {best.notes['val_n']}): {best.name}."
    )


def _table(results: StudyResults, tracker: Tracker) -> str:
    """The front and the baselines in Markdown, with links to their runs; MLflow leaves no space between cells."""
    columns, rows = front_table(results)
    lines = [columns, ["---"] * len(columns)]
    for found, (kind, name, *rest) in rows[:MAX_ROWS]:
        linked = markdown(name) if found.run_id is None else f"[{markdown(name)}]({parent.link(tracker, found.run_id)})"
        lines.append([f"{cell}&emsp;" for cell in (kind, linked, *map(markdown, rest))])
    more = f"\n\n{len(rows) - MAX_ROWS} more are left out." if len(rows) > MAX_ROWS else ""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + more


def _set_view(results: StudyResults, tracker: Tracker) -> None:
    study, metric = results.study, results.study.metric_figure
    latencies = [figure.name for figure in shown_in("view", "latency")] if study.latency else []
    costs = [figure.name for figure in shown_in("view", "cost")]
    set_view(
        tracker,
        [*dict.fromkeys((metric, cost_axis(results), *latencies, *costs))],
        WORDS,
        [count_of("hadamard")],
        [RUNG] if study.rungs else [],
        title="Front blue, baselines red",
        lowest_first=TABLE[metric].direction == "minimize",
    )
