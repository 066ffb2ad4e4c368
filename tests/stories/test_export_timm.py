"""Exported four-stage networks as timm tests its own: by name, as features, without head, for other images."""

import importlib.util
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import DropPath
from timm.models import FeatureInfo
from torch import Tensor

import hadnas
from hadnas.arch.node import Arch
from hadnas.arch.random import sample
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.hosts.build import build
from hadnas.hosts.host import make_plan
from hadnas.search_spaces import activation_free, four_families, mixers_in_cells
from hadnas.source.module import plan_source
from hadnas.space import op
from tests.networks import pyramid, residual

pytestmark = pytest.mark.slow

TASK = Task.image(3, 64, 64, classes=10)
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def deeper(space: dict[str, Any]) -> dict[str, Any]:
    """A shipped space with as many further stages like its last one as four need."""
    stages = space["stages"]
    return {**space, "stages": stages + [{**stages[-1], "dim": 40}] * (4 - len(stages))}


ARCHS = {
    **{f"four_families-{seed}": sample(deeper(four_families.SPACE), TASK, seed=seed) for seed in range(3)},
    "activation_free": sample(deeper(activation_free.SPACE), TASK, seed=0),
    "cells": sample(deeper(mixers_in_cells.SPACE), TASK, seed=2),
    "starnet_s050": complete(hadnas.load("starnet_s050").node, TASK),
}


@contextmanager
def imported(path: Path) -> Iterator[Any]:
    """An exported file, run as its own module, where hadnas is not to be imported."""
    spec = importlib.util.spec_from_file_location(f"exported_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    assert not [x for x in vars(module).values() if str(getattr(x, "__module__", "")).startswith("hadnas")]
    yield module
    del sys.modules[spec.name]


def write(arch: Arch, task: Task, folder: Path) -> Path:
    """`model.py` with weights beside it that are nowhere zero."""
    folder.mkdir()
    (folder / "model.py").write_text(plan_source(make_plan(arch, task), {}))
    torch.manual_seed(1)
    state = build(arch, task).state_dict()
    noise = {key: 0.02 * torch.rand_like(value) if value.is_floating_point() else 0 for key, value in state.items()}
    save_file({key: value + noise[key] for key, value in state.items()}, folder / "model.safetensors")
    return folder / "model.py"


@pytest.fixture(scope="module", params=ARCHS)
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name under which timm knows an exported network with four stages."""
    arch = ARCHS[request.param]
    folder = tmp_path_factory.mktemp("exported") / request.param.replace("-", "_")
    with imported(write(arch, TASK, folder)):
        assert timm.is_model(f"hadnas_{arch.fingerprint}")
        yield f"hadnas_{arch.fingerprint}"


@torch.no_grad()
def test_forward_with_and_without_checkpoints(name: str) -> None:
    model = timm.create_model(name, pretrained=True).eval()
    logits = model(IMAGES)
    assert logits.shape == (2, 10) and logits.isfinite().all()
    model.set_grad_checkpointing()
    assert torch.allclose(model(IMAGES), logits, rtol=1e-4, atol=1e-5)


def test_backward_reaches_every_parameter(name: str) -> None:
    model = timm.create_model(name, num_classes=42).train()
    out = model(IMAGES)
    assert out.shape == (2, 42)
    out.mean().backward()
    assert not [key for key, parameter in model.named_parameters() if parameter.grad is None]
    groups = model.group_matcher()
    assert set(groups) == {"stem", "blocks"} and set(model.group_matcher(coarse=True)) == {"stem", "blocks"}
    assert model.no_weight_decay() <= {key for key, _ in model.named_parameters()}


@torch.no_grad()
def test_configuration_names_what_is_there(name: str) -> None:
    """Features unpooled, pooled, before the classifier; the classifier taken off afterwards and from the beginning."""
    model = timm.create_model(name).eval()
    config = model.default_cfg
    features = model.forward_features(IMAGES)
    assert features.shape == (2, model.num_features, *config["pool_size"]) and model.num_features > 0
    before = model.forward_head(features, pre_logits=True)
    assert before.shape == (2, model.head_hidden_size)
    assert {f"{config[key]}.weight" for key in ("first_conv", "classifier")} <= set(model.state_dict())
    assert model.get_classifier() is model.get_submodule(config["classifier"])
    assert torch.equal(model.get_classifier()(before), model(IMAGES))
    model.reset_classifier(0)
    assert model.num_classes == 0 and torch.equal(model(IMAGES), before)
    model.reset_classifier(0, "")
    assert model(IMAGES).shape == (2, model.head_hidden_size, *config["pool_size"])
    model.reset_classifier(7, "avg")
    assert model(IMAGES).shape == (2, 7) and model.num_classes == 7
    bare = timm.create_model(name, num_classes=0, global_pool="").eval()
    assert bare(IMAGES).ndim == 4 and bare(IMAGES).shape[2:] == tuple(config["pool_size"])


def check_maps(maps: list[Tensor], channels: list[int], reductions: list[int]) -> None:
    assert len(maps) == len(channels) == len(reductions)
    for found, width, reduction in zip(maps, channels, reductions, strict=True):
        assert found.shape[:2] == (2, width) and found.isfinite().all()
        assert max(found.shape[2:]) <= math.ceil(64 / reduction) + 1


@torch.no_grad()
@pytest.mark.parametrize("kind", [None, "getter"])
def test_features(name: str, kind: str | None) -> None:
    chosen = {} if kind is None else {"feature_cls": kind}
    model = timm.create_model(name, pretrained=True, features_only=True, **chosen).eval()
    assert len(model.feature_info.channels()) == 4
    check_maps(model(IMAGES), model.feature_info.channels(), model.feature_info.reduction())
    two = timm.create_model(name, pretrained=True, features_only=True, out_indices=(1, 3), **chosen).eval()
    assert two.feature_info.channels() == model.feature_info.channels()[1::2]
    assert all(torch.equal(one, other) for one, other in zip(two(IMAGES), model(IMAGES)[1::2], strict=True))


@torch.no_grad()
def test_forward_intermediates(name: str) -> None:
    model = timm.create_model(name, pretrained=True).eval()
    info = FeatureInfo(model.feature_info, 4)
    final, maps = model.forward_intermediates(IMAGES, output_fmt="NCHW")
    check_maps(maps, info.channels(), info.reduction())
    assert torch.allclose(final, model.forward_features(IMAGES))
    last = model.forward_intermediates(IMAGES, indices=2, norm=True, intermediates_only=True)
    assert torch.equal(last[0], maps[2]) and torch.allclose(last[1], final)
    stopped, few = model.forward_intermediates(IMAGES, indices=[0, 1], stop_early=True)
    assert torch.equal(few[1], maps[1]) and torch.equal(stopped, maps[1])
    with pytest.raises(ValueError, match="NCHW"):
        model.forward_intermediates(IMAGES, output_fmt="NLC")
    model.set_grad_checkpointing()
    assert torch.allclose(model.forward_intermediates(IMAGES)[0], final, rtol=1e-4, atol=1e-5)
    assert model.prune_intermediate_layers([1]) == [1]
    assert torch.equal(model(IMAGES), maps[1])


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_and_classes(name: str, channels: int) -> None:
    """Pretrained, so that the stem's weights are adapted; the sum of the channels is then what one channel gets."""
    model = timm.create_model(name, pretrained=True, in_chans=channels, num_classes=5).eval()
    assert model(torch.randn(2, channels, 64, 64)).shape == (2, 5)
    grey = IMAGES[:, :1].double()
    whole = timm.create_model(name, pretrained=True).eval()
    if channels == 1:
        found, expected = (
            net.double().forward_features(x) for net, x in ((model, grey), (whole, grey.repeat(1, 3, 1, 1)))
        )
        assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_what_the_training_script_of_timm_asks_for(name: str) -> None:
    """Its `train.py` hands over a rate of dropout with every model, and that of drop path where one is given."""
    asked = {"in_chans": 3, "num_classes": 6, "drop_rate": 0.0, "drop_path_rate": None, "drop_block_rate": None}
    rest: dict[str, Any] = {"global_pool": None, "bn_momentum": None, "bn_eps": None, "scriptable": False}
    model = timm.create_model(name, pretrained=False, checkpoint_path=None, **asked, **rest)
    assert timm.data.resolve_data_config({}, model=model)["input_size"] == (3, 64, 64)
    assert model.head.drop.p == 0.0
    dropping = timm.create_model(name, drop_rate=0.3, drop_path_rate=0.2)
    assert dropping.head.drop.p == 0.3
    rates = [part.drop_prob for part in dropping.modules() if isinstance(part, DropPath)]
    assert rates == sorted(rates) and rates[-1] == pytest.approx(0.2) and 0 not in rates
    assert list(dropping.state_dict()) == list(model.state_dict())
    overlaid = timm.create_model(name, pretrained_cfg_overlay={"mean": (0.1, 0.2, 0.3)})
    assert (overlaid.num_classes, overlaid.pretrained_cfg["mean"]) == (10, (0.1, 0.2, 0.3))


@torch.no_grad()
def test_images_of_two_channels(tmp_path: Path) -> None:
    task = Task.image(2, 16, 16, classes=3)
    arch = complete(pyramid((8, [residual(op("star"))])), task)
    with imported(write(arch, task, tmp_path / "two")) as module:
        model, images = module.build_model(pretrained=True).eval(), torch.randn(2, 2, 16, 16)
        network = build(arch, task)
        network.load_state_dict(model.state_dict())
        assert torch.equal(network.eval()(images), model(images))
