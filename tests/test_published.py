"""Published networks are points of the space: exact parameters, and timm's logits after copying weights."""

import pytest
import timm
import torch

import hadnas
from hadnas.library import shipped
from hadnas.models.build import build
from hadnas.models.task import Task

IMAGENET = Task.image(3, 224, 224, classes=1000)

PARAMETERS = {"starnet_s050": 542_728, "starnet_s1": 2_869_168, "starnet_s4": 7_482_728}
"""Name -> number of parameters of timm's network of the same name."""


def test_every_published_network_is_proven_here() -> None:
    assert shipped("published") == sorted(PARAMETERS)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameters_and_logits_are_timms(name: str) -> None:
    network = build(hadnas.load(name), IMAGENET, dtype=torch.float64).eval()
    reference = timm.create_model(name, dtype=torch.float64).eval()
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]
    assert sum(p.numel() for p in reference.parameters()) == PARAMETERS[name]
    # The modules stand in the same order in both, under other names.
    weights = zip(network.state_dict(), reference.state_dict().values(), strict=True)
    network.load_state_dict(dict(weights))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (network(images) - reference(images)).abs().max() < 1e-10
