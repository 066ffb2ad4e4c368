"""Published networks are points of the space: exact parameters and MACs, and timm's logits after copying weights."""

import re
from itertools import groupby
from typing import Any

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

import hadnas
from docs.generate import DOCS, IMAGENET, published_row, published_task
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.hosts.build import build
from hadnas.library import shipped
from tests.networks import fvcore_counts

PAGE = DOCS / "published.md"

PARAMETERS = {
    "starnet_s050": 542_728,
    "starnet_s1": 2_869_168,
    "starnet_s4": 7_482_728,
    "focalnet_tiny_srf": 28_427_116,
    "convnext_atto": 3_695_520,
    "mambaout_femto": 7_304_536,
    "poolformerv2_s12": 11_891_712,
    "convformer_s18": 26_774_448,
}
"""Name -> number of parameters of timm's network of the same name."""

LATE = {"convnext_atto": ("gamma",), "focalnet_tiny_srf": ("modulation.h", "modulation.proj")}
"""What timm's network lists early and applies late: the other modules stand in the same order in both."""

FIGURES = {
    "hornet_tiny": (22.41e6, 3.98e9),
    "van_b0": (4.11e6, 0.87e9),
    "conv2former_n": (14.99e6, 2.33e9),
    "monet_tiny": (10.34e6, 2.81e9),
    "demonet_w192_d12": (4.46e6, 0.83e9),
}
"""Name -> published parameters and MACs, of networks that timm lacks; MONet's count the work of its norms too."""

EXACT = {
    "cpolynext_t": (6_431_752, 1_198_988_208),
    "apolynext_t": (6_530_380, 1_342_081_536),
    "cpolynext_s": (25_654_376 - 6, 4_780_196_208),
    "cpolynext_lowres": (5_460_322, 704_697_984),
}
"""Name -> parameters and MACs of the authors' network, of which six of `cpolynext_s` have no effect and are not here:
its cells of six residuals have eight shares there."""


def test_every_published_network_is_proven_here() -> None:
    assert shipped("published") == sorted([*PARAMETERS, *FIGURES, *EXACT])


def weights_in_order(name: str, state: dict[str, Tensor]) -> list[Tensor]:
    """The weights of timm's network in the order in which they are applied."""
    late = LATE.get(name, ())
    blocks = groupby(state, key=lambda key: re.match(r"(.*blocks\.\d+(\.modulation)?)?", key)[0])
    return [state[key] for _, keys in blocks for key in sorted(keys, key=lambda key: any(part in key for part in late))]


def by_size(parameters: dict[str, Any]) -> list[Any]:
    """Names; those of more than 5M parameters are slow."""
    sizes = {name: known[0] if isinstance(known, tuple) else known for name, known in sorted(parameters.items())}
    return [pytest.param(name, marks=pytest.mark.slow if size > 5e6 else ()) for name, size in sizes.items()]


@pytest.mark.parametrize("name", by_size(PARAMETERS))
def test_parameters_and_logits_are_timms(name: str) -> None:
    torch.manual_seed(0)
    network = build(hadnas.load(name), IMAGENET, dtype=torch.float64).eval()
    reference = timm.create_model(name, dtype=torch.float64).eval()
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]
    assert sum(p.numel() for p in reference.parameters()) == PARAMETERS[name]
    with torch.no_grad():
        for parameter in reference.parameters():  # norms and scales that start alike would hide one another
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    # The modules stand in the same order in both, under other names; a linear map may stand for a 1 x 1 convolution.
    weights = zip(network.state_dict().items(), weights_in_order(name, reference.state_dict()), strict=True)
    network.load_state_dict({key: weight.view_as(own) for (key, own), weight in weights})
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        expected = reference(images)
        assert (network(images) - expected).abs().max() < 1e-10 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", by_size(PARAMETERS))
def test_macs_are_those_of_timms_network(name: str) -> None:
    network = build(hadnas.load(name), IMAGENET, device="meta")
    reference = timm.create_model(name, device="meta")
    found = hadnas.cost(network, IMAGENET.shape)
    assert found.macs == hadnas.cost(reference, IMAGENET.shape).macs
    assert published_row(name, found) in PAGE.read_text().splitlines(), "run `python -m docs.generate`"


@pytest.mark.parametrize("name", by_size(FIGURES))
def test_figures_are_those_of_the_paper(name: str) -> None:
    parameters, macs = FIGURES[name]
    network = build(hadnas.load(name), IMAGENET, device="meta")
    found = hadnas.cost(network, IMAGENET.shape)
    assert found.params == pytest.approx(parameters, abs=0.005e6)
    assert published_row(name, found) in PAGE.read_text().splitlines(), "run `python -m docs.generate`"
    if name != "monet_tiny":
        assert found.macs == pytest.approx(macs, rel=0.015)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if "_s" in name else ()) for name in EXACT])
def test_figures_are_those_of_the_authors_code(name: str) -> None:
    task = published_task(name)
    found = hadnas.cost(build(hadnas.load(name), task, device="meta"), task.shape)
    assert (found.params, found.macs) == EXACT[name]
    assert published_row(name, found) in PAGE.read_text().splitlines(), "run `python -m docs.generate`"


def test_demonet_is_what_its_authors_wrote() -> None:
    """Block: LayerNorm, 7 x 7 depthwise, 6 C wide, a * GELU(g), scaled; the last norm is behind the pooling."""
    torch.manual_seed(0)
    network = build(hadnas.load("demonet_w192_d12"), IMAGENET, dtype=torch.float64).eval()
    p = {key: torch.randn_like(value) / value[0].numel() ** 0.5 for key, value in network.state_dict().items()}
    network.load_state_dict(p)

    def weights(name: str) -> tuple[Tensor, Tensor]:
        return p[f"{name}.weight"], p[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), (192,), *weights(name)).movedim(-1, 1)

    images = torch.randn(2, 3, 64, 48, dtype=torch.float64)
    x = F.conv2d(images, *weights("stem.conv"), stride=16)
    for n in range(12):
        name = f"stages.0.blocks.{n}"
        h = F.conv2d(norm(x, f"{name}.norm"), *weights(f"{name}.block.dw"), padding=3, groups=192)
        a, g = F.conv2d(h, *weights(f"{name}.block.f")).chunk(2, dim=1)
        h = F.conv2d(a * F.gelu(g), *weights(f"{name}.block.g"))
        x = x + p[f"{name}.scale.gamma"][:, None, None] * h
    expected = F.linear(norm(x.mean((2, 3)), "head.norm"), *weights("head.fc"))
    with torch.inference_mode():
        assert (network(images) - expected).abs().max() < 1e-10 * float(expected.abs().max())


def test_monet_ends_in_a_mean_and_a_linear_map() -> None:
    network = build(hadnas.load("monet_tiny"), IMAGENET).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        features = network.stages(network.stem(images)).mean((2, 3))
        assert torch.equal(network(images), network.head.fc(features))


@pytest.mark.slow
def test_the_figure_of_monet_is_that_of_fvcore() -> None:
    """Which adds five operations for every element that a layer norm writes."""
    network = build(hadnas.load("monet_tiny"), IMAGENET)
    counted = fvcore_counts(network, IMAGENET.shape)
    assert counted["conv"] + counted["linear"] == hadnas.cost(network, IMAGENET.shape).macs
    assert sum(counted[kind] for kind in ("conv", "linear", "layer_norm")) == pytest.approx(2.81e9, rel=0.015)


def test_published_networks_are_baselines() -> None:
    arch = hadnas.load("starnet_s050")
    study = hadnas.Study(space=hadnas.load("star_or_sum_blocks"), baselines={"starnet": arch})
    assert study.baselines == {"starnet": arch.node}
    digits = Task.image(1, 8, 8, classes=10)
    assert build(complete(study.baselines["starnet"], digits), digits)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
