"""The surrogate sampler: what it proposes and what it does not, and the Gaussian process under it, against oracles."""

import itertools
import random
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import multivariate_normal, spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from hadnas.errors import SpecError
from hadnas.samplers.draw import draw_from, optuna_pick
from hadnas.samplers.gaussian import Gaussian, Scores
from hadnas.samplers.problem import Problem, Prospect
from hadnas.samplers.sampler import check_sampler, make_sampler
from hadnas.samplers.surrogate import SurrogateSampler
from hadnas.samplers.vectors import squared_distances, vectors
from hadnas.space import draws, one_of, op, repeat, resolve, size
from tests.deep import Deep

SPACE = {f"x{i}": one_of("a", "b", "c") for i in range(4)}


def describe(answers: Any, node: Any) -> Prospect | None:
    """Draws with equal counts of labels are one network; those with no `a` are refused; the cost is the number of c."""
    labels = sorted(answers.values())
    return Prospect("".join(labels), {"cost": float(labels.count("c"))}) if "a" in labels else None


def problem(space: Any = SPACE, describe: Any = describe) -> Problem:
    return Problem(space, ("accuracy", "cost"), ("maximize", "minimize"), describe, {"accuracy": 0.0, "cost": 5.0})


def told(answers: Any, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    values = [list(answers.values()).count("c") + 0.1 * list(answers.values()).count("a"), 0.0]
    values[1] = float(list(answers.values()).count("c"))
    labels = optuna.distributions.CategoricalDistribution(("a", "b", "c"))
    return create_trial(
        state=state,
        values=values if state == TrialState.COMPLETE else None,
        params=dict(answers),
        distributions=dict.fromkeys(answers, labels),
        constraints={"x": 1.0},
    )


def search(trials: int, searched: Problem, seed: int = 0, startup: int = 3) -> list[FrozenTrial]:
    history: list[FrozenTrial] = []
    seeded = make_sampler("surrogate", seed, {"n_startup_trials": startup, "pool": 40}, searched)
    for draw in range(trials):
        history.append(told(draw_from(searched.space, seeded(draw), searched.directions, history).answers))
    return history


def keys(trials: list[FrozenTrial]) -> list[str]:
    return ["".join(sorted(trial.params.values())) for trial in trials]


def test_no_network_is_proposed_twice_and_none_that_is_refused_until_all_are_met() -> None:
    allowed = {prospect.key for answers, node in all_draws() if (prospect := describe(answers, node))}
    found = keys(search(len(allowed) + 3, problem()))
    assert len(allowed) == 10 and set(found[:10]) == allowed


def all_draws() -> list[tuple[dict[str, str], None]]:
    return [(dict(zip(SPACE, labels, strict=True)), None) for labels in itertools.product("abc", repeat=4)]


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.PRUNED])
def test_what_runs_or_was_refused_is_not_proposed_again(state: TrialState) -> None:
    history = search(6, problem())
    seeded = make_sampler("surrogate", 0, {"n_startup_trials": 3}, problem())
    first = draw_from(SPACE, seeded(6), problem().directions, history)
    second = draw_from(SPACE, seeded(6), problem().directions, [*history, told(first.answers, state)])
    assert describe(first.answers, None).key != describe(second.answers, None).key  # type: ignore[union-attr]


def test_a_problem_that_remembers_and_a_new_one_give_the_same_draws() -> None:
    history = search(9, problem())
    old, new = problem(), problem()
    for remembered in range(9):
        seeded = make_sampler("surrogate", 0, {"n_startup_trials": 3, "pool": 40}, old)
        draw_from(SPACE, seeded(remembered), old.directions, history[:remembered])
    one, other = (
        draw_from(SPACE, make_sampler("surrogate", 0, {"n_startup_trials": 3}, each)(9), each.directions, history)
        for each in (old, new)
    )
    assert one.answers == other.answers


def test_in_plain_optuna_with_threads_every_candidate_is_new() -> None:
    deep = Deep(2, 2)
    sampler = SurrogateSampler(deep.problem, seed=1, n_startup_trials=4, pool=40)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        resolve(deep.space, optuna_pick(trial, {}))
        return deep.accuracy_of(trial.params)

    study.optimize(objective, n_trials=16)
    assert len({tuple(sorted(trial.params.items(), key=str)) for trial in study.trials}) == 16
    with pytest.raises(SpecError, match=r"directions \('minimize',\).*\('maximize',\)"):
        optuna.create_study(direction="minimize", sampler=sampler).ask()
    with pytest.raises(SpecError, match="other is no decision"):
        study.ask().suggest_int("other", 0, 1)


def test_it_is_refused_where_it_does_not_fit() -> None:
    with pytest.raises(SpecError, match="at most 4 objectives; found 5"):
        check_sampler("surrogate", 0, {}, 5)
    with pytest.raises(SpecError, match="needs the problem"):
        make_sampler("surrogate")


def test_rows_lie_apart_as_the_decisions_differ() -> None:
    space = {"blocks": repeat(one_of(op("star", expand=one_of(1, 2, 3)), op("mlp")), one_of(1, 2)), "w": one_of(8, 16)}
    searched = Problem(space, ("a",), ("maximize",), describe)
    some = [
        {"blocks.times": 1, "blocks.0": "mlp", "w": 8},
        {"blocks.times": 1, "blocks.0": "star", "blocks.0.star.expand": 1, "w": 8},
        {"blocks.times": 1, "blocks.0": "star", "blocks.0.star.expand": 2, "w": 16},
        {"blocks.times": 2, "blocks.0": "mlp", "blocks.1": "mlp", "w": 8},
    ]
    rows = vectors(some, searched.distributions(some))
    expected = [[0, 2, 3, 2], [2, 0, 1.5, 4], [3, 1.5, 0, 5], [2, 4, 5, 0]]
    assert squared_distances(rows, rows) == pytest.approx(np.array(expected), abs=1e-12)


def test_the_gaussian_process_is_that_of_scikit_learn_and_its_scales_are_the_most_likely() -> None:
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(30, 3)), rng.normal(size=(7, 3))
    figures = np.exp(np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=30))
    flat = np.zeros((30, 1))
    model = Gaussian(x, flat, figures)
    y, scale = model.scores.scores, model._scale
    chosen = model.chosen
    unit = squared_distances(x, x).mean()
    share = chosen["share"]
    kernel = ConstantKernel(scale * (1 - share)) * RBF(np.sqrt(chosen["decisions"] * unit / 2))
    kernel += ConstantKernel(scale * max(share, 1e-12))  # all features are equal
    oracle = GaussianProcessRegressor(kernel + WhiteKernel(scale * chosen["noise"]), optimizer=None).fit(x, y)
    mean, std = oracle.predict(new, return_std=True)
    found, spread = model.predict(new, np.zeros((7, 1)))
    assert found == pytest.approx(mean, abs=1e-6)
    assert spread**2 + scale * chosen["noise"] == pytest.approx(std**2, rel=1e-5)
    covariance = oracle.kernel_(x)
    likelihood = multivariate_normal(np.zeros(30), covariance).logpdf(y)
    for other in (0.25, 4.0):
        less = kernel.k1.k1 * RBF(np.sqrt(chosen["decisions"] * other * unit / 2)) + kernel.k2
        less += WhiteKernel(scale * chosen["noise"])
        assert multivariate_normal(np.zeros(30), less(x)).logpdf(y) <= likelihood + 1e-9


def test_scores_are_ranks_and_go_back_to_figures() -> None:
    figures = np.array([0.1, 0.9, 0.91, 0.915, 0.5])
    scores = Scores.of(figures)
    assert spearmanr(scores.scores, figures).statistic == pytest.approx(1)
    assert scores.figures(scores.scores) == pytest.approx(figures)
    beyond = scores.figures(np.array([-5.0, 5.0]))
    assert beyond[0] < 0.1 and beyond[1] > 0.915


def test_it_predicts_the_ranks_of_a_deep_space() -> None:
    deep = Deep(2, 2, noise=0.0)
    found = list(itertools.islice(draws(deep.space, random.Random(3)), 160))
    rows = vectors([answers for answers, _ in found], deep.problem.distributions(answers for answers, _ in found))
    truth = np.array([deep.accuracy_of(answers) for answers, _ in found])
    model = Gaussian(rows[:100], np.zeros((100, 1)), truth[:100])
    assert spearmanr(model.predict(rows[100:], np.zeros((60, 1)))[0], truth[100:]).statistic > 0.5
    assert size(deep.space) > 100_000


def test_a_candidate_at_work_counts_as_it_is_predicted() -> None:
    """Cost is known and accuracy follows from it: what is at work takes the gain from all that cost the same."""
    space = {"width": one_of(*range(1, 9)), "x": one_of(*range(50))}

    def known(answers: Any, node: Any) -> Prospect:
        width = float(answers["width"])
        return Prospect(str(node), {"cost": width}, {"width": width})

    searched = Problem(space, ("accuracy", "cost"), ("maximize", "minimize"), known, {"accuracy": 0.0, "cost": 9.0})
    integers = {
        name: optuna.distributions.IntDistribution(*ends) for name, ends in {"width": (1, 8), "x": (0, 49)}.items()
    }

    def trial(width: int, x: int, state: TrialState) -> FrozenTrial:
        values = [width**0.5, float(width)] if state == TrialState.COMPLETE else None
        return create_trial(state=state, values=values, params={"width": width, "x": x}, distributions=integers)

    history = [trial(width, x, TrialState.COMPLETE) for width in (1, 2, 3, 5, 8) for x in (0, 30)]
    seeded = make_sampler("surrogate", 0, {"n_startup_trials": 3, "pool": 400}, searched)
    met = []
    for _ in range(3):
        answers = draw_from(space, seeded(len(history)), searched.directions, history).answers
        met.append(answers["width"])
        history.append(trial(answers["width"], answers["x"], TrialState.RUNNING))
    assert sorted(met) == [4, 6, 7]


def test_objectives_that_are_all_known_need_no_prediction() -> None:
    searched = Problem(SPACE, ("cost",), ("minimize",), lambda answers, node: describe(answers, node))
    history: list[FrozenTrial] = []
    for draw in range(6):
        seeded = make_sampler("surrogate", 0, {"n_startup_trials": 2}, searched)
        trial = told(draw_from(SPACE, seeded(draw), searched.directions, history).answers)
        trial.values = trial.values[1:]
        history.append(trial)
    assert min(trial.values[0] for trial in history) == 0 and len(set(keys(history))) == 6


def test_infinite_figures_are_met_and_not_learned_from() -> None:
    history = search(5, problem())
    for trial in history[:3]:
        trial.values = [float("inf"), 1.0]
    seeded = make_sampler("surrogate", 0, {"n_startup_trials": 2}, problem())
    answers = draw_from(SPACE, seeded(5), problem().directions, history).answers
    assert "".join(sorted(answers.values())) not in keys(history)
