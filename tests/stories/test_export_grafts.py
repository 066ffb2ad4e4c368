"""Exported grafts are networks of timm: by name, as features, with other classes; the parent's interface stays."""

from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch

import hadnas
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import SpecError
from hadnas.space import op
from tests.stories.test_export_timm import imported, write

TASK = Task.image(3, 64, 64, classes=10)
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
PARENTS = {
    "test_resnet": {
        "layer1.0": op("input_product"),
        "conv1.3": op("second_order"),
        "layer3.0.conv2": op("second_order"),
    },
    "test_vit": {"kind:mlp": op("input_product"), "blocks.{1,3}.attn": op("glu", expand=1), "blocks.5": "drop"},
    "test_convnext": {"stages.2.blocks": op("input_product"), "stages.0.blocks.0": op("star", expand=2)},
}


@pytest.fixture(scope="module", params=PARENTS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, str]]:
    """An architecture, its exported module, and the name of its parent."""
    arch = complete(op("timm", model=request.param, sites=PARENTS[request.param]), TASK)
    with imported(write(arch, TASK, tmp_path_factory.mktemp("exported") / request.param)) as module:
        yield arch, module, request.param


@torch.no_grad()
def test_timm_makes_an_exported_graft_by_its_name(written: tuple[Any, Any, str]) -> None:
    arch, module, _ = written
    name = f"hadnas_{arch.fingerprint}"
    network = timm.create_model(name, pretrained=True).eval()
    logits = network(IMAGES)
    assert torch.equal(module.build_model(pretrained=True).eval()(IMAGES), logits)
    assert network.pretrained_cfg["architecture"] == name and network.pretrained_cfg["input_size"] == (3, 64, 64)
    assert network.get_classifier() is network.get_submodule(network.pretrained_cfg["classifier"])
    assert f"{network.pretrained_cfg['first_conv']}.weight" in network.state_dict()

    features = timm.create_model(name, features_only=True, pretrained=True).eval()
    assert type(features).__name__ == "FeatureGetterNet"
    assert [x.shape[1] for x in features(IMAGES)] == features.feature_info.channels()
    own = hadnas.build(arch, TASK, features_only=True)
    assert own.feature_info.channels() == features.feature_info.channels()
    with pytest.raises(SpecError, match=r"drop_rate.*features_only"):
        hadnas.build(arch, TASK, drop_rate=0.1)

    few = timm.create_model(name, pretrained=True, num_classes=3).eval()
    assert few(IMAGES).shape == (2, 3) and few.num_classes == 3
    same = [key for key, value in few.state_dict().items() if torch.equal(value, network.state_dict()[key])]
    assert set(network.state_dict()) - set(same) == {
        f"{network.pretrained_cfg['classifier']}.{p}" for p in ("weight", "bias")
    }


@torch.no_grad()
def test_an_exported_graft_has_the_interface_of_its_parent(written: tuple[Any, Any, str]) -> None:
    _, module, model = written
    network, parent = (
        module.build_model(pretrained=True).eval(),
        timm.create_model(model, num_classes=10, **({"img_size": 64} if model == "test_vit" else {})).eval(),
    )
    found, expected = network.forward_features(IMAGES), parent.forward_features(IMAGES)
    assert found.shape == expected.shape
    final, maps = network.forward_intermediates(IMAGES, indices=2)
    assert torch.equal(final, found) and len(maps) == 2
    assert [x.shape for x in maps] == [x.shape for x in parent.forward_intermediates(IMAGES, indices=2)[1]]
    before = network.forward_head(found, pre_logits=True)
    network.reset_classifier(0)
    assert torch.equal(network(IMAGES), before)
    network.reset_classifier(4)
    assert network(IMAGES).shape == (2, 4)
    assert network.group_matcher().keys() == parent.group_matcher().keys()
