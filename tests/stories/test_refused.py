"""What a search refuses: candidates with their reason, studies before any work."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import SpecError, StudyError, UnknownName
from hadnas.hosts.build import build
from hadnas.measure.cost import cost
from hadnas.opened import open_study
from hadnas.search.run import run_study
from hadnas.search.tally import tally
from hadnas.source.user_file import run_file
from hadnas.space import every, one_of, op
from hadnas.store.home import Home
from hadnas.store.records import Costs
from hadnas.train.recipe import Recipe
from tests.homes import new_home, study
from tests.networks import pyramid, residual

EXPLODING = '''
from typing import Any

from torch import Tensor, nn

from hadnas import block


@block(family="hadamard")
class Exploding(nn.Module):
    """A map that is not finite for any input, to see a candidate refused; `late` fails after some steps of training."""

    def __init__(self, dim: int, *, broken: bool = False, late: bool = False, device: Any = None, dtype: Any = None):
        super().__init__()
        self.map = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)
        self.broken = broken
        self.late = late
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.broken and self.training:
            raise ValueError("this block cannot be trained")
        self.steps += self.training
        if self.late:
            return self.map(x) * (float("nan") if self.steps > 8 else 1.0)
        return self.map(x) * float("inf")
'''


def test_failing_candidates_are_pruned_with_their_reason(tmp_path: Path) -> None:
    (tmp_path / "exploding.py").write_text(EXPLODING)
    run_file(tmp_path / "exploding.py")
    faults = (op("exploding"), op("exploding", broken=True), op("exploding", late=True), op("attention", heads=3))
    blocks = one_of(op("mlp", expand=2), *faults)
    space = pyramid((8, [residual(blocks)]))
    home = new_home(tmp_path)
    steps = Recipe(epochs=1, batch=128)  # nine of them, and the late one fails in the last
    progress = run_study(study(name="faulty", space=space, recipe=steps, trials=10, sampler="random"), home)
    assert progress.done == 1 and "all 5 assignments" in progress.ended
    reasons = {f.params["stages.0.blocks.0.block"]: f.reason for f in open_study("faulty", tmp_path).found}
    assert reasons.pop("mlp") is None
    assert "heads = 3 must divide dim = 8" in (reasons.pop("attention") or "")
    assert "this block cannot be trained" in (reasons.pop("exploding#2 broken=True") or "")
    assert (reasons.pop("exploding#1") or "").startswith("screen: ")
    assert "training diverged: epoch 1, step 9" in (reasons.pop("exploding#3 late=True") or "")
    assert not reasons
    (failed,) = [t for t in open_study("faulty", tmp_path).ledger.trainings() if t.state == "failed"]
    assert "training diverged" in (failed.reason or "")
    results = open_study("faulty", tmp_path)
    told = dict(results.reasons)
    refused = sum(told.values())
    assert refused >= 4 and results.refused_share == f"{refused} of {refused + 1} draws ({refused / (refused + 1):.0%})"
    assert any(reason.endswith("heads = 3 must divide dim = 8") for reason in told)  # whole, not up to its figure
    assert results.study.source == str((tmp_path / "exploding.py").resolve())  # found out, for the next process
    with pytest.raises(StudyError, match=r"trial-000\d is pruned \(.+\)$"):
        results.network(results.refused[0])
    book = optuna.load_study(study_name="faulty", storage=home.url)
    for trial in book.trials:
        if trial.state == optuna.trial.TrialState.PRUNED:
            assert max(trial.constraints.values()) > 0


def test_constraints_refuse_before_training(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    task = Task.image(1, 8, 8, classes=10)
    space = pyramid((8, [residual(op("mlp", expand=one_of(1, 2, 3, 4)))]))
    archs = [complete(draw, task) for _, draw in every(space)]
    macs = sorted(cost(build(arch, task, device="meta"), task.shape).macs for arch in archs)
    limit = float(macs[1])  # the two smallest
    run_study(study(name="small", space=space, constraints={"macs": limit}, trials=4, sampler="exhaustive"), home)
    results = open_study("small", tmp_path)
    refused = [found for found in results.found if found.state == "pruned"]
    assert len(refused) == 2 and all("macs = " in (found.reason or "") for found in refused)
    assert all(found.figures["macs"] <= limit for found in results.distinct)
    assert len(results.ledger.trainings()) == len(results.distinct)


def test_what_trains_after_a_refusal_counts() -> None:
    """A machine that was short of memory may have it the next time."""
    states = (optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE)
    book = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    for state in (*states, states[1]):
        known = {"fingerprint": "same", "figures": {"val/accuracy": 0.5}}
        book.add_trial(optuna.trial.create_trial(state=state, value=0.5, user_attrs=known))
    counted = tally(book.get_trials(), "val/accuracy")
    assert (counted.done, counted.refused, counted.refusals, counted.barren, counted.best) == (1, 1, 0, 2, 0.5)


def test_a_new_draw_that_a_rule_refuses_is_no_repeat() -> None:
    """Where few assignments are valid, they are looked for until as many were refused as are allowed."""
    book = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    heads = optuna.distributions.IntDistribution(1, 500)
    for value in (*range(1, 101), 100, 100):
        drawn = {"heads": value}
        book.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED, params=drawn, distributions={"heads": heads}
            )
        )
    counted = tally(book.get_trials(), "val/accuracy")
    assert (counted.refused, counted.refusals, counted.barren, counted.assignments) == (102, 102, 2, 100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ("accuracy",)}, "unknown objective 'accuracy'; did you mean 'val/accuracy'"),
        ({"objectives": ()}, "objectives = \\[\\] is not allowed"),
        ({"constraints": {"mac": 1}}, "unknown constraint 'mac'; did you mean 'macs'"),
        ({"constraints": {"macs": 0}}, "constraint macs = 0.0 is not allowed"),
        ({"constraints": {"val/accuracy": 0.9}}, "unknown constraint 'val/accuracy'"),
        ({"constraints": {"flops": 9}}, "unknown constraint 'flops'"),
        ({"constraints": {"call": 9}}, "unknown constraint 'call'; did you mean 'calls'"),
        ({"sampler": "tpee"}, "unknown sampler 'tpee'; did you mean 'tpe'"),
        ({"name": ".."}, "name = '..' is not allowed"),
        ({"name": "mlflow.db"}, "name = 'mlflow.db'"),
        ({"name": "checkpoints"}, "name = 'checkpoints'"),
        ({"objectives": ("latency_ms",)}, "latency_ms .*latency = None"),
    ],
)
def test_a_wrong_study_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, UnknownName), match=message):
        study(**changes)


def test_every_cost_can_be_a_constraint_or_an_objective() -> None:
    costs = tuple(Costs.__dataclass_fields__)
    assert len(costs) == 8
    assert study(constraints=dict.fromkeys(costs, 10.0), objectives=costs).directions == ["minimize"] * 8


def test_a_space_without_a_valid_draw_is_refused(tmp_path: Path) -> None:
    misspelt = pyramid((8, [residual(one_of(op("mlp"), op("gn_cnov")))]))  # the search would pass over it
    with pytest.raises(UnknownName, match=r"block#1: unknown op 'gn_cnov'; did you mean 'gn_conv'"):
        run_study(study(space=misspelt), Home(tmp_path))
    space = pyramid((8, [residual(op("attention", heads=one_of(3, 5)))]))
    with pytest.raises(SpecError, match=r"valid for .*heads = [35] must divide dim = 8"):
        run_study(study(space=space), Home(tmp_path))
    with pytest.raises(StudyError, match=r"no name.*Study\(name="):
        run_study(study(name=""), Home(tmp_path))
    with pytest.raises(SpecError, match="'cuda:7'"):
        run_study(study(), Home(tmp_path), device="cuda:7")
    (tmp_path / "taken").write_text("a file where the study's folder would be")
    with pytest.raises(StudyError, match=r"taken/weights'.*\(.+\)"):
        run_study(study(name="taken"), Home(tmp_path))
    with pytest.raises(StudyError, match=r"batch = 5000 .* 1149 images"):
        run_study(study(recipe=Recipe(batch=5000)), Home(tmp_path))
