"""Images are normalised and sized as the weights expect that a network starts from; timm's weights have a tag."""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet

import hadnas
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import SpecError
from hadnas.hosts.build import save_weights
from hadnas.hosts.graft.weights import Expected, described, named_weights
from hadnas.search.proposals.defaults import images_as, images_of_weights
from hadnas.space import one_of, op
from hadnas.train.data.spec import DataSpec, load_data

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """Weights of test_resnet in a file of other origin."""
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), tmp_path / "plain.safetensors")
    return str(tmp_path / "plain.safetensors")


@pytest.fixture
def exported(tmp_path: Path) -> str:
    """Weights of test_resnet as hadnas exports them: with what is known of the images."""
    images = {"mean": MEAN, "std": STD, "shape": (3, 48, 48)}
    network = timm.create_model("test_resnet", num_classes=2)
    save_weights(network, tmp_path / "exported.safetensors", ("cat", "dog"), images)
    return str(tmp_path / "exported.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> str:
    for number in range(24):
        place = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (30 + number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    return str(tmp_path / "photos")


def space(weights: Any) -> dict[str, Any]:
    return hadnas.graft("test_resnet", "layer1.0", weights=weights)


def test_what_is_known_of_weights_is_that_of_their_training_else_that_of_timm(plain: str, exported: str) -> None:
    cfg = timm.get_pretrained_cfg("test_resnet")
    named = [named_weights("test_resnet", weights) for weights in (plain, exported)]
    assert described("test_resnet", str(named[0])) == (7, (), (cfg.mean, cfg.std, cfg.input_size))
    assert described("test_resnet", str(named[1])) == (2, ("cat", "dog"), (MEAN, STD, (3, 48, 48)))
    assert described("resnet18", "pretrained#a1_in1k").images.mean == timm.get_pretrained_cfg("resnet18.a1_in1k").mean


def test_files_have_the_size_and_all_images_the_moments_of_the_weights(
    plain: str, exported: str, photos: str, tmp_path: Path
) -> None:
    spec = DataSpec(source=photos)
    assert images_of_weights(spec, space(None)) == spec
    found = images_of_weights(spec, space(exported))
    assert (found.mean, found.std, found.size) == (MEAN, STD, 48)
    assert images_of_weights(spec, space(plain)).size == 160  # that of timm's configuration
    own = images_of_weights(DataSpec(source=photos, size=32, mean=(0.1,), std=(0.2,)), space(exported))
    assert (own.mean, own.std, own.size) == ((0.1,), (0.2,), 32)
    assert images_of_weights(DataSpec(source="digits"), space(exported)).size is None  # no files
    assert images_of_weights(spec, one_of(space(exported), space(plain))) == spec  # they differ
    several = op("timm", model="test_resnet", weights=one_of(None, exported), sites={})
    assert images_of_weights(spec, several) == found

    data, without = load_data(found), load_data(DataSpec(source=photos, size=48))
    assert data.shape == (3, 48, 48) and (data.mean, data.std) == (MEAN, STD)
    assert data.digest != without.digest and any("0.5, 0.4, 0.3" in note for note in data.notes)
    pixels, _ = data.train.images[0]
    (images,), _ = next(data.train.batches(1))
    expected = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.allclose(images[0], expected, rtol=0, atol=1e-5)


def test_grey_images_have_the_average_of_the_channels() -> None:
    wanted = Expected(MEAN, STD, (3, 48, 48))
    data, own = load_data(images_as(DataSpec(source="digits"), wanted)), load_data("digits")
    assert data.mean == pytest.approx((0.4,)) and data.std == pytest.approx((0.25,))
    assert data.digest != own.digest and own.digest == load_data(DataSpec(source="digits", mean=(), std=())).digest
    assert "mean" not in DataSpec(source="digits").model_dump()


@pytest.mark.parametrize("bad", [{"mean": (0.5,)}, {"mean": (0.5,), "std": (0,)}, {"mean": (1, 2), "std": (1,)}])
def test_moments_come_in_pairs(bad: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, SpecError), match="mean"):
        DataSpec(source="digits", **bad)


def tagged_resnet(pretrained: bool = False, **kwargs: Any) -> Any:
    """A network with weights of two tags, for the test below."""
    arguments = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), **kwargs}
    return build_model_with_cfg(ResNet, "tagged_resnet", pretrained, **arguments)


def test_the_tag_chooses_the_weights_and_a_later_default_is_another_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, fc = Task.image(3, 32, 32, classes=3), {}
    for tag in ("old", "new"):
        network = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=3, channels=(8, 8, 16, 16))
        save_file(network.state_dict(), tmp_path / f"{tag}.safetensors")
        fc[tag] = network.fc.weight
    archs = {}
    for first, second in (("old", "new"), ("new", "old")):
        tags = {tag: str(tmp_path / f"{tag}.safetensors") for tag in (first, second)}
        common = {"num_classes": 3, "input_size": (3, 32, 32), "first_conv": "conv1", "classifier": "fc"}
        known = {f"tagged_resnet.{tag}": {**common, "file": file} for tag, file in tags.items()}
        monkeypatch.setattr(sys.modules[__name__], "default_cfgs", generate_default_cfgs(known), raising=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Overwriting tagged_resnet", UserWarning)
            register_model(tagged_resnet)
        archs[first] = complete(op("timm", model="tagged_resnet", weights="pretrained"), task)
        for tag, arch in archs.items():
            assert arch.node["weights"] == f"pretrained#{tag}" and complete(arch.node, task) == arch
            assert torch.equal(hadnas.build(arch, task).get_parameter("fc.weight"), fc[tag])
    assert archs["old"].fingerprint != archs["new"].fingerprint


def test_timms_weights_are_named_with_their_tag() -> None:
    task = Task.image(3, 32, 32, classes=5)
    arch = complete(op("timm", model="resnet18", weights="pretrained"), task)
    assert arch.node["weights"] == f"pretrained#{timm.get_pretrained_cfg('resnet18').tag}"
    assert complete(arch.node, task) == arch
    other = complete(op("timm", model="resnet18.tv_in1k", weights="pretrained"), task)
    assert other.node["weights"] == "pretrained#tv_in1k"
    with pytest.raises(SpecError, match=r"resnet18.*'?tv_1k.*a1_in1k"):
        complete(op("timm", model="resnet18", weights="pretrained#tv_1k"), task)
