"""A function of the user's own trains the candidates of a study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mlflow import MlflowClient
from torch import nn

import hadnas
from hadnas.exporter.deliver import facts
from hadnas.search import tally
from hadnas.train.data.spec import Data, load_data
from hadnas.train.own import OwnTraining
from tests.homes import new_home, study
from tests.shell import hadnas as run

CALLS: list[tuple[int, float]] = []


def train(module: nn.Module, data: Data, until: int, report: Callable[..., None]) -> dict[str, float]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for epoch in range(1, until + 1):
        for (images,), labels in data.train.batches(256):
            loss = F.cross_entropy(module(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        report(epoch, train_loss=float(loss.detach()), accuracy=epoch / 10)
    CALLS.append((until, float(torch.rand(()))))
    return {"accuracy": 0.75}


def plain(module: nn.Module, data: Data, until: int, report: Callable[..., None]) -> None:
    """Trains nothing and reports nothing: hadnas scores the module."""


def test_a_study_and_its_finals_train_by_the_function_and_only_by_it(tmp_path: Path) -> None:
    home, chosen = new_home(tmp_path), study(trials=2, recipe=hadnas.Recipe(epochs=2), sampler="random")
    CALLS.clear()
    hadnas.run_study(chosen, home, device="cpu", evaluate=train)
    results = hadnas.open_study("tiny", tmp_path)
    assert len(CALLS) == 2 and {until for until, _ in CALLS} == {2}
    assert CALLS[0][1] == CALLS[1][1]  # both trainings draw from the study's seed
    best = results.best
    assert best.value == 0.75
    curve = results.training(best).curve
    assert [point.metrics for point in curve] == [{"accuracy": 0.1}, {"accuracy": 0.2}]
    assert results.network(best) is not None  # its weights are stored
    said = {
        "evaluate": results.study.evaluate,
        "epochs": 2,
        "seed": 0,
    }  # nothing of the recipe
    assert facts(results, best).recipe == said
    params = MlflowClient(home.tracking_uri).get_run(best.run_id or "").data.params
    assert said.keys() <= params.keys() and "lr" not in params
    assert results.study.evaluate.startswith("train ") and str(Path(__file__).parent) not in results.study.evaluate
    hadnas.run_study(chosen, home, device="cpu", evaluate=train)
    assert len(CALLS) == 2
    for function, found in ((None, "no function"), (plain, "plain ")):
        with pytest.raises(hadnas.HadnasError, match=rf"train [0-9a-f]{{16}}.*{found}"):
            hadnas.run_finals("tiny", home, device="cpu", evaluate=function)
    with pytest.raises(hadnas.HadnasError, match=r"'tiny' exists and differs \(evaluate.*--evaluate FILE:train,"):
        hadnas.run_study(chosen, home, device="cpu")
    with pytest.raises(hadnas.HadnasError, match=r"evaluate: \"train .* became \"plain .*undo the change"):
        hadnas.run_study(chosen, home, device="cpu", evaluate=plain)
    finals = hadnas.run_finals("tiny", home, seeds=2, top=1, candidates=0, device="cpu", evaluate=train)
    assert finals[0].estimate is not None and len(CALLS) >= 4


def test_without_figures_the_module_is_scored_and_trainings_are_not_those_of_the_recipe(tmp_path: Path) -> None:
    home, chosen = new_home(tmp_path), study(trials=1)
    hadnas.run_study(chosen, home, device="cpu")
    hadnas.run_study(chosen.model_copy(update={"name": "own"}), home, device="cpu", evaluate=plain)
    opened = [hadnas.open_study(name, tmp_path) for name in ("tiny", "own")]
    by_recipe, own = (one.training(one.best) for one in opened)
    assert by_recipe.key.fingerprint == own.key.fingerprint and by_recipe.weights != own.weights
    assert len(by_recipe.curve) == 1 and own.curve == () and own.val_n == 288


def wrong_name(module: nn.Module, data: Data, until: int, report: Any) -> dict[str, float]:
    return {"iou": 0.5}


def wrong_number(module: nn.Module, data: Data, until: int, report: Any) -> dict[str, float]:
    return {"accuracy": float("nan")}


def percent(module: nn.Module, data: Data, until: int, report: Any) -> dict[str, float]:
    return {"accuracy": 91}


def wrong_target(module: nn.Module, data: Data, until: int, report: Any) -> dict[str, float]:
    return {"rmse": 0.5}


def wrong_kind(module: nn.Module, data: Data, until: int, report: Any) -> Any:
    return "good"


def leaves(module: nn.Module, data: Data, until: int, report: Any) -> None:
    raise SystemExit(3)


def refuses(module: nn.Module, data: Data, until: int, report: Any) -> None:
    hadnas.load("nowhere.py")


def adds(module: nn.Module, data: Data, until: int, report: Any) -> None:
    module.extra = nn.Linear(3, 3)


def wrong_epoch(module: nn.Module, data: Data, until: int, report: Any) -> None:
    report(2)


@pytest.mark.parametrize(
    ("function", "facts"),
    [
        (wrong_name, ["'iou'", "accuracy"]),
        (wrong_target, ["'rmse'", "10 classes", "accuracy"]),
        (wrong_number, ["accuracy = nan", "from 0 to 1"]),
        (percent, ["accuracy = 91", "from 0 to 1"]),
        (wrong_kind, ["'good'", "None"]),
        (wrong_epoch, ["report(2)", "0"]),
        (leaves, ["leaves", "SystemExit(3)"]),
        (refuses, ["refuses", "there is no file nowhere.py"]),
        (adds, ["adds", "extra"]),
    ],
)
def test_what_a_function_may_not_do_refuses_the_candidate(function: Any, facts: list[str], tmp_path: Path) -> None:
    hadnas.run_study(study(trials=1, space=ONE), new_home(tmp_path), device="cpu", evaluate=function)
    [found] = hadnas.open_study("tiny", tmp_path).found
    assert found.state == "pruned" and all(fact in (found.reason or "") for fact in facts)


ONE = hadnas.op(
    "pyramid",
    stem=hadnas.op("conv_norm", dim=hadnas.one_of(4)),
    head=hadnas.op("pooled_linear"),
    stages=[{"dim": 4, "down": hadnas.op("conv_norm"), "blocks": []}],
)


BROKEN = [True]


def fails_while_broken(module: nn.Module, data: Data, until: int, report: Any) -> None:
    if BROKEN[0]:
        raise ConnectionError("no images today")


def test_a_search_ends_where_no_training_succeeds_and_goes_on_with_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "FAILURES", 3)
    home, chosen = new_home(tmp_path), study(trials=1, sampler="random")
    BROKEN[0] = True
    for run_before in (0, 1):  # the second one counts its own failures
        ended = hadnas.run_study(chosen, home, device="cpu", evaluate=fails_while_broken).ended
        assert "3 candidates failed" in ended and "ConnectionError: no images today" in ended
        assert len(hadnas.open_study("tiny", tmp_path).refused) == 3 * (run_before + 1)
    BROKEN[0] = False
    assert hadnas.run_study(chosen, home, device="cpu", evaluate=fails_while_broken).done == 1
    assert not tally.all_failed(1, ["late"] * 3) and not tally.all_failed(0, ["late"] * 2)


def test_what_is_scored_are_the_weights_that_are_stored() -> None:
    data = load_data("digits")
    module = hadnas.build(hadnas.sample(ONE, task := hadnas.Task.image(1, 8, 8, classes=10)), task)

    def replaces(module: nn.Module, data: Data, until: int, report: Any) -> None:
        module.forward = lambda x: torch.zeros(len(x), 10)  # type: ignore[method-assign]

    how: dict[str, Any] = {"seed": 0, "device": "cpu", "on_epoch": print}
    found = OwnTraining(replaces).fit(module, data, hadnas.Recipe(epochs=1), **how)
    assert found.score.outputs.std() > 0


def test_bad_input_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(hadnas.HadnasError, match=r"rungs = \[1\]"):
        hadnas.run_study(study(rungs=(1,), recipe=hadnas.Recipe(epochs=2)), hadnas.Home(tmp_path), evaluate=train)
    with pytest.raises(hadnas.HadnasError, match="allowed is a function of a file"):
        hadnas.run_study(study(), hadnas.Home(tmp_path), evaluate=len)  # type: ignore[arg-type]


def test_the_command_names_the_function_by_file_and_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def train(module, data, until, report):\n    return {'accuracy': 0.625}\nCOUNT = 3\n")
    for text, fact in (
        ("mine.py", "FILE:FUNCTION"),
        (f"{file}:COUNT", "'COUNT' (known: train)"),
        (f"{file}:trian", "unknown function 'trian'; did you mean 'train'"),
    ):
        refused = run("search", "digits", "--evaluate", text, "--home", tmp_path / "home")
        assert refused.exit_code == 2 and fact in refused.output
    done = run(
        "search", "digits", "--evaluate", f"{file}:train", "--home", tmp_path / "home", "--trials", 1, "--no-baselines"
    )
    assert done.exit_code == 0, done.output
    assert "0.6250" in run("top", "digits", "--home", tmp_path / "home").output
