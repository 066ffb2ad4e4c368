"""One evaluation on plain values: what is refused and with what, in which order, and what is asked of the report."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from hadnas.arch.task import Task
from hadnas.blocks.registry import block
from hadnas.errors import LostClaim, MachineError, StudyError, TrainingError
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.measure.screen import Screen, screen
from hadnas.search.evaluate import SCREENED, evaluate, overruns
from hadnas.search.job import Job, Outcome
from hadnas.space import op
from hadnas.store.records import Costs, CurvePoint, StoredLatency, Training, TrainingKey
from hadnas.train.data.spec import Data, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Epoch, Fit
from tests.networks import pyramid, residual
from tests.pictures import npz

TASK = Task.image(1, 8, 8, classes=10)
PLAN = make_plan(pyramid((8, [residual(op("mlp", expand=1))])), TASK)
COSTS = Costs.of(cost(build_plan(PLAN, device="meta"), TASK.shape))
TAKEN = {"median_ms": 2.0, "p90_ms": 2.5, "ratio": 0.5, "ratio_iqr": 0.01, "n": 9, "noisy": False}
KEY = TrainingKey(PLAN.arch.fingerprint, str(TASK), "d", "r", 1, 0, "c")


def training(state: Any = "complete", reason: str | None = None) -> Training:
    known: dict[str, Any] = {"metrics": {"accuracy": 0.75}, "val_loss": 0.5, "val_n": 24, "seconds": 3.0}
    figures = known if state == "complete" else {**dict.fromkeys(known), "metrics": {}}
    return Training(KEY, "s", state, reason, 1, "w", "h", {}, 0.0, 0.0, 1.0, **figures, weights="w", weights_sha256="")


class Noted:
    """A report that writes down what it is asked; `known`: what it knows of the training, each time it is asked."""

    def __init__(self, *known: Training | None, on_epoch: Exception | None = None, stop: int = 0) -> None:
        self.known, self.on_epoch, self.stop = list(known or (training(),)), on_epoch, stop
        self.asked: list[str] = []

    def time(self, fresh: Callable[[], nn.Module]) -> StoredLatency:
        self.asked.append("time")
        return StoredLatency({"device": "cpu"}, TAKEN, "h", 0.0)

    def measured(self, outcome: Outcome) -> None:
        self.asked.append(f"measured {outcome.reason}".strip())

    def training(self) -> Training | None:
        self.asked.append("training")
        return self.known.pop(0)

    def epoch(self, epoch: Epoch) -> None:
        self.asked.append(f"epoch {epoch.epoch}")
        if self.on_epoch is not None:
            raise self.on_epoch

    def stops(self, curve: Sequence[Epoch]) -> str:
        self.asked.append(f"stops {len(curve)}")
        return "no better" if len(curve) == self.stop else ""

    def stopped(self, reason: str) -> Training:
        self.asked.append(f"stopped {reason}")
        points = tuple(CurvePoint(1, epoch, 1.0, 1.0, 0.5, 1.0, 0.0) for epoch in range(1, self.stop + 1))
        return replace(training("stopped", reason), curve=points)

    def trained(self, module: nn.Module, result: Fit) -> Training:
        self.asked.append("trained")
        return training()

    def failed(self, reason: str, *, again: bool) -> None:
        self.asked.append(f"failed {reason} {again}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """120 digits, of which 76 are trained on."""
    return load_data(npz(tmp_path_factory.mktemp("digits")))


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    known = {"arch": PLAN.arch, "task": TASK, "recipe": Recipe(epochs=1, batch=64), "seed": 0, "device": "cpu"}
    return lambda **changes: Job(**{**known, "checkpoint": tmp_path / "training.pt", **changes})


def test_phases_come_in_their_order_and_a_training_that_is_known_is_taken(data: Data, job: Callable[..., Job]) -> None:
    report = Noted()
    found = evaluate(job(latency="eager"), report, data, PLAN)
    assert list(found.phases) == ["cost", "screen", "latency", "track"]
    assert report.asked == ["time", "measured", "training"]
    assert found.reused and found.reason == "" and found.broken == {} and found.counted is not None
    assert found.figures["macs"] == COSTS.macs and found.figures["flops"] == 2 * COSTS.macs
    assert (found.figures["latency_ms"], found.figures["latency_ratio"]) == (2.0, 0.5)
    assert (found.figures["val/accuracy"], found.figures["val/loss"]) == (0.75, 0.5)
    assert (found.notes["val_n"], found.notes["weights"], found.notes["train_seconds"]) == (24, "w", 3.0)


def test_what_is_known_or_not_asked_for_is_not_done(data: Data, job: Callable[..., Job]) -> None:
    report = Noted()
    found = evaluate(job(costs=COSTS, screened=False), report, data)  # without a plan, too
    assert list(found.phases) == ["cost", "track"] and found.counted is None
    assert report.asked == ["measured", "training"] and found.figures["macs"] == COSTS.macs
    assert "latency_ms" not in found.figures


def test_a_new_training_is_reported_as_it_goes(data: Data, job: Callable[..., Job]) -> None:
    report = Noted(None)
    found = evaluate(job(screened=False), report, data, PLAN)
    assert report.asked == ["measured", "training", "epoch 1", "trained"] and not found.reused
    assert list(found.phases) == ["cost", "track", "train", "record"] and found.figures["val/accuracy"] == 0.75


@pytest.mark.parametrize("figure", ["macs", "latency_ms"])
@pytest.mark.parametrize("over", [0, 1])
def test_a_figure_may_reach_its_limit_and_not_pass_it(
    figure: str, over: int, data: Data, job: Callable[..., Job]
) -> None:
    value = {"macs": float(COSTS.macs), "latency_ms": 2.0}[figure]
    limits = {"params": 1e9, figure: value / (1 + over)}
    report = Noted()
    found = evaluate(job(latency="eager", constraints=limits), report, data, PLAN)
    timed = ["time"] if figure == "latency_ms" or not over else []
    if over:
        reason = f"{figure} = {value:.6g} is above the limit {value / 2:.6g}"
        assert found.reason == reason and found.broken[figure] == 1.0 and found.broken["params"] < 0
        assert report.asked == [*timed, f"measured {reason}"]
        assert "val/accuracy" not in found.figures and ("screen" in found.phases) == (figure == "latency_ms")
    else:
        assert report.asked == [*timed, "measured", "training"] and found.broken == {}


def test_constraints_are_told_by_how_much_and_of_known_figures_only() -> None:
    assert overruns({"macs": 50.0, "latency_ms": 1.0}, {"macs": 75.0, "params": 9.0}) == {"macs": 0.5}


def test_a_training_that_failed_is_refused_for_its_reason(data: Data, job: Callable[..., Job]) -> None:
    for failed, reason in (
        (training("failed", "loss is nan"), "loss is nan"),
        (training("interrupted"), "its training is interrupted"),
    ):
        found = evaluate(job(screened=False, costs=COSTS), Noted(failed), data, PLAN)
        assert (found.reason, found.broken) == (reason, {"trains": 1.0}) and "val/accuracy" not in found.figures


@pytest.mark.parametrize(
    ("error", "reason", "again"),
    [
        (TrainingError("diverged"), "diverged", False),
        (MachineError("out of memory"), "out of memory", True),
        (KeyError("x"), "KeyError: 'x'", False),
    ],
)
def test_a_training_that_fails_is_told_whether_it_may_be_tried_again(
    error: Exception, reason: str, again: bool, data: Data, job: Callable[..., Job]
) -> None:
    report, asked = Noted(None, on_epoch=error), job(screened=False, costs=COSTS)
    found = evaluate(asked, report, data, PLAN)
    assert report.asked[-1] == f"failed {reason} {again}" and found.training is None
    assert asked.checkpoint.exists() == again  # to go on from
    assert (found.reason, found.broken) == (reason, {"trains": 1.0})


def test_what_is_not_the_candidates_fault_is_raised(data: Data, job: Callable[..., Job]) -> None:
    report, asked = Noted(None, on_epoch=StudyError("the disk is full")), job(screened=False, costs=COSTS)
    with pytest.raises(StudyError):
        evaluate(asked, report, data, PLAN)
    assert report.asked[-1] == "epoch 1" and asked.checkpoint.exists()  # the training did not fail


def test_a_training_that_another_worker_took_over_is_waited_for(data: Data, job: Callable[..., Job]) -> None:
    report = Noted(None, training(), on_epoch=LostClaim("taken over"))
    found = evaluate(job(screened=False, costs=COSTS), report, data, PLAN)
    assert report.asked == ["measured", "training", "epoch 1", "training"]
    assert found.reused and found.reason == "" and found.figures["val/accuracy"] == 0.75


def test_a_rung_stops_a_training_that_continues_from_there(data: Data, job: Callable[..., Job]) -> None:
    """What is known of it before the training stays; the rung is asked again, and earlier ones are passed."""
    asked = job(screened=False, costs=COSTS, recipe=Recipe(epochs=4, batch=64), rungs=(1, 2))
    report = Noted(None, stop=2)
    found = evaluate(asked, report, data, PLAN)
    start = ["measured", "training", "epoch 1"]
    assert report.asked == [*start, "stops 1", "epoch 2", "stops 2", "stopped no better"]
    assert (found.reason, found.rung, found.broken, found.reused) == ("no better", 2, {}, False)
    assert found.figures["macs"] == COSTS.macs and "val/accuracy" not in found.figures and "weights" not in found.notes
    again = Noted(None, stop=2)
    assert evaluate(asked, again, data, PLAN).rung == 2 and asked.checkpoint.exists()
    assert again.asked == [*start, "epoch 2", "stops 2", "stopped no better"]
    unstopped = Noted(None)
    found = evaluate(replace(asked, rungs=()), unstopped, data, PLAN)
    assert unstopped.asked == [*start, "epoch 2", "epoch 3", "epoch 4", "trained"]
    assert found.rung is None and found.reason == "" and not asked.checkpoint.exists()


class Faulty(nn.Module):
    """Not finite, or not to be counted."""

    def __init__(self, dim: int, *, counted: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.map, self.counted = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype), counted

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x) * (float("inf") if self.counted else x.sum().item())


@pytest.mark.usefixtures("own_registry")
def test_a_faulty_candidate_is_refused_before_it_is_trained_and_reported_once(
    data: Data, job: Callable[..., Job]
) -> None:
    block(family="hadamard")(Faulty)
    for counted, starts in ((True, "screen: "), (False, "stages.0.blocks.0")):
        plan = make_plan(pyramid((8, [op("faulty", counted=counted)])), TASK)
        report = Noted()
        found = evaluate(job(arch=plan.arch, latency="eager"), report, data, plan)
        assert starts in found.reason and found.broken == {"trains": 1.0}
        assert report.asked == [f"measured {found.reason}"] and ("macs" in found.figures) == counted


class Leaving(nn.Module):
    """Calls sys.exit where it is screened, or where it is trained."""

    def __init__(self, dim: int, *, batch: int = 64, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.map, self.batch = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype), batch

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == self.batch and self.training:
            sys.exit(3)
        return self.map(x)


@pytest.mark.usefixtures("own_registry")
def test_a_candidate_that_calls_sys_exit_is_refused(data: Data, job: Callable[..., Job]) -> None:
    block(family="hadamard")(Leaving)
    for batch, asked in (
        (SCREENED, ["measured SystemExit: 3"]),
        (64, ["measured", "training", "failed SystemExit: 3 False"]),
    ):
        plan = make_plan(pyramid((8, [op("leaving", batch=batch)])), TASK)
        report = Noted(None)
        found = evaluate(job(arch=plan.arch), report, data, plan)
        assert (found.reason, found.broken, report.asked) == ("SystemExit: 3", {"trains": 1.0}, asked)


def test_a_screen_takes_no_more_images_than_a_batch(
    data: Data, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noted(network: nn.Module, inputs: Any, labels: Tensor, **options: Any) -> Screen:
        seen.append(len(inputs[0]))
        return screen(network, inputs, labels, **options)

    monkeypatch.setattr("hadnas.search.evaluate.screen", noted)
    for batch in (64, 16):
        evaluate(job(recipe=Recipe(epochs=1, batch=batch), costs=COSTS), Noted(), data, PLAN)
    assert seen == [32, 16]
