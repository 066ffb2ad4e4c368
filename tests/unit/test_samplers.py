"""Samplers: one seed, one run of trials, however often the study stops."""

import itertools
from contextlib import suppress

import optuna
import pytest

from hadnas.errors import SpecError, UnknownName
from hadnas.samplers.optuna import OPTIONS, make_sampler
from hadnas.store.home import Home, optuna_storage

TRIALS = 24
SMALL = {"tpe": {"n_startup_trials": 4}, "nsga2": {"population_size": 6}, "random": {}, "exhaustive": {}}


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """A small conditional space: the parameters of a branch exist only where it was chosen; some trials are pruned."""
    total = 0
    for place in range(trial.suggest_int("depth", 1, 3)):
        op = trial.suggest_categorical(f"{place}.op", ["star", "mlp", "lka"])
        total += trial.suggest_int(f"{place}.{op}.expand", 1, 4) + (op == "star")
    infeasible = total > 11
    trial.set_constraint("size", float(total - 11))
    if infeasible:
        raise optuna.TrialPruned()
    return float(total), float(trial.params["depth"])


def study(storage, name, seed):
    """As a process opens it that begins or resumes: the trials are what is stored, the sampler is new."""
    return optuna.create_study(
        storage=storage,
        study_name="s",
        load_if_exists=True,
        directions=["maximize", "minimize"],
        sampler=make_sampler(name, seed, SMALL[name]),
    )


def params(trials):
    return [trial.params for trial in trials if trial.state != optuna.trial.TrialState.FAIL]


@pytest.fixture(scope="module")
def straight():
    """The trials of each sampler run through, seed 3, in memory."""
    runs = {}
    for name in OPTIONS:
        runs[name] = study(None, name, 3)
        runs[name].optimize(objective, n_trials=TRIALS)
    return runs


@pytest.mark.parametrize("name", OPTIONS)
def test_a_study_stopped_and_resumed_has_the_trials_of_one_run_through(name, straight):
    storage = optuna.storages.InMemoryStorage()
    for start, end in itertools.pairwise((0, 3, 5, 15, TRIALS)):
        study(storage, name, 3).optimize(objective, n_trials=end - start)
    assert params(study(storage, name, 3).trials) == params(straight[name].trials)


def test_the_same_from_a_database_that_is_closed_in_between(straight, tmp_path):
    for start, end in itertools.pairwise((0, 3, 6)):
        storage = optuna_storage(Home(tmp_path))
        study(storage, "tpe", 3).optimize(objective, n_trials=end - start)
        storage.engine.dispose()
    assert params(study(optuna_storage(Home(tmp_path)), "tpe", 3).trials) == params(straight["tpe"].trials[:6])


@pytest.mark.parametrize("name", OPTIONS)
def test_an_interrupted_trial_is_drawn_again(name, straight):
    """Ctrl-C in the middle of a trial, before every trial: also the first one of each generation of NSGA-II."""

    def interrupted(trial):
        with suppress(optuna.TrialPruned):
            objective(trial)
        raise KeyboardInterrupt

    storage = optuna.storages.InMemoryStorage()
    for _ in range(TRIALS):
        with pytest.raises(KeyboardInterrupt):
            study(storage, name, 3).optimize(interrupted, n_trials=1)
        study(storage, name, 3).optimize(objective, n_trials=1)
    again = study(storage, name, 3).trials
    assert len(again) == 2 * TRIALS
    assert params(again) == params(straight[name].trials)


@pytest.mark.parametrize("name", OPTIONS)
def test_another_seed_gives_other_trials_and_draws_do_not_repeat(name, straight):
    other = study(None, name, 4)
    other.optimize(objective, n_trials=TRIALS)
    assert params(other.trials) != params(straight[name].trials)
    assert len({str(sorted(p.items())) for p in params(other.trials)}) > TRIALS / 4


def test_ask_and_tell_in_parallel_keeps_each_trials_own_draw():
    one = study(None, "random", 5)
    asked = [one.ask() for _ in range(6)]
    for trial in reversed(asked):
        one.tell(trial, objective(trial) if trial.number != 2 else None, state=None if trial.number != 2 else FAIL)
    alone = study(None, "random", 5)
    alone.optimize(objective, n_trials=6, catch=())
    held = [trial.system_attrs["hadnas:draw"] for trial in one.trials]
    assert held == list(range(6))
    assert [t.params for t in one.trials if t.number != 2] == [t.params for t in alone.trials if t.number != 2]
    assert one.ask().suggest_int("depth", 1, 3) == alone.trials[2].params["depth"]  # the failed draw, taken up again


FAIL = optuna.trial.TrialState.FAIL


def test_baselines_enqueued_first_do_not_shift_the_draws_of_others():
    one = study(None, "random", 6)
    one.enqueue_trial({"depth": 1, "0.op": "mlp", "0.mlp.expand": 2})
    one.optimize(objective, n_trials=5)
    alone = study(None, "random", 6)
    alone.optimize(objective, n_trials=5)
    assert one.trials[0].params == {"depth": 1, "0.op": "mlp", "0.mlp.expand": 2}
    assert params(one.trials)[1:] == params(alone.trials)[1:]


def test_tpe_learns():
    """On a sum of independent choices the last trials are better than random ones: the wrapper hides nothing."""

    def total(trial):
        return sum(trial.suggest_int(f"x{i}", 0, 9) for i in range(4))

    means = {}
    for name in ("tpe", "random"):
        one = optuna.create_study(direction="maximize", sampler=make_sampler(name, 0))
        one.optimize(total, n_trials=40)
        means[name] = sum(trial.value for trial in one.trials[-15:]) / 15
    assert means["tpe"] > means["random"] + 5


def test_names_options_and_values_are_checked():
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


def test_exhaustive_meets_every_assignment_once():
    def drawn(trial: optuna.Trial) -> tuple[float, float]:
        place = trial.suggest_categorical("op", ["star", "mlp"])
        return float(trial.suggest_int(f"{place}.expand", 1, 3)), 1.0

    storage = optuna.storages.InMemoryStorage()
    study(storage, "exhaustive", 1).optimize(drawn, n_trials=4)
    study(storage, "exhaustive", 1).optimize(drawn, n_trials=20)
    met = params(study(storage, "exhaustive", 1).trials)
    assert len(met) == 6 == len({str(sorted(found.items())) for found in met})
