"""`hadnas distill`: every option at the sites of a parent network, trained and scored alone, then combined by limits.

After Bercovich et al., "Puzzle: distillation-based NAS for inference-optimized LLMs", 2024, arXiv 2411.19146, sections
3 and 4. Differences: no weights go into the fine-tuning, and the score of an option is of the validation images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.contract.user_defined import check_user_defined
from hadnas.errors import DataError, StudyError, check_kind, unknown
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.cost import Counts
from hadnas.measure.figures import TABLE, constraints
from hadnas.search.distill.combination import Program
from hadnas.search.distill.divergence import Divergence
from hadnas.search.distill.measurements import Measurements, SayDone
from hadnas.search.distill.options import Option, SiteChoice, read_options
from hadnas.search.proposals.enqueued import put_in_queue
from hadnas.space import Params, replay
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.study import Study
from hadnas.store.study_store import user_defined_ops
from hadnas.train.data.spec import load_data
from hadnas.train.device import chosen_device

UPDATES = 300
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

    figure    the name of the figure that is limited; `parent` is its value in the parent network
    accuracy  of the parent on the `n` images of the scores
    """

    study: str
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
    steps: int = UPDATES,
    device: str = "auto",
    say: SayDone = lambda label, done, total: None,
) -> Distilled:
    """Score the options of a study of grafts alone, and enqueue the best combinations for its search.

    Each module that an option puts in place of the parent's is trained for `steps` updates to give its output on the
    training images, all options of a decision on the same features. The score is the Kullback-Leibler divergence of the
    network's classes from the parent's on up to 1,024 validation images. Scores are stored in the home; a second call
    trains only what is missing. Between the least possible value of `figure` and the parent's, or the study's limit on
    it, `best` evenly spaced limits each give the combination with the least sum of scores.

    Raises SpecError for a space without grafts, weights or replacements, UnknownName for a figure that is no sum,
    DataError if the images have no classes, StudyError if the parent does not know them or no combination is possible.
    """
    check_kind(study, Study, "study", "a Study whose space hadnas.graft made, with weights")
    check_kind(home, Home, "home", "a home: hadnas.Home(folder)")
    if figure not in summed_figures():
        raise unknown("figure of a limit", figure, summed_figures())
    device = chosen_device(device)
    if TABLE[figure].source == "latency" and study.latency is None:
        raise StudyError(f"study {study.name!r} times nothing, so no limit can be on {figure}; allowed are costs")
    say("reading the images", 0, 1)
    data = load_data(study.data)
    if data.target != "classes":
        raise DataError(f"{data.name}: its target is {data.target}; block-wise distillation needs classes")
    task = Task.image(*data.shape, classes=data.classes)
    parent, choices = read_options(study.space, task)
    parent.host.check_start(parent)
    plans = [option.plan for choice in choices for option in choice.options]
    check_user_defined(user_defined_ops(study.model_dump(mode="json")), study.space, task, plans, study.seed)
    ledger = Ledger(home.url)
    try:
        work = Measurements(study, home, ledger, data, task, parent, device, steps)
        scores = work.scores(choices, say)
        value = partial(work.figure, figure)
        at_parent = value(parent)
        options = tuple(
            Scored(choice, option, scores[option.plan.arch.fingerprint], value(option.plan) - at_parent)
            for choice in choices
            for option in choice.options
        )
        found = _combinations(study, task, choices, options, figure, at_parent, best, value)
    finally:
        ledger.close()
    put_in_queue(study.name, home, {one.name: one.arch for one in found})
    known = work.parent
    return Distilled(
        study.name, figure, at_parent, float(known.hits.double().mean()), len(known.labels), options, found
    )


def _combinations(
    study: Study,
    task: Task,
    choices: Sequence[SiteChoice],
    options: Sequence[Scored],
    figure: str,
    at_parent: float,
    best: int,
    value: Callable[[Plan], float],
) -> tuple[Combination, ...]:
    """The best combination for each of `best` limits, each once."""
    program = Program(choices, [one.divergence.mean for one in options], [one.change for one in options])
    least, most = program.least_change(), min(0.0, study.constraints.get(figure, at_parent) - at_parent)
    if least is None or least > most or not any(one.change < 0 for one in options):
        lowest = "none" if least is None else f"{at_parent + least:,.6g} at least"
        raise StudyError(
            f"no combination of options lowers {figure} to {at_parent + most:,.6g}: found {lowest}; give options that "
            "cost less, or another --limit"
        )
    found: dict[str, Combination] = {}
    for part in range(best, 0, -1):  # the parent itself is no combination
        limit = least + (most - least) * part / (best + (most == 0))
        places = program.best(limit)
        assert places is not None  # the least one is within every limit
        chosen = tuple(options[place] for place in places)
        params: Params = {name: answer for one in chosen for name, answer in one.option.params.items()}
        plan = make_plan(replay(study.space, params), task)
        if plan.arch.fingerprint in found or not plan.arch.node.get("sites"):
            continue
        images = torch.stack([one.divergence.kl for one in chosen]).sum(0)
        error = float(images.std() / len(images) ** 0.5)
        found[plan.arch.fingerprint] = Combination(
            plan.arch, at_parent + limit, float(images.mean()), error, value(plan), chosen
        )
    return tuple(found.values())
