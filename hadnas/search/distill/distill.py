"""`hadnas distill`: every option at the sites of a parent network, trained and scored alone, then combined by limits.

After Bercovich et al., "Puzzle: distillation-based NAS for inference-optimized LLMs", 2024, arXiv 2411.19146, sections
3 and 4. Difference: the score of an option is of the validation images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.contract.user_defined import check_user_defined
from hadnas.errors import DataError, StudyError, check_kind, cut, unknown
from hadnas.hosts.graft.weights import named_weights
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.cost import Counts
from hadnas.measure.figures import TABLE, constraints
from hadnas.search.distill.combination import Program
from hadnas.search.distill.divergence import Divergence, error_of_mean
from hadnas.search.distill.measurements import Measurements, SayDone
from hadnas.search.distill.options import Option, SiteChoice, read_options
from hadnas.search.distill.start import write_start
from hadnas.search.proposals.defaults import images_of_weights
from hadnas.search.proposals.enqueued import put_in_queue
from hadnas.space import Params, replay
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.study import Study
from hadnas.store.study_store import user_defined_ops
from hadnas.train.data.spec import load_data
from hadnas.train.device import chosen_device

DEFAULT_UPDATES = 300
"""Updates of every module that imitates another."""


def summed_figures() -> list[str]:
    """The figures that a limit may be on: costs that are sums over modules, and latencies, which nearly are."""
    return [
        figure.name
        for figure in constraints()
        if figure.source == "latency" or figure.name in Counts.__dataclass_fields__
    ]


@dataclass(frozen=True, eq=False)
class Scored:
    """An option with its score, and what it adds to the parent's figure."""

    choice: SiteChoice
    option: Option
    divergence: Divergence
    change: float


@dataclass(frozen=True, eq=False)
class Combination:
    """The best options within a limit on the figure, as an architecture.

    score   the sum of their divergences; `error` its standard error over the images
    figure  of the whole network, counted or timed
    """

    arch: Arch
    limit: float
    score: float
    error: float
    figure: float
    options: tuple[Scored, ...]

    @property
    def name(self) -> str:
        """Under which it is enqueued."""
        return f"distilled_{self.arch.fingerprint}"


@dataclass(frozen=True, eq=False)
class Distilled:
    """The scores of all options, and the best combinations by falling limit.

    start     the file of weights that these start from: the parent's, and beside them the distilled tensors of options;
              `hadnas.graft(MODEL, sites, weights=str(start))` is the space of the search that trains them first
    figure    the name of the figure that is limited; `parent` is its value in the parent network
    accuracy  of the parent on the `n` images of the scores
    """

    study: str
    start: Path
    figure: str
    parent: float
    accuracy: float
    n: int
    options: tuple[Scored, ...]
    combinations: tuple[Combination, ...]

    @property
    def is_meaningless(self) -> bool:
        """Whether no replaced module costs accuracy: the scores of such a parent rank nothing."""
        return not any(one.divergence.is_costly for one in self.options)


def distill(
    study: Study,
    home: Home,
    *,
    figure: str = "macs",
    best: int = 8,
    steps: int = DEFAULT_UPDATES,
    device: str = "auto",
    say: SayDone = lambda label, done, total: None,
) -> Distilled:
    """Score the options of a study of grafts alone, and enqueue the best combinations for its search.

    Each module that an option puts in place of the parent's is trained for `steps` updates to give its output on the
    training images, all options of a decision on the same features. The score is the Kullback-Leibler divergence of the
    network's classes from the parent's on up to 1,024 validation images. Scores are stored in the home; a second call
    trains only what is missing. Between the least possible value of `figure` and the parent's, or the study's limit on
    it, `best` evenly spaced limits each give the combination with the least sum of scores. These start from a file in
    the study's folder, which has the distilled tensors beside the parent's.

    Raises SpecError for a space without grafts, weights or replacements, UnknownName for a figure that is no sum,
    DataError if the images have no classes, StudyError if the parent does not know them or no combination is possible.
    """
    check_kind(study, Study, "study", "a Study whose space hadnas.graft made, with weights")
    check_kind(home, Home, "home", "a home: hadnas.Home(folder)")
    if not study.name:
        raise StudyError("the study has no name, under which its search is stored; give it one, as Study(name='mine')")
    if not str(home.path).isprintable():  # as no path of weights may be
        raise StudyError(f"the home is {cut(str(home.path))}; allowed for weights is a path without control characters")
    if figure not in summed_figures():
        raise unknown("figure of a limit", figure, summed_figures())
    device = chosen_device(device)
    if TABLE[figure].source == "latency" and study.latency is None:
        raise StudyError(f"study {study.name!r} times nothing, so no limit can be on {figure}; allowed are costs")
    say("reading the images", 0, 1)
    data = load_data(images_of_weights(study.data, study.space))
    if data.target != "classes":
        raise DataError(f"{data.name}: its target is {data.target}; block-wise distillation needs classes")
    task = Task.image(*data.shape, classes=data.classes)
    parent, choices = read_options(study.space, task)
    parent.host.check_start(parent)
    own = user_defined_ops({**study.model_dump(mode="json"), "baselines": {}})
    every = [(choice, option) for choice in choices for option in choice.options]
    check_user_defined(own, study.space, task, [option.plan for _, option in every], study.seed)
    ledger = Ledger(home.url)
    try:
        work = Measurements(study, home, ledger, data, task, parent, device, steps)
        value = partial(work.figure, figure)
        at_parent = value(parent)
        changes = [value(option.plan) - at_parent for _, option in every]
        program = Program(choices, changes)
        limits = _limits(program, study, figure, at_parent, best)
        scores = work.scores(choices, say)
        options = [
            Scored(choice, option, scores[option.plan.arch.fingerprint], change)
            for (choice, option), change in zip(every, changes, strict=True)
        ]
        files = {work.path(one.option.plan): (one.option, one.divergence) for one in options if one.option.sites}
        start = write_start(work.network, parent, files, home.path / study.name)
        space = {**study.space, "weights": named_weights(parent.arch.node["model"], str(start))}
        found: dict[str, Combination] = {}
        for limit in limits:
            places = program.best([one.divergence.mean for one in options], limit - at_parent)
            if places is None:  # the one with the least figure has outputs that are not finite
                continue
            chosen = tuple(options[place] for place in places)
            plan = _plan(chosen, space, task)
            if plan.arch.node.get("sites") and plan.arch.fingerprint not in found:
                kl = torch.stack([one.divergence.kl for one in chosen]).sum(0)
                new = Combination(plan.arch, limit, float(kl.mean()), error_of_mean(kl), value(plan), chosen)
                found[plan.arch.fingerprint] = new
    finally:
        ledger.close()
    put_in_queue(study.name, home, {one.name: one.arch for one in found.values()})
    hits = work.parent.hits
    accuracy = float(hits.double().mean())
    return Distilled(study.name, start, figure, at_parent, accuracy, len(hits), tuple(options), tuple(found.values()))


def _limits(program: Program, study: Study, figure: str, at_parent: float, best: int) -> list[float]:
    """Evenly spaced limits, the largest first: below the parent's own figure, or from the study's limit on it.

    Raises StudyError if no combination is below.
    """
    most = min(at_parent, study.constraints.get(figure, at_parent))
    least = program.least_change()
    if least is None or least >= 0 or at_parent + least > most:
        lowest = "no combination" if least is None else f"{at_parent + least:,.6g} at least"
        raise StudyError(
            f"no combination of options has a {figure} below {most:,.6g}: found {lowest}; give options that cost less, "
            "or another --limit"
        )
    parts = best + (most == at_parent)  # the parent itself is no combination
    return [at_parent + least + (most - at_parent - least) * part / parts for part in range(best, 0, -1)]


def _plan(chosen: Sequence[Scored], space: dict[str, Any], task: Task) -> Plan:
    params: Params = {name: answer for one in chosen for name, answer in one.option.params.items()}
    return make_plan(replay(space, params), task)
