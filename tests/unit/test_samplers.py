"""Samplers: one seed, one run of draws, however the history was kept; and what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hadnas.errors import SpecError, UnknownName
from hadnas.samplers.draw import Drawn, draw_from
from hadnas.samplers.problem import Problem, Prospect
from hadnas.samplers.sampler import make_sampler, samplers
from hadnas.space import one_of, op, repeat
from hadnas.store.home import Home, optuna_storage
from hadnas.store.trials import Trials

TRIALS = 24
SMALL: dict[str, dict[str, object]] = {
    "tpe": {"n_startup_trials": 4},
    "nsga2": {"population_size": 6},
    "random": {},
    "exhaustive": {},
    "surrogate": {"n_startup_trials": 4, "pool": 30},
}
PART = one_of(op("star", expand=one_of(1, 2, 3)), op("mlp", expand=one_of(2, 4)), op("lka"))
SPACE = {"blocks": repeat(PART, one_of(1, 2, 3))}
"""A small conditional space: the parameters of a branch exist only where it was chosen."""


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def told(drawn: Drawn, number: int, **attributes: Any) -> FrozenTrial:
    """A trial whose size is too large is pruned."""
    size = sum(part.get("expand", 0) + (part["op"] == "star") for part in drawn.node["blocks"])
    large = size > 7
    trial = create_trial(
        state=TrialState.PRUNED if large else TrialState.COMPLETE,
        values=None if large else [float(size), float(len(drawn.node["blocks"]))],
        params=drawn.answers,
        distributions=drawn.distributions,
        constraints={"size": float(size - 7)},
        system_attrs=drawn.kept,
        **attributes,
    )
    trial.number = number
    return trial


def describe(answers: Any, node: Any) -> Prospect:
    return Prospect(str(node), {"length": float(len(node["blocks"]))})


def next_draw(name: str, seed: int, history: list[FrozenTrial], draw: int) -> Drawn:
    problem = Problem(SPACE, ("size", "length"), ("maximize", "minimize"), describe)
    return draw_from(SPACE, make_sampler(name, seed, SMALL[name], problem)(draw), problem.directions, history)


def run(name: str, seed: int, trials: int = TRIALS) -> list[FrozenTrial]:
    history: list[FrozenTrial] = []
    for draw in range(trials):
        history.append(told(next_draw(name, seed, history, draw), draw))
    return history


def params(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    return [trial.params for trial in trials]


def test_every_sampler_is_tried() -> None:
    assert set(SMALL) == set(samplers())


@pytest.mark.parametrize("name", SMALL)
def test_a_history_from_a_database_that_is_closed_in_between_gives_the_same_draws(name: str, tmp_path: Path) -> None:
    """As a study that stops after each of its trials and goes on in another process."""
    straight = run(name, 3, 8)
    for draw in range(8):
        storage = optuna_storage(Home(tmp_path))
        directions = ["maximize", "minimize"]
        book = optuna.create_study(storage=storage, study_name="s", directions=directions, load_if_exists=True)
        trials = Trials(book, storage)
        drawn = next_draw(name, 3, trials.all(), draw)
        added = trials.add(draw, drawn.answers, drawn.distributions, drawn.kept)
        known = told(drawn, draw)
        trials.tell(added.number, known.constraints, known.values)
        storage.engine.dispose()
    again = trials.all()
    assert params(again) == params(straight)
    assert [trial.state for trial in again] == [trial.state for trial in straight]
    assert [trial.constraints for trial in again] == [trial.constraints for trial in straight]


@pytest.mark.parametrize("name", SMALL)
def test_failed_trials_of_earlier_versions_change_no_draw(name: str) -> None:
    history: list[FrozenTrial] = []
    for draw in range(TRIALS):
        drawn = next_draw(name, 3, history, draw)
        failed = create_trial(state=TrialState.FAIL, params=drawn.answers, distributions=drawn.distributions)
        history += [failed, told(drawn, draw)]
    assert params(history[1::2]) == params(run(name, 3))


@pytest.mark.parametrize("name", SMALL)
def test_another_seed_gives_other_draws_and_draws_do_not_repeat(name: str) -> None:
    one, other = run(name, 3), run(name, 4)
    assert params(one) != params(other)
    assert len({str(sorted(p.items())) for p in params(other)}) > TRIALS / 4


def test_a_draw_sees_the_trials_that_run() -> None:
    """The constant liar of TPE keeps away from them; and the exhaustive sampler does not draw them again."""
    history = run("tpe", 3, 12)
    drawn = next_draw("tpe", 3, history, 12)
    running = create_trial(state=TrialState.RUNNING, params=drawn.answers, distributions=drawn.distributions)
    assert next_draw("tpe", 3, history, 12).answers == drawn.answers
    assert next_draw("tpe", 3, [*history, running], 12).answers != drawn.answers


def test_tpe_learns() -> None:
    """On a sum of independent choices the last draws are better than random ones: nothing is hidden from it."""
    space = {f"x{i}": one_of(*range(10)) for i in range(4)}
    means = {}
    for name in ("tpe", "random"):
        history: list[FrozenTrial] = []
        for draw in range(40):
            drawn = draw_from(space, make_sampler(name, 0)(draw), ["maximize"], history)
            total = float(sum(drawn.node.values()))
            history.append(create_trial(value=total, params=drawn.answers, distributions=drawn.distributions))
        means[name] = sum(trial.value or 0 for trial in history[-15:]) / 15
    assert means["tpe"] > means["random"] + 5


def test_names_options_and_values_are_checked() -> None:
    with pytest.raises(UnknownName, match="did you mean 'nsga2'"):
        make_sampler("nsga")
    with pytest.raises(UnknownName, match="did you mean 'population_size'"):
        make_sampler("nsga2", 0, {"populaton_size": 4})
    with pytest.raises(SpecError, match="not an integer of at least 1"):
        make_sampler("nsga2", 0, {"population_size": 0})
    with pytest.raises(SpecError, match="between 0 and 1"):
        make_sampler("nsga2", 0, {"crossover_prob": 1.5})
    with pytest.raises(SpecError, match="True or False"):
        make_sampler("tpe", 0, {"group": 1})
    with pytest.raises(SpecError, match="``multivariate``"):
        make_sampler("tpe", 0, {"multivariate": False})
    with pytest.raises(SpecError, match="seed"):
        make_sampler("tpe", -1)


def test_exhaustive_meets_every_assignment_once() -> None:
    space = {"op": one_of("star", "mlp"), "expand": one_of(1, 2, 3)}
    history: list[FrozenTrial] = []
    for draw in range(6):
        drawn = draw_from(space, make_sampler("exhaustive", 1)(draw), ["maximize"], history)
        history.append(create_trial(value=1.0, params=drawn.answers, distributions=drawn.distributions))
    assert len({str(sorted(found.params.items())) for found in history}) == 6


FIRST = """
from optuna.samplers import GridSampler
from hadnas.samplers.sampler import sampler


@sampler("first", adaptive=False, times=2)
def first(seed, times):
    return GridSampler({"op": ["mlp"]}, seed=seed)
"""
ASKED = """
import sys
import hadnas.samplers
from hadnas.samplers.draw import draw_from
from hadnas.samplers.sampler import make_sampler, samplers
from hadnas.space import one_of

hadnas.samplers.__path__.append(sys.argv[1])  # as if the file lay in the folder
found = samplers()["first"]
drawn = draw_from({"op": one_of("star", "mlp")}, make_sampler("first", 0, {"times": 3})(0), ["maximize"], [])
print(found.options, found.adaptive, drawn.node)
"""


def test_what_failed_alone_is_drawn_again() -> None:
    space = {"op": one_of("star", "mlp")}
    for seed in range(4):
        first = draw_from(space, make_sampler("exhaustive", seed)(0), ["maximize"], [])
        asked = {"params": first.answers, "distributions": first.distributions}
        second = draw_from(space, make_sampler("exhaustive", seed)(1), ["maximize"], [create_trial(value=1.0, **asked)])
        failed = create_trial(state=TrialState.FAIL, params=second.answers, distributions=second.distributions)
        history = [create_trial(value=1.0, **asked), failed]
        assert draw_from(space, make_sampler("exhaustive", seed)(2), ["maximize"], history).answers == second.answers


def test_one_file_is_enough_for_a_sampler(tmp_path: Path) -> None:
    """It is found in the folder of samplers, with its options."""
    (tmp_path / "sorted_first.py").write_text(FIRST)
    done = subprocess.run([sys.executable, "-c", ASKED, tmp_path], capture_output=True, text=True)
    assert done.stdout == "{'times': 2} False {'op': 'mlp'}\n", done.stderr
