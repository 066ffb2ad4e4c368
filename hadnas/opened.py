"""The stored study as a public object: results as tables and figures, networks to build, export and register."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from hadnas.arch.families import families_texts
from hadnas.errors import StudyError, check_kind, unknown
from hadnas.exporter.deliver import deliver, register_export
from hadnas.measure.figures import TABLE, VAL, metric_words
from hadnas.results.candidate import Found
from hadnas.results.comparison import axis_label, chosen, cost_axis, front_points, ordinate_of
from hadnas.results.finals.stress import Stressed, read_stressed
from hadnas.results.insight import insight
from hadnas.results.plots import draw_bars, draw_front, draw_history
from hadnas.results.sections import bars, history_values
from hadnas.results.table import StudyResults
from hadnas.results.weights import current_weights, network_of
from hadnas.store.home import Home
from hadnas.train.stress.stress import find_pruning

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOUND = "a trial or baseline, such as study.best, study.trial(3) or study.baselines[0]"


class OpenStudy(StudyResults):
    """A stored study: its results as tables and figures, and its networks to build, export and register.

    `print(study)` sums it up; `.found`, `.baselines`, `.front` and `.best` are values.
    """

    @property
    def trials(self) -> "pd.DataFrame":
        """Trials and baselines with the columns of `hadnas top`; `trials_dataframe(full=True)` has all."""
        return self.trials_dataframe()

    def trials_dataframe(self, *, full: bool = False) -> "pd.DataFrame":
        """Trials and baselines, one row each; `trial` is the number of a trial, missing for a baseline.

        By default the columns of `hadnas top`; with `full`, also rung, fingerprint, reason, every figure, the notes,
        the seconds of each phase, and every decision.
        """
        import pandas as pd

        front, everyone, rows = {found.name for found in self.front}, [*self.found, *self.baselines], []
        measured = {self.study.metric_figure, "val/loss"}.union(*(found.figures for found in everyone))
        every = [name for name in TABLE if name in measured or not name.startswith(VAL)]
        for found in everyone:
            blocks, merges = families_texts(found.arch)
            row: dict[str, Any] = {"trial": found.number, "name": found.name, "state": found.state}
            row |= {"front": found.name in front}
            row |= {name: found.figures.get(name) for name in (every if full else [f.name for f in self.columns])}
            row |= {"family": found.family, "blocks": blocks, "merges": merges, "reused": found.notes.get("reused")}
            if full:
                row |= {"feasible": found.feasible, "rung": found.rung, "reason": found.reason}
                row |= {"fingerprint": found.arch.fingerprint if found.arch else None}
                row |= {key: found.notes.get(key) for key in ("val_n", "latency_noisy", "latency_protocol")}
                row |= {f"phase.{name}": seconds for name, seconds in found.phases.items()}
                row |= found.params
            rows.append(row)
        return pd.DataFrame(rows).astype({"trial": "Int64"} if rows else {})

    def pick(self, limits: Mapping[str, float] | None = None, metric: str | None = None) -> Found:
        """The best trained candidate within limits, such as `{"latency_ms": 5}`, by the study's metric or a figure.

        Raises UnknownName for a figure that is none, StudyError if no candidate is within the limits.
        """
        return chosen(self, limits or {}, metric)

    def plot_front(self, figure: str | None = None) -> "Figure":
        """The study's metric against a cost or latency: candidates, their front and baselines.

        figure: by default the first cost or latency among the objectives, else the MACs. Raises UnknownName for another
        one, StudyError if it is not known of any network.
        """
        allowed = [name for name, known in TABLE.items() if known.source != "training"]
        name = cost_axis(self) if figure is None else figure
        if name not in allowed:
            raise unknown("figure", name, allowed)
        known = {f.name: self.comparable(f, name) for f in (*self.distinct, *self.baselines)}
        points = front_points(self, {key: value for key, value in known.items() if value is not None})
        if not points:
            raise StudyError(f"study {self.name!r}: the {TABLE[name].label} of its networks is not known")
        label = axis_label(name, self.study.latency)
        return draw_front(points, label, ordinate_of(self), log=TABLE[name].source == "cost")

    def plot_history(self) -> "Figure":
        """The study's metric by trial, the best so far, and the baselines. Raises StudyError without any trial."""
        _ = self.best
        return draw_history(*history_values(self), ordinate_of(self))

    def plot_importance(self) -> "Figure":
        """The importance of the decisions for the study's metric (PED-ANOVA). Raises StudyError for too few trials."""
        found = insight(self)
        if found.missing:
            raise StudyError(f"study {self.name!r}: {found.missing}")
        return draw_bars(*bars(found, metric_words(self.study.metric_figure)))

    def weights(self, found: Found) -> Path:
        """The file of the trained weights of a trial or baseline.

        Raises StudyError if the file is missing or has changed, or if the code of the blocks has changed since the
        training and the weights no longer give the recorded validation loss.
        """
        check_kind(found, Found, "found", FOUND)
        return current_weights(self, found)

    def network(self, found: Found) -> nn.Module:
        """A trial or baseline as a module with its trained weights, in eval mode. Raises as `weights` does."""
        check_kind(found, Found, "found", FOUND)
        return network_of(self, found)

    @property
    def stressed(self) -> list[Stressed]:
        """The networks of the finals under each stress that was asked for, as `hadnas finals --under` prints them."""
        return read_stressed(self)

    def export(
        self, found: Found, out: str | Path, *, onnx: bool = False, force: bool = False, prune: str | None = None
    ) -> Path:
        """Write a trial or baseline as `hadnas.export` does, with its weights and the study's figures in its card.

        `prune` as of `hadnas export`: "weights:0.8" sets this share of its weights to 0, "channels:0.5" removes this
        share of the hidden channels of each block. Raises StudyError if its training is not finished, SpecError if it
        cannot be pruned so, and as `hadnas.export` and `weights` do.
        """
        check_kind(found, Found, "found", FOUND)
        pruning = None if prune is None else find_pruning(prune)
        return deliver(self, found, out, onnx=onnx, force=force, prune=pruning)

    def register(self, found: Found, folder: str | Path) -> str:
        """Register an exported folder in MLflow and return its URI. Raises as `register_export`."""
        check_kind(found, Found, "found", FOUND)
        return register_export(self, found, Path(folder))


def open_study(name: str, home: str | Path | None = None) -> OpenStudy:
    """The stored study `name` of a home. Raises UnknownName if there is none, StudyError if it cannot be read."""
    check_kind(name, str, "name", "the name of a stored study: study.name")
    return OpenStudy(name, Home(home, reading=True))
