"""Every kind of site of a family can be grafted: forward, backward, an exact start, export, cost."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import docs.grafts as grafts_page
import hadnas
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.arch.twins import additive_twin
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.graft.gate import Gate
from hadnas.hosts.graft.input_product import InputProduct
from hadnas.hosts.graft.second_order import SecondOrder
from hadnas.hosts.graft.sites import Site, find_sites
from hadnas.hosts.graft.wrapper import Replacement
from hadnas.hosts.host import make_plan
from hadnas.source.module import plan_source
from hadnas.space import op

FAMILIES = {"test_resnet": 32, "test_convnext": 32, "test_vit": 32, "test_efficientnet": 32}
SLOW = {
    "mixer_s32_224": 64, "poolformerv2_s12": 64, "mobilenetv4_conv_small": 64, "swin_tiny_patch4_window7_224": 224,
    "xcit_nano_12_p16_224": 64, "test_maxvit": 128, "test_nfnet": 64, "hrnet_w18_small": 64,
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
    """Whether a graft of EXACT may stand at a site, as the documentation says."""
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


def own_keys(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network without wrappers, by their names in the parent."""
    return {key.replace("parent.", ""): value for key, value in network.state_dict().items()}


@pytest.mark.parametrize(("model", "size"), MODELS)
def test_grafts_that_start_exact_change_nothing_and_learn(model: str, size: int) -> None:
    """With every site at once: logits equal at the start, untouched weights equal, and alpha has an effect.

    The parent's weights are random numbers: zeros at the start, as in the head of a mixer, would hide any change.
    """
    task, generator = task_of(size), torch.Generator().manual_seed(2)
    bare = make_plan(op("timm", model=model), task)
    parent = build_seeded(bare, 0)
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    before, weights = logits(parent, size), parent.state_dict()
    assert before.abs().max() > 0
    for name in EXACT:
        sites = grafts(model, size, name)
        plan = make_plan(op("timm", model=model, sites=sites), task)
        network = build_seeded(plan, 0)
        with torch.no_grad():
            for key, value in own_keys(network).items():
                if key in weights:
                    value.copy_(weights[key])
        assert sites and torch.equal(logits(network, size), before), name
        assert len(own_keys(network)) > len(weights)
        network.train()(images(size)).square().mean().backward()  # type: ignore[no-untyped-call]
        alphas = [value for key, value in network.named_parameters() if key.endswith("alpha")]
        assert len(alphas) == len(sites) and all(alpha.grad is not None for alpha in alphas)
        with torch.no_grad():
            for alpha in alphas:
                alpha.add_(0.5)
        assert not torch.equal(logits(network, size), before), name


@pytest.mark.parametrize("name", ["input_product", "second_order", "full"])
def test_a_graft_has_an_additive_twin_of_equal_parameters_and_macs(name: str) -> None:
    task = task_of(32)
    plan = make_plan(op("timm", model="test_convnext", sites=grafts("test_convnext", 32, name)), task)
    twin = additive_twin(plan.arch, task)
    assert twin is not None and "mul" not in twin.json
    found, added = (hadnas.cost(hadnas.build(arch, task, device="meta"), task.shape) for arch in (plan.arch, twin))
    assert (added.params, added.macs) == (found.params, found.macs) and added.products < found.products


def test_untouched_weights_are_those_of_the_parent() -> None:
    task = task_of(32)
    parent = build_seeded(make_plan(op("timm", model="test_vit"), task), 0).state_dict()
    sites = {"kind:mlp": op("input_product"), "blocks.0.attn.qkv": op("second_order"), "blocks.{2-3}.attn": "drop"}
    network = own_keys(build_seeded(make_plan(op("timm", model="test_vit", sites=sites), task), 0))
    kept = {key: value for key, value in parent.items() if not key.startswith(("blocks.2.attn", "blocks.3.attn"))}
    assert len(kept) < len(parent) and all(torch.equal(network[key], value) for key, value in kept.items())


def replacements(model: str, size: int) -> dict[str, Any]:
    """A block in place of one site of every kind, another activation, a dropped site; none inside another."""
    sites = find_sites(model, (3, size, size)).found
    chosen: dict[str, Any] = {}
    nodes = {
        "attention": op("glu", expand=1),
        "mixer": op("star", expand=1, kernel=3),
        "mlp": op("mlp", expand=1),
        "gate": "drop",
        "block": op("residual", block=op("conv_next", kernel=3), merge=op("add")),
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
    task, sites = task_of(size), replacements(model, size)
    plan = make_plan(op("timm", model=model, sites=sites), task)
    assert len(plan.arch.node["sites"]) == len(sites) > 1
    network = build_seeded(plan, 0)
    network.train()(images(size)).square().mean().backward()  # type: ignore[no-untyped-call]
    parent = build_seeded(make_plan(op("timm", model=model), task), 0).state_dict()
    others = {k: v for k, v in parent.items() if not k.startswith(tuple(f"{path}." for path in sites))}
    fresh = build_seeded(plan, 0).state_dict()
    assert others and all(torch.equal(fresh[key], value) for key, value in others.items())
    space: dict[str, Any] = {"__file__": "model.py"}
    text = plan_source(plan, {})
    assert "from hadnas" not in text and "import hadnas" not in text
    exec(compile(text.replace("@register_model", ""), "model.py", "exec"), space)  # timm registers modules only
    written = space["build_model"]()
    assert list(written.state_dict()) == list(network.state_dict())
    written.load_state_dict(network.state_dict())
    assert torch.equal(logits(written, size), logits(network, size))
    assert hadnas.cost(build_plan(plan, device="meta"), task.shape).macs > 0


def test_grafts_compute_their_formulas() -> None:
    dd: dict[str, Any] = {"dtype": torch.float64}
    torch.manual_seed(0)
    linear, conv = nn.Linear(5, 3, **dd), nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, **dd)
    x, image = torch.randn(2, 7, 5, **dd), torch.randn(2, 4, 6, 6, **dd)
    for interact in ("mul", "sum"):
        second = SecondOrder(linear, alpha=0.7, rank=2, interact=interact, **dd)
        a, b = (x @ (part[1].weight @ part[0].weight).T for part in (second.a, second.b))
        joined = a * b if interact == "mul" else a + b
        assert torch.allclose(second(x), linear(x) + 0.7 * joined, rtol=0, atol=1e-12)
        around = InputProduct(nn.Conv2d(4, 4, 1, **dd), 4, -3, alpha=0.7, interact=interact, **dd)
        y = around.parent(image)
        scaled = image / (image.square().mean(1, keepdim=True) + torch.finfo(torch.float64).eps).sqrt()
        joined = torch.einsum("oc,bchw->bohw", around.project.weight, scaled * y if interact == "mul" else scaled + y)
        assert torch.allclose(around(image), y + 0.7 * joined, rtol=0, atol=1e-12)
    full = SecondOrder(conv, alpha=0.7, rank=None, **dd)
    assert full.a.groups == 2 and torch.allclose(full(image), conv(image) + 0.7 * full.a(image) * full.b(image))
    assert SecondOrder(conv, rank=2, **dd)(image).shape == conv(image).shape
    gate = Gate(linear, block=nn.Tanh(), alpha=1.0, **dd)
    assert torch.allclose(gate(x), linear(x).tanh(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("layout", SPATIAL)
def test_a_block_on_another_layout_gets_the_same_map(layout: Any) -> None:
    torch.manual_seed(0)
    block, maps, first = nn.Conv2d(3, 3, 3, padding=1), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 2)
    expected = block(maps)
    prefix = 2 if layout in ("tokens", "channels") else 0
    forms: dict[str, Any] = {
        "nchw": lambda x, _: x,
        "nhwc": lambda x, _: x.permute(0, 2, 3, 1),
        "channels": lambda x, p: torch.cat([p, x.flatten(2)], 2),
        "tokens": lambda x, p: torch.cat([p, x.flatten(2)], 2).transpose(1, 2),
    }
    site = Replacement(block=block, layout=layout, grid=(4, 5), prefix=prefix)
    given, form = forms[layout](maps, first), forms[layout]
    assert torch.equal(site(given, None, mask=False), form(expected, first))
    assert torch.equal(site(given, (4, 5), size=[4, 5]), form(expected, first))
    for mask in (torch.ones(2), (torch.ones(2), 3), True):
        with pytest.raises(ValueError, match="mask"):
            site(given, mask)
    known = Replacement(block=block, layout=layout, grid=(4, 5), prefix=prefix, positions=True)
    assert torch.equal(known(given, rope=torch.ones(20, 2)), form(expected, first))
    if prefix:
        with pytest.raises(ValueError, match="18 tokens of a map"):
            site(given[:, :20] if layout == "tokens" else given[:, :, :20])


def test_a_wrapper_has_the_attributes_of_its_module() -> None:
    """timm reads some, as mobilenetv4's `reset_classifier` does of its last convolution; a copy has its own."""
    wrapped = SecondOrder(nn.Conv2d(3, 5, 1))
    assert (wrapped.in_channels, wrapped.weight.shape) == (3, (5, 3, 1, 1))
    assert copy.deepcopy(wrapped).weight is not wrapped.weight
    linear = nn.Linear(4, 4)
    linear.alpha = 0.2  # as a block of nfnet has
    assert [w.alpha.item() for w in (Gate(linear, block=nn.Tanh()), InputProduct(linear, 4, -1))] == [0, 0]
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing
    task = task_of(32)
    sites = {"conv_head": op("second_order"), "blocks.3.1": op("input_product")}
    network = hadnas.build(complete(op("timm", model="mobilenetv4_conv_small", sites=sites), task), task)
    network.reset_classifier(4)
    assert network(images(32)).shape == (2, 4)
    assert network.forward_features(images(32)).shape[1] == network.num_features
    final, maps = network.forward_intermediates(images(32), indices=2)
    assert len(maps) == 2 and final.shape[0] == 2


def test_the_page_of_families_is_that_of_its_command() -> None:
    """At least 40 networks, of which each has every site replaced, an exact start and code of equal logits."""
    text = grafts_page.PAGE.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    versions = text.partition("lists them); ")[2].partition(". What was")[0]
    assert grafts_page.page(rows, versions) == text, "run `python -m docs.grafts`"
    assert [row.split("`")[1] for row in rows] == list(grafts_page.MODELS) and len(rows) >= 40
    row = grafts_page.checked("test_resnet", 32)
    assert (row.exact, row.trained, row.code) == ("yes", "yes", "yes")
    assert row.sites["block"] == (1, "conv_next") and row.sites["conv"][1] == "second_order"
    broken = grafts_page.Row("m", 8, {"block": (2, None), "gate": (1, "identity")}, "yes", "yes", "other logits")
    assert "| 2 (none fits) |" in str(broken) and "| 1 (identity) |" in str(broken)
