"""Fine-tuning: frozen layers stay as they are, new parts learn faster, and a parent's logits are part of the loss."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from hadnas.arch.task import Task
from hadnas.errors import HadnasError, SpecError, UnknownName
from hadnas.hosts.build import build_plan, build_seeded, save_weights
from hadnas.hosts.host import Plan, make_plan
from hadnas.search.evaluate import start_of
from hadnas.space import op
from hadnas.train.checkpoint import load_checkpoint, save_checkpoint
from hadnas.train.data.images import Split
from hadnas.train.data.spec import Data, load_data
from hadnas.train.optimizer import make_optimizer
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Trainer, fit
from hadnas.train.tuning.distillation import Distillation
from hadnas.train.tuning.start import Start

DIGITS = Task.image(1, 8, 8, classes=10)
SITES: dict[str, Any] = {
    "layer1.0": op("input_product"),
    "layer2.0.conv2": op("gate", block=op("se", reduction=4)),
    "layer3.0.act1": op("act", act="gelu"),
    "layer4.0.conv2": op("second_order"),
    "conv1.0": op("second_order"),
}


@pytest.fixture(scope="module")
def data() -> Data:
    """90 digits to train on, and 60 to be scored on."""
    digits = load_data("digits")
    train, val = (
        Split(split.images.subset(np.arange(n)), split.normalise) for split, n in ((digits.train, 90), (digits.val, 60))
    )
    return dataclasses.replace(digits, train=train, val=val)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Path:
    """Weights of a parent for the digits, without the zeros of the start, and with logits of standard deviation 3."""
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1)
                module.momentum = None  # the averages are then those of the one batch
        (images,), _ = next(data.train.batches(90))
        network.train()(images)
        network.fc.weight.mul_(3 / network.eval()(images).std())
    path = tmp_path_factory.mktemp("parent") / "parent.safetensors"
    save_weights(network, path, tuple(map(str, range(10))))
    return path


def plan_of(weights: Path | None, sites: dict[str, Any] = SITES, task: Task = DIGITS) -> Plan:
    named = {} if weights is None else {"weights": str(weights)}
    return make_plan(op("timm", model="test_resnet", sites=sites, **named), task)


def trainer_of(plan: Plan, recipe: Recipe, data: Data) -> Trainer:
    module = build_seeded(plan, 0)
    return Trainer(module, data, recipe, seed=0, start=start_of(plan, recipe, data.class_names))


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("classes", [10, 7])
def test_origins_are_the_parameters_with_weights_of_the_parent(weights: Path, classes: int) -> None:
    task = Task.image(1, 8, 8, classes=classes)
    plan, parent = plan_of(weights, task=task), load_file(weights)
    network, origins = build_seeded(plan, 0), plan_of(weights, task=task).host.origins(plan)
    own = dict(network.named_parameters())
    assert all(torch.equal(own[name], parent[origin]) for name, origin in origins.items())
    replaced = {name for name in parent if name.startswith("fc")} if classes == 7 else set()
    known = {name for name, _ in timm.create_model("test_resnet", in_chans=1).named_parameters()}
    assert set(origins.values()) == known - replaced
    assert {"layer1.0.parent.conv1.weight", "conv1.0.parent.weight"} <= set(origins)
    assert {"layer1.0.alpha", "layer2.0.conv2.block.se.fc1.weight", "conv1.0.a.0.weight"} <= set(own) - set(origins)
    assert plan_of(None).host.origins(plan_of(None)) == {}


def test_frozen_layers_and_their_averages_stay_and_grafts_in_them_learn(weights: Path, data: Data) -> None:
    recipe = Recipe(epochs=1, freeze="layer2", weight_decay=0.5)
    plan = plan_of(weights)
    trainer = trainer_of(plan, recipe, data)
    before = {key: value.clone() for key, value in trainer.module.state_dict().items()}
    list(trainer.train(1))
    moved = changed(before, trainer.module)
    first = ("conv1.", "bn1.", "layer1.", "layer2.")
    new = {"layer1.0.alpha", "layer2.0.conv2.alpha", "conv1.0.alpha"}
    assert new <= moved
    assert not {key for key in moved if key.startswith(first) and ("parent." in key or key.startswith("bn1"))}
    later = {key for key in before if key.startswith(("layer3", "layer4", "fc"))}
    assert {key for key in later if key.endswith(("weight", "running_mean"))} <= moved | {"layer4.0.conv2.a.1.weight"}
    assert all(parameter.requires_grad for parameter in trainer.module.parameters())  # free for another training
    free = trainer_of(plan, Recipe(epochs=1), data)
    list(free.train(1))
    assert "layer1.0.parent.bn1.running_mean" in changed(before, free.module)


def test_new_parameters_have_their_own_rate_at_every_step(weights: Path, data: Data) -> None:
    recipe = Recipe(epochs=3, lr=0.01, batch=30, new_rate=5, layer_decay=0.5)
    trainer = trainer_of(plan_of(weights), recipe, data)
    names = {id(parameter): name for name, parameter in trainer.module.named_parameters()}

    def rates() -> dict[str, float]:
        return {names[id(p)]: group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}

    for epoch in range(3):
        now = rates()
        assert set(now) == set(names.values())
        assert now["layer4.0.conv2.a.0.weight"] == pytest.approx(5 * now["layer4.0.conv2.parent.weight"])
        assert now["layer4.0.conv2.alpha"] == pytest.approx(5 * now["layer4.0.conv1.weight"])
        next(iter(trainer.train(epoch + 1)))
    assert max(rates().values()) < 0.01


def test_layers_around_which_something_stands_have_the_rates_that_they_have_in_the_parent(tmp_path: Path) -> None:
    task, recipe = Task.image(3, 32, 32, classes=5), Recipe(layer_decay=0.5)
    save_weights(timm.create_model("test_convnext", num_classes=5), tmp_path / "convnext.safetensors")
    rates = []
    for sites in ({}, {"stages.2.blocks": op("input_product"), "stages.1.blocks.1": op("gate", block=op("se"))}):
        weights = str(tmp_path / "convnext.safetensors")
        plan = make_plan(op("timm", model="test_convnext", weights=weights, sites=sites), task)
        module, origins = build_plan(plan, device="meta"), start_of(plan, recipe, ()).origins
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        groups = make_optimizer(module, recipe, origins).param_groups
        of = {origins.get(names[id(p)]): (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
        rates.append({name: rate for name, rate in of.items() if name is not None})
    assert rates[0] == rates[1] and len({scale for scale, _ in rates[0].values()}) > 5


def test_distillation_computes_its_formula_and_needs_no_gradient_of_the_teacher() -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, 3)).double()
    images, logits = torch.randn(5, 1, 2, 3).double(), torch.randn(5, 3, requires_grad=True)
    loss = Distillation(teacher, 0.3, 2.0)(torch.tensor(1.5), (images,), logits)
    t = teacher.eval()(images).float()
    p, q = torch.softmax(t / 2, 1), torch.softmax(logits / 2, 1)
    expected = 0.7 * 1.5 + 0.3 * 4 * (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(loss, expected, rtol=0, atol=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and not any(parameter.requires_grad for parameter in teacher.parameters())
    same = Distillation(teacher, 1.0, 3.0)(torch.tensor(9.0), (images,), t)
    assert float(same) == pytest.approx(0, abs=1e-6)


def test_a_network_learns_from_the_logits_of_its_parent(weights: Path, data: Data) -> None:
    """With the whole loss from a parent that knows nothing of the digits, a network comes near the parent, not them."""
    plan = plan_of(weights, {"layer2.0.conv2": op("star", expand=1)})
    parent = plan.host.teacher(plan, data.class_names).eval()
    (images,), _ = next(data.val.batches(60))

    def far(module: nn.Module) -> float:
        with torch.no_grad():
            apart: Tensor = module.eval()(images) - parent(images)
        return float((apart - apart.mean(1, keepdim=True)).square().mean())

    start = far(build_seeded(plan, 0))
    found = {}
    for share in (None, 1.0):
        trainer = trainer_of(plan, Recipe(epochs=12, distill=share, batch=30), data)
        list(trainer.train(12))
        found[share] = far(trainer.module)
    assert found[1.0] < 0.8 * start < start < found[None], (found, start)


def test_a_tuned_training_goes_on_from_its_file(weights: Path, data: Data, tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, freeze="layer1", new_rate=3, distill=0.5, temperature=2, ema=0.9)
    whole = trainer_of(plan_of(weights), recipe, data)
    list(whole.train(3))
    first = trainer_of(plan_of(weights), recipe, data)
    list(first.train(1))
    save_checkpoint(first.state(), tmp_path / "state")
    second = trainer_of(plan_of(weights), recipe, data)
    second.load(load_checkpoint(tmp_path / "state"))
    list(second.train(3))
    assert not changed(whole.module.state_dict(), second.module)
    with pytest.raises(SpecError, match=r"recipe.freeze is 'layer1'.*'layer2'"):
        trainer_of(plan_of(weights), recipe.model_copy(update={"freeze": "layer2"}), data).load(first.state())


def test_settings_of_weights_are_in_a_training_key_and_absent_if_unset() -> None:
    tuned = Recipe(freeze="layer2", new_rate=10, distill=0.5, temperature=2)
    stored = json.loads(tuned.model_dump_json())
    assert {key: stored[key] for key in ("freeze", "new_rate", "distill", "temperature")} == {
        "freeze": "layer2", "new_rate": 10.0, "distill": 0.5, "temperature": 2.0,
    }  # fmt: skip
    assert not {"freeze", "new_rate", "distill", "temperature"} & set(Recipe().model_dump())
    assert Recipe.model_validate(stored) == tuned


WRONG: dict[str, tuple[dict[str, Any], bool, str, type[HadnasError]]] = {
    "freeze without weights": ({"freeze": "layer1"}, False, "freeze = 'layer1'.*starts from no weights", SpecError),
    "new_rate without weights": ({"new_rate": 2}, False, r"new_rate = 2\.0.*starts from no weights", SpecError),
    "distill without weights": ({"distill": 0.5}, False, r"distill = 0\.5.*starts from no weights", SpecError),
    "an unknown layer": ({"freeze": "layer9"}, True, "'layer9'.*'layer[14]'", UnknownName),
    "the last layer": ({"freeze": "fc"}, True, "freeze = 'fc'.*last layer", SpecError),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_recipe_that_does_not_fit_the_start_is_refused(name: str, weights: Path, data: Data) -> None:
    settings, started, text, kind = WRONG[name]
    with pytest.raises(kind, match=text):
        trainer_of(plan_of(weights if started else None), Recipe(**settings), data)


def test_a_parent_of_other_classes_teaches_nothing(weights: Path, data: Data) -> None:
    recipe = Recipe(distill=0.5)
    other = dataclasses.replace(data, class_names=("zero", *data.class_names[1:]))
    with pytest.raises(SpecError, match=r"class 0 is '0', not 'zero'.*retrain timm:test_resnet"):
        trainer_of(plan_of(weights), recipe, other)
    seven = plan_of(weights, task=Task.image(1, 8, 8, classes=7))
    with pytest.raises(SpecError, match=r"10 classes, not the 7"):
        start_of(seven, recipe, ()).distillation(recipe, torch.device("cpu"))
    start = Start("mine", {name: name for name, _ in build_plan(seven).named_parameters()})
    with pytest.raises(SpecError, match=r"mine.*no parent"):
        start.check(build_plan(seven), recipe, "classes")
    with pytest.raises(SpecError, match=r"distill.*values"):
        dataclasses.replace(start, teacher=nn.Identity).check(build_plan(seven), recipe, "values")
    with pytest.raises(SpecError, match=r"freeze.*mine.*group"):
        start = Start("mine", {"0.weight": "0.weight"})
        fit(nn.Sequential(nn.Linear(2, 2)), data, Recipe(freeze="0"), seed=0, start=start)


@pytest.mark.parametrize("bad", [{"new_rate": 0}, {"freeze": ""}, {"distill": 1.5}, {"distill": 0}, {"temperature": 0}])
def test_values_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(bad))):
        Recipe.model_validate(bad)
    with pytest.raises(ValidationError, match=r"temperature = 2\.0.*without distill"):
        Recipe(temperature=2)
