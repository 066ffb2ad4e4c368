"""Every kind of site of a family can be grafted: forward, backward, an exact start, export, cost."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hadnas
from hadnas.arch.task import Task
from hadnas.arch.twins import additive_twin
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.graft.sites import Site, find_sites
from hadnas.hosts.host import make_plan
from hadnas.space import op

FAMILIES = {"test_resnet": 64, "test_convnext": 64, "test_vit": 64, "test_efficientnet": 64}
SLOW = {
    "mixer_s32_224": 64, "poolformerv2_s12": 64, "mobilenetv4_conv_small": 64, "swin_tiny_patch4_window7_224": 224,
    "xcit_nano_12_p16_224": 64, "test_maxvit": 128, "test_nfnet": 64, "densenet121": 64,
}  # fmt: skip
EXACT = {
    "input_product": op("input_product"),
    "second_order": op("second_order"),
    "full": op("second_order", rank=None),
    "gate": op("gate", block=op("se", reduction=2)),
}
SPATIAL = ("nchw", "nhwc", "tokens", "channels")


def task_of(size: int) -> Task:
    return Task.image(3, size, size, classes=5)


def images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def fits(site: Site, name: str) -> bool:
    if name in ("second_order", "full"):
        return site.kind in ("linear", "conv")
    equal = site.equal and site.kind != "activation"
    return equal and (site.axis is not None if name == "input_product" else site.layout in SPATIAL)


def grafts(model: str, size: int, name: str) -> dict[str, Any]:
    return {site.path: EXACT[name] for site in find_sites(model, (3, size, size)).found.values() if fits(site, name)}


def logits(network: nn.Module, size: int) -> Tensor:
    with torch.no_grad():
        out: Tensor = network.eval()(images(size))
    return out


MODELS = [*FAMILIES.items(), *(pytest.param(*item, marks=pytest.mark.slow) for item in SLOW.items())]


@pytest.mark.parametrize(("model", "size"), MODELS)
def test_grafts_that_start_exact_change_nothing_and_learn(model: str, size: int) -> None:
    """With every site at once: logits equal at the start, untouched weights equal, a step changes the logits."""
    task = task_of(size)
    parent = build_seeded(make_plan(op("timm", model=model), task), 0)
    before, weights = logits(parent, size), parent.state_dict()
    for name in EXACT:
        sites = grafts(model, size, name)
        if not sites:
            assert name == "gate" or name == "input_product"
            continue
        plan = make_plan(op("timm", model=model, sites=sites), task)
        network = build_seeded(plan, 0)
        assert torch.equal(logits(network, size), before), name
        own = {key.replace("parent.", ""): value for key, value in network.state_dict().items()}
        assert all(torch.equal(own[key], value) for key, value in weights.items()), name
        alphas = [p for key, p in network.named_parameters() if key.endswith("alpha")]
        assert len(alphas) == len(sites)
        network.train()(images(size)).square().mean().backward()  # type: ignore[no-untyped-call]
        assert all(alpha.grad is not None for alpha in alphas)
        with torch.no_grad():
            for alpha in alphas:
                alpha.add_(0.5)
        assert not torch.equal(logits(network, size), before)
        cost = hadnas.cost(build_plan(plan, device="meta"), task.shape)
        assert (
            cost.macs
            >= hadnas.cost(build_plan(make_plan(op("timm", model=model), task), device="meta"), task.shape).macs
        )
        twin = additive_twin(plan.arch, task)
        if name == "gate":
            assert twin is None  # a gate of one value per channel has none
            continue
        assert twin is not None
        added = hadnas.cost(hadnas.build(twin, task, device="meta"), task.shape)
        assert (added.params, added.macs) == (cost.params, cost.macs) and added.products < cost.products


def replacements(model: str, size: int) -> dict[str, Any]:
    """A block in place of one site of every kind, another activation, a dropped site; none inside another."""
    sites = find_sites(model, (3, size, size)).found
    chosen: dict[str, Any] = {}
    nodes = {
        "attention": op("glu", expand=1),
        "mixer": op("star", expand=1, kernel=3),
        "mlp": op("mlp", expand=1),
        "gate": "drop",
        "block": op("conv_next", kernel=3),
        "activation": op("act", act=None),
        "linear": op("second_order", rank=2),
        "conv": op("input_product", project=False, alpha=0.5),
    }
    for kind, node in nodes.items():
        for path, site in sites.items():
            free = not any(path.startswith(f"{other}.") or other.startswith(f"{path}.") for other in chosen)
            spatial = site.layout in SPATIAL and site.grid is not None and not site.masked
            fit = spatial or kind in ("activation", "linear")
            if site.kind == kind and free and fit and (site.equal or kind == "linear"):
                chosen[path] = node
                break
    return chosen


@pytest.mark.parametrize(("model", "size"), MODELS)
def test_every_kind_of_site_is_replaced_trained_and_written_as_code(model: str, size: int) -> None:
    """The written code gives equal keys and, with the weights, equal logits; the rest of the parent is unchanged."""
    from hadnas.source.module import plan_source

    task, sites = task_of(size), replacements(model, size)
    plan = make_plan(op("timm", model=model, sites=sites), task)
    assert len(plan.arch.node["sites"]) == len(sites) > 1
    network = build_seeded(plan, 0)
    network.train()(images(size)).square().mean().backward()  # type: ignore[no-untyped-call]
    parent = build_seeded(make_plan(op("timm", model=model), task), 0).state_dict()
    others = {k: v for k, v in parent.items() if not k.startswith(tuple(f"{path}." for path in sites))}
    fresh = build_seeded(plan, 0).state_dict()
    assert others and all(torch.equal(fresh[key], value) for key, value in others.items())
    space: dict[str, Any] = {}
    exec(compile(plan_source(plan, {}), "model.py", "exec"), space)
    assert "hadnas." not in plan_source(plan, {}).replace("hadnas.blocks", "")
    written = space["build_model"]()
    assert list(written.state_dict()) == list(network.state_dict())
    written.load_state_dict(network.state_dict())
    assert torch.equal(logits(written, size), logits(network, size))
    assert hadnas.cost(build_plan(plan, device="meta"), task.shape).macs > 0
