"""The results of a study: its trials and baselines, its front and its best, with their entries in the ledger."""

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.errors import StudyError, unknown
from hadnas.hosts.host import Plan, make_plan
from hadnas.inputs import AllMoments, inputs_from_json, shape_text
from hadnas.measure.figures import RATIO, TABLE, Figure, shown_in
from hadnas.measure.front import pareto_front
from hadnas.measure.latency.backends import BACKENDS
from hadnas.results.candidate import Candidates, Found, of_baseline
from hadnas.store.database import clear_errors
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import StoredLatency, Training
from hadnas.store.stored import read_trials, whole_latency
from hadnas.store.study_store import class_names, reordered, stored_study, unknown_blocks
from hadnas.store.trials import FIGURES, REASON, STUDY, baseline_entries, latency_of, noted_run
from hadnas.train.data.spec import Data, load_data

if TYPE_CHECKING:
    import optuna

NOISY_RATIO = "~: the interquartile range of the ratio is above 5 %"
"""Explains below a table what `StudyResults` marks in it."""


class StudyResults:
    """A stored study, read only; `.found`, `.baselines`, `.front` and `.best` are values."""

    def __init__(self, name: str, home: Home, book: "optuna.Study | None" = None) -> None:
        """`book` is the Optuna study if it is open already, so that its trials are read once."""
        self.home = home
        with clear_errors(home.url):
            self.study, self.book = stored_study(name, home, book)
        self.ledger = Ledger(home.url)
        self._candidates = Candidates(self.study, self.ledger.measured)
        self._plans: dict[str, Plan] = {}

    def __repr__(self) -> str:
        task = self.task()
        data = f"{self.study.data.source} ({', '.join(map(shape_text, task.shapes))}, {task.target_text})"
        met = f"{len(self.distinct)} architectures of {self.study.trials}, {len(self.refused)} draws refused"
        lines = [f"Study {self.name!r} on {data}: {met}"]
        if self.distinct:
            front = ", ".join(found.name for found in self.front)
            lines += [f"best: {self.best!r}", f"front of {', '.join(self.study.objectives)}: {front}"]
        return "\n".join(lines)

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def stored(self) -> dict[str, Any]:
        """The stored data of the study, with the facts of its images."""
        stored: dict[str, Any] = self._attributes[STUDY]
        return stored

    def refresh(self) -> None:
        """Read trials and baselines again at their next use, with those that a search has added since."""
        for name in ("found", "baselines", "distinct", "ranked", "front", "protocol", "_attributes"):
            vars(self).pop(name, None)

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        """The attributes of the study, a copy of all."""
        return self.book.user_attrs

    @cached_property
    def found(self) -> list[Found]:
        """Every trial in order, without failed ones (interrupted and drawn again)."""
        return self._candidates.of_trials(list(read_trials(self.book, self.home)), self._attributes)

    @cached_property
    def baselines(self) -> list[Found]:
        """The networks from outside the space, trained by the same recipe."""
        entries, attributes = baseline_entries(self.book), self._attributes
        measured = [name for name in self.study.baselines or () if FIGURES in entries.get(name, {})]
        return [
            of_baseline(name, entries[name], noted_run(attributes, name), self.study, self._candidates.known)
            for name in measured
        ]

    @cached_property
    def distinct(self) -> list[Found]:
        """Feasible trials, the first of each architecture."""
        seen: dict[str, Found] = {}
        for found in self.found:
            if found.feasible and found.arch is not None:
                seen.setdefault(found.arch.fingerprint, found)
        return list(seen.values())

    @property
    def refused(self) -> list[Found]:
        """Draws that were refused, or whose training failed."""
        return [found for found in self.found if found.state == "pruned"]

    @property
    def stopped(self) -> list[Found]:
        """Trials stopped at a rung, the last of each architecture that no other trial trained to the end."""
        last = {found.arch.fingerprint: found for found in self.found if found.arch and found.state == "stopped"}
        trained = {found.arch.fingerprint for found in self.distinct if found.arch}
        return [found for fingerprint, found in last.items() if fingerprint not in trained]

    @property
    def num_met(self) -> int:
        """Architectures that the search trained, reused or stopped at a rung."""
        return len(self.distinct) + len(self.stopped)

    @property
    def damaged(self) -> list[Found]:
        """Trials and baselines whose rows are damaged, with the `reason`."""
        return [found for found in (*self.found, *self.baselines) if found.state == "damaged"]

    @property
    def refused_share(self) -> str:
        """The number and share of refused draws among finished ones, in words."""
        ended = sum(found.state in ("complete", "pruned", "stopped") for found in self.found)
        return f"{len(self.refused)} of {ended} draws ({len(self.refused) / ended:.0%})"

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """The reasons of refused draws with their counts, most frequent first, without the values of figures."""
        reasons = (found.reason or "no reason stored" for found in self.refused)
        return Counter(re.sub(r" = \S+ is above", " is above", reason) for reason in reasons).most_common()

    @cached_property
    def ranked(self) -> list[Found]:
        """`distinct`, the best by the metric first, ties by fewest MACs."""
        return sorted(self.distinct, key=Found.rank)

    @cached_property
    def front(self) -> list[Found]:
        """The Pareto front of the objectives over feasible trials, the best by the metric first."""
        rows = self.distinct
        values = [[found.figures[name] for name in self.study.objectives] for found in rows]
        chosen = [rows[index] for index in pareto_front(values, self.study.directions)]
        return sorted(chosen, key=Found.rank)

    @property
    def best(self) -> Found:
        """The best by the metric among feasible trials, ties by MACs. Raises StudyError without any."""
        if not self.distinct:
            reason = f"{self.refused_share} were refused" if self.refused else "its search has not finished one yet"
            reason = f"{reason}; {self.damaged[0].reason}" if self.damaged else reason
            raise StudyError(f"study {self.name!r} has no finished trial: {reason}")
        return self.ranked[0]

    def trial(self, number: int) -> Found:
        """One finished trial. Raises UnknownName, or StudyError for a trial whose training is not finished."""
        numbers = {found.number: found for found in self.found}
        if number not in numbers:
            with clear_errors(self.home.url, f"a trial of study {self.name!r}"):
                trials = self.book.get_trials(deepcopy=False)
            if any(trial.number == number for trial in trials):
                raise StudyError(f"trial {number} failed: it was interrupted, and its candidate was drawn again")
            raise unknown("trial", number, [str(n) for n in numbers])
        _ = numbers[number].trained
        return numbers[number]

    @property
    def unknown_blocks(self) -> str:
        """A sentence on blocks whose file was neither named nor imported; "" if all are known.

        Results can be read without them; networks cannot be built.
        """
        return unknown_blocks(self.stored)

    def check_blocks(self) -> None:
        """Raise StudyError if blocks of the study are not known here, so that its networks cannot be built."""
        if self.unknown_blocks:
            raise StudyError(f"study {self.name!r}: {self.unknown_blocks}")

    def plan(self, found: Found) -> Plan:
        """The plan of a trial or baseline, made once per architecture.

        Raises StudyError if its blocks are not known here.
        """
        self.check_blocks()
        assert found.arch is not None
        if found.arch.fingerprint not in self._plans:
            self._plans[found.arch.fingerprint] = make_plan(found.arch, self.task())
        return self._plans[found.arch.fingerprint]

    def training(self, found: Found) -> Training | None:
        """The training that made the weights of a trial or baseline; None if it was not trained."""
        if found.arch is None or (weights := found.notes.get("weights")) is None:
            return None
        known = self.ledger.trainings(fingerprint=found.arch.fingerprint)
        return next((training for training in known if training.weights == weights), None)

    @property
    def columns(self) -> list[Figure]:
        """The figures of `top`, with the study's objectives and constraints."""
        study = self.study
        known = {*study.objectives, *study.constraints, *(f.name for f in shown_in("top", metric=study.metric_figure))}
        return [figure for name, figure in TABLE.items() if name in known]

    @cached_property
    def protocol(self) -> str | None:
        """The key of the most frequent latency protocol; latencies under another cannot be compared with it."""
        counts = Counter(found.notes.get("latency_protocol") for found in self._timed)
        return counts.most_common(1)[0][0] if counts else None

    @property
    def _timed(self) -> list[Found]:
        return [found for found in [*self.found, *self.baselines] if "latency_ms" in found.figures]

    @property
    def timed_otherwise(self) -> str:
        """A sentence on networks with another protocol than most, as after an upgrade; empty if there are none."""
        names = [found.name for found in self._timed if found.notes.get("latency_protocol") != self.protocol]
        return (
            f"latency left out, measured on another device or with other versions: {', '.join(names)}" if names else ""
        )

    def comparable(self, found: Found, figure: str) -> float | None:
        """A figure of a network by name; None if it is unknown, or a latency under another protocol than most."""
        other = TABLE[figure].source == "latency" and found.notes.get("latency_protocol") != self.protocol
        return None if other else found.figures.get(figure)

    def text(self, found: Found, figure: Figure, *, brief: bool = False) -> str:
        """A figure as text: `-` if it is None, `~` before a noisy ratio."""
        value = self.comparable(found, figure.name)
        if value is None:
            return "-"
        text = figure.brief(value) if brief else figure.text(value)
        noisy = figure.name == RATIO and found.notes.get("latency_noisy")
        return f"{'~' * bool(noisy)}{text}" + f" ± {figure.text(found.standard_error)}" * (figure.name == found.metric)

    def latencies(self, found: Found) -> dict[str, Mapping[str, Any]]:
        """The latency of a trial or baseline by backend, from the end of the search; a failure has a `reason`."""
        entries = self._entries(found)
        measured = {backend: latency.figures for backend, latency in self.latency_records(found).items()}
        return {
            backend: entry if REASON in entry else {**measured[backend], "protocol": entry["protocol"]}
            for backend, entry in entries.items()
            if REASON in entry or backend in measured
        }

    def latency_records(self, found: Found) -> dict[str, StoredLatency]:
        """The latencies of `latencies` that did not fail, with their protocols."""
        out = {}
        for backend, entry in self._entries(found).items():
            assert found.arch is not None
            code = entry.get("code", "")  # version 3 of the ledger stored none, here and with its latencies
            latency = self.ledger.measured.get_latency(
                found.arch.fingerprint, str(self.task()), code, entry["protocol"]
            )
            if REASON not in entry and latency is not None:
                out[backend] = latency
        return out

    def _entries(self, found: Found) -> dict[str, Mapping[str, Any]]:
        attributes, fingerprint = self._attributes, found.arch.fingerprint if found.arch else ""
        entries = {backend: latency_of(attributes, fingerprint, backend) for backend in BACKENDS}
        return {backend: whole_latency(entry) for backend, entry in entries.items() if entry is not None}

    def latency(self, found: Found) -> StoredLatency | None:
        """The latency of a trial or baseline in the search, with its protocol, or None."""
        key, code = found.notes.get("latency_protocol"), found.notes.get("code", "")
        if key is None or found.arch is None:
            return None
        return self.ledger.measured.get_latency(found.arch.fingerprint, str(self.task()), code, key)

    def data(self) -> Data:
        """The study's images. Raises DataError if they are missing, StudyError if they have changed since."""
        data = load_data(self.study.data)
        if data.digest != self.stored["digest"]:
            why = reordered(self.class_names(), data.class_names)
            raise StudyError(
                f"the data of study {self.name!r} ({self.study.data.source}) have changed since it ran{why}"
            )
        return data

    def task(self) -> Task:
        """The task the study's candidates were built for."""
        inputs, _ = inputs_from_json(self.stored)
        return Task(inputs, self.stored["classes"], self.stored.get("target", "classes"))

    def moments(self) -> AllMoments:
        """Mean and standard deviation with which the study's images or, by name, its several inputs were normalised."""
        return inputs_from_json(self.stored)[1]

    def class_names(self) -> tuple[str, ...]:
        """The class names in the order of the logits; () for an old study without them."""
        return class_names(self.stored)

    def architecture(self, fingerprint: str) -> Arch | None:
        """An architecture of the ledger by its fingerprint, or None. Raises SpecError for one of a later format."""
        return self._candidates.architecture(fingerprint)
