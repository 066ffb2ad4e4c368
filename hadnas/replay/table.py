"""A table of every network of a search space, with the figures of trainings that were made once: a CSV file.

Each row is a draw: one column per decision, named as the decision, empty where the draw has none. `key`: draws of equal
key are one network; each draw is one of its own where there is no such column. `seed`: several rows per draw with
different seeds are several trainings. Every other column is a figure, such as `macs`, or `val_accuracy@3` after the
third epoch; rungs need `train_loss@N`, `val_loss@N` and `val_accuracy@N` of every epoch.
"""

import csv
import gzip
import itertools
import math
import random
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from hadnas.errors import SpecError, at, cut, unknown
from hadnas.measure.figures import Direction
from hadnas.measure.front import hypervolume, reference_point
from hadnas.samplers.problem import Problem, Prospect
from hadnas.space import Distribution, Params, every, resolve, size

Draw = tuple[tuple[str, Any], ...]
KEY_COLUMN, SEED_COLUMN = "key", "seed"
LOG = "log10."
CURVES = ("train_loss", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Goal:
    """What a search on a table is for; every column may be named by its logarithm, as log10.macs.

    objectives  column -> direction
    known       those of them that are known without training
    judges      objective -> the column that judges it, where that is not its own
    features    columns that are known without training, for a surrogate
    work        the column of the work of one epoch; empty: every training is the same work
    epochs      of a training, whose curves are read; 0: none are
    """

    objectives: Mapping[str, Direction]
    known: Sequence[str] = ()
    judges: Mapping[str, str] | None = None
    features: Sequence[str] = ()
    work: str = ""
    epochs: int = 0

    @property
    def curves(self) -> list[list[str]]:
        """The columns of each epoch's point."""
        return [[f"{name}@{epoch}" for name in CURVES] for epoch in range(1, self.epochs + 1)]

    @property
    def judging(self) -> list[str]:
        """The column that judges each objective."""
        return [(self.judges or {}).get(name, name) for name in self.objectives]

    @property
    def columns(self) -> list[str]:
        """Every column that is read."""
        named = [*self._named, *([self.work] if self.work else [])]
        return list(dict.fromkeys([*(name.removeprefix(LOG) for name in named), *itertools.chain(*self.curves)]))

    @property
    def logarithms(self) -> list[str]:
        """Those that are read as logarithms."""
        return [name for name in self._named if name.startswith(LOG)]

    @property
    def _named(self) -> list[str]:
        return [*self.objectives, *self.known, *self.judging, *self.features]


def goal(
    maximize: Sequence[str],
    minimize: Sequence[str],
    known: Sequence[str],
    judge: Sequence[str],
    feature: Sequence[str],
    work: str,
    epochs: int,
) -> Goal:
    """The goal of `hadnas bench`; `judge`: "OBJECTIVE=COLUMN". Raises SpecError."""
    objectives: dict[str, Direction] = {**dict.fromkeys(maximize, "maximize"), **dict.fromkeys(minimize, "minimize")}
    if not objectives or len(objectives) < len(maximize) + len(minimize):
        raise SpecError(
            f"objectives {[*maximize, *minimize]}; name one or several with --maximize or --minimize, each once"
        )
    judges = dict(text.partition("=")[::2] for text in judge)
    for name in (*known, *judges):
        if name not in objectives:
            raise unknown("objective", name, objectives)
    if lacking := [name for name, column in judges.items() if not column]:
        raise SpecError(f"--judge {cut(lacking[0])} has no column; allowed is OBJECTIVE=COLUMN")
    return Goal(objectives, known, judges, feature, work, epochs)


@dataclass(frozen=True)
class KnownTable:
    """A benchmark from a table.

    keys     draw -> the key of its network
    figures  key -> seed -> column -> figure
    """

    space: Any
    goal: Goal
    keys: dict[Draw, str]
    figures: dict[str, dict[str, dict[str, float]]]

    @cached_property
    def means(self) -> dict[str, dict[str, float]]:
        """Key -> column -> mean over the seeds."""
        return {
            key: {name: float(np.mean([row[name] for row in rows.values()])) for name in self.goal.columns}
            for key, rows in self.figures.items()
        }

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(self.goal.objectives.values())

    def _all(self, columns: Sequence[str]) -> list[list[float]]:
        return [[_value(name, row) for name in columns] for row in self.means.values()]

    @cached_property
    def problem(self) -> Problem:
        """The search as a sampler sees it."""
        names = tuple(self.goal.objectives)
        worst = dict(zip(names, reference_point(self._all(names), self.directions), strict=True))
        return Problem(self.space, names, self.directions, self.describe, worst)

    def describe(self, answers: Params, node: Any) -> Prospect:
        """What is known of a draw."""
        key = self.keys[tuple(sorted(answers.items()))]
        row, goal = self.means[key], self.goal
        features = {name: _value(name, row) for name in goal.features}
        return Prospect(key, {name: _value(name, row) for name in goal.known}, features)

    def trained(self, key: object, seed: int) -> list[float]:
        """The objectives of one of the trainings of a network; known ones as they are known."""
        row, mean = self._training(key, seed), self.means[str(key)]
        return [_value(name, mean if name in self.goal.known else row) for name in self.goal.objectives]

    def curve(self, key: object, seed: int) -> list[tuple[float, float, float]]:
        """(Training loss, validation loss, validation accuracy) after each epoch of that training."""
        row = self._training(key, seed)
        return [(row[train], row[loss], row[accuracy]) for train, loss, accuracy in self.goal.curves]

    def _training(self, key: object, seed: int) -> dict[str, float]:
        rows = self.figures[str(key)]
        return rows[random.Random(f"{seed} {key}").choice(list(rows))]

    def costs(self, key: object) -> list[float]:
        """The features that are logarithms."""
        row = self.means[str(key)]
        return [_value(name, row) for name in self.goal.features if name.startswith(LOG)]

    def work(self, key: object) -> float:
        """The work of one epoch."""
        return self.means[str(key)][self.goal.work] if self.goal.work else 1.0

    @property
    def epochs(self) -> int:
        """Of a training; 1 where the table has no curves."""
        return self.goal.epochs or 1

    @property
    def accuracy(self) -> int:
        """The place of the last accuracy among the objectives. Raises SpecError where it is none."""
        if (last := f"{CURVES[-1]}@{self.goal.epochs}") not in (names := [*self.goal.objectives]):
            raise SpecError(f"rungs need the objective {last}; found {', '.join(names)}")
        return names.index(last)

    def judged(self, key: object) -> list[float]:
        """The means of what judges the objectives."""
        return [_value(name, self.means[str(key)]) for name in self.goal.judging]

    @cached_property
    def reference(self) -> tuple[float, ...]:
        """The worst of what judges, over the whole table."""
        return reference_point(self._all(self.goal.judging), self.directions)

    @cached_property
    def best(self) -> float:
        """The best that judges: a figure with one objective, the whole table's hypervolume with several."""
        values = self._all(self.goal.judging)
        if len(self.directions) > 1:
            return hypervolume(values, self.directions, self.reference)
        return (max if self.directions[0] == "maximize" else min)(values)[0]


def _value(name: str, row: Mapping[str, float]) -> float:
    value = row[name.removeprefix(LOG)]
    if not name.startswith(LOG):
        return value
    if value <= 0:
        raise SpecError(f"{name} of {value:g}; allowed is a column above 0")
    return math.log10(value)


def read_table(space: Any, paths: Sequence[Path], goal: Goal) -> KnownTable:
    """The table of `space` in a CSV file, or in parts; a name that ends in .gz is that of a gzipped one.

    Raises SpecError with the row for a missing or a doubled draw, a choice outside of the space, or a figure that is
    no finite number; UnknownName for a column that is not there.
    """
    rows: list[dict[str, str | None]] = []
    columns: dict[str, None] = {}
    for path in paths:
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                text = TextIOWrapper(file, "utf-8-sig", newline="")  # spreadsheets write a byte order mark
                reader = csv.DictReader(text)
                columns |= dict.fromkeys(reader.fieldnames or ())
                rows += reader
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
            raise SpecError(f"{path} cannot be read as CSV: {error}") from error
    with at(" + ".join(map(str, paths))):
        return table_of(space, columns, rows, goal)


def table_of(space: Any, columns: Iterable[str], rows: Iterable[Mapping[str, str | None]], goal: Goal) -> KnownTable:
    """The table from its rows as text. Raises as `read_table`."""
    names = list(columns)
    for name in goal.columns:
        if name not in names:
            raise unknown("column", name, names)
    keys: dict[Draw, str] = {}
    figures: dict[str, dict[str, dict[str, float]]] = {}
    lines: dict[tuple[Draw, str], int] = {}
    decisions: set[str] = set()
    for line, row in enumerate(rows, 2):  # line 1 has the names
        with at(f"line {line}"):
            draw = _draw(space, row, decisions)
            seed = row.get(SEED_COLUMN) or ""
            if (draw, seed) in lines:
                raise SpecError(f"the draw of line {lines[draw, seed]} again, with the same seed; allowed is one row")
            lines[draw, seed] = line
            key = row.get(KEY_COLUMN) or " ".join(f"{name}={value}" for name, value in draw)
            if keys.setdefault(draw, key) != key:
                raise SpecError(f"key {cut(key)} for a draw whose key was {cut(keys[draw])}; allowed is one key a draw")
            found = {name: _figure(name, row.get(name)) for name in goal.columns}
            for name in goal.logarithms:
                _value(name, found)
            if goal.work and found[goal.work] <= 0:
                raise SpecError(f"work {goal.work} = {found[goal.work]:g}; allowed is a number above 0")
            if figures.setdefault(key, {}).setdefault(seed, found) != found:
                raise SpecError(
                    f"other figures of key {cut(key)} than in an earlier row; allowed are equal ones a seed"
                )
    if len(keys) < (expected := size(space)):
        missing = next(params for params, _ in every(space) if tuple(sorted(params.items())) not in keys)
        raise SpecError(f"{len(keys)} of {expected} draws of the space are in the table; missing is {cut(missing)}")
    return KnownTable(space, goal, keys, figures)


def _draw(space: Any, row: Mapping[str, str | None], decisions: set[str]) -> Draw:
    """The draw of a row; the names of its decisions are added to `decisions`."""
    answers: Params = {}

    def pick(name: str, distribution: Distribution) -> Any:
        text = row.get(name)
        if not text:
            raise SpecError(f"no value of {name}; allowed are {', '.join(map(str, distribution.values))}")
        values = {str(value): value for value in distribution.values}
        if text not in values:
            raise SpecError(f"{name} = {text} is outside of the space; allowed are {', '.join(values)}")
        answers[name] = values[text]
        return answers[name]

    resolve(space, pick)
    decisions.update(answers)
    for name in decisions - answers.keys():
        if row.get(name):
            raise SpecError(f"{name} = {row[name]}, but this draw has no such decision; allowed is an empty cell")
    return tuple(sorted(answers.items()))


def _figure(name: str, text: str | None) -> float:
    try:
        value = float(text or "nan")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise SpecError(f"{name} = {text!r} is no figure; allowed is a finite number")
    return value
