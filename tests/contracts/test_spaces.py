"""Shipped search spaces hold what their docstrings promise."""

from typing import Any

import pytest
import torch
from timm.layers import SelectAdaptivePool2d
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

import hadnas
from hadnas.arch.node import Arch
from hadnas.arch.random import sample
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.contract.cases import randomise
from hadnas.hosts.build import build
from hadnas.hosts.host import make_plan
from hadnas.inputs import zeros
from hadnas.library import shipped
from hadnas.source.module import plan_source
from hadnas.space import every, op
from tests.networks import TWO_INPUTS, residual

TASK = Task.image(3, 16, 16, classes=5)

# What sums and products are made of, and how they are moved about.
POLYNOMIAL = {
    *("convolution", "addmm", "mm", "bmm", "add", "mul", "mean", "sum", "native_batch_norm", "cudnn_batch_norm"),
    *("view", "_unsafe_view", "reshape", "flatten", "split", "split_with_sizes", "chunk", "cat", "slice", "select"),
    *("t", "transpose", "permute", "expand", "clone", "detach", "unsqueeze", "squeeze", "empty", "alias", "div"),
    *("_native_batch_norm_legit_no_training", "as_strided"),
}
LAYER_NORM = {"native_layer_norm", "rsqrt", "pow", "sub", "var_mean", "_fused_rms_norm", "native_group_norm"}


class Ops(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Notes the name of every ATen operation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(op._schema.name.removeprefix("aten::").removesuffix("_"))
        return op(*args, **(kwargs or {}))


def operations(arch: Arch) -> set[str]:
    network = build(arch, TASK, device="meta").eval()
    with Ops() as ops, torch.no_grad():
        network(torch.empty(2, *TASK.shape, device="meta"))
    return ops.names


@pytest.mark.parametrize("name", shipped("search_spaces"))
def test_samples_of_a_shipped_space_are_built_and_run(name: str) -> None:
    space, task = hadnas.load(f"search_spaces/{name}"), TWO_INPUTS.get(name, TASK)
    for seed in range(4):
        network = build(sample(space, task, seed=seed), task, device="meta")
        assert network(*zeros(task.shapes, 2, device="meta")).shape == (2, 5)


@pytest.mark.parametrize(("name", "allowed"), [("encrypted", POLYNOMIAL), ("activation_free", POLYNOMIAL | LAYER_NORM)])
def test_members_without_activations_are_made_of_sums_products_and_norms(name: str, allowed: set[str]) -> None:
    space = hadnas.load(f"search_spaces/{name}")
    for seed in range(12):
        arch = sample(space, TASK, seed=seed)
        assert operations(arch) <= allowed, arch.tree()


def test_norms_by_position_leave_sums_and_products() -> None:
    """Of PolyNeXt's cells at inference, beside the sigmoid of learned shares and the fourth power of similarities."""
    attention = residual(op("poly_attention", norm="position_norm", sums="running"), merge=op("sigmoid_scale"))
    nodes = [residual(op(name, norm="position_norm"), merge=op("sigmoid_scale")) for name in ("poly_conv", "poly_mlp")]
    one = op("cell", norm="position_norm", merge=op("add"), blocks=[*nodes, attention])
    stem = op("conv_norm", dim=8, stride=1, norm=None)
    head = op("poly_pooled", norm="position_norm")
    stages = [
        {"dim": 8, "blocks": [one]},
        {"dim": 12, "down": op("separable_conv", norm=None), "blocks": [one]},
    ]
    node = op("cell_pyramid", stem=stem, stages=stages, norm=None, head=head)
    assert operations(complete(node, TASK)) <= POLYNOMIAL | {"sigmoid", "flip", "pow", "promote_types"}
    text = plan_source(make_plan(node, TASK), {})
    assert "PolyMlp(8, norm='position_norm', resolution=(16, 16)" in text.replace('"', "'")
    other = {**node, "head": op("poly_pooled")}
    assert operations(complete(other, TASK)) & LAYER_NORM  # the head's
    assert "PolyPooled(12, 5, **dd)" in plan_source(make_plan(other, TASK), {})  # which needs no resolution


class Whole(fx.Tracer):
    """Traces a network; its pooling, which is the same for every channel, is one step."""

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return isinstance(module, SelectAdaptivePool2d) or super().is_leaf_module(module, path)

    def iter(self, obj: fx.Proxy) -> Any:
        """The parts of a split by widths, which may be unpacked with a star."""
        node = obj.node
        return iter([obj[i] for i in range(len(node.args[1]))]) if node.target == "split" else super().iter(obj)


def without_norms(network: nn.Module) -> nn.Module:
    """The network with each batch norm inside the convolution before it, or inside all that read it, else an error."""
    graph = Whole().trace(network)

    def module(node: fx.Node) -> nn.Module | None:
        return network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def readers(node: fx.Node) -> list[nn.Module]:
        found = []
        for user in node.users:
            if isinstance(module(user), nn.Identity | nn.Dropout | SelectAdaptivePool2d) or user.target == "flatten":
                found += readers(user)
            else:
                found.append(module(user))
        return found

    for node in graph.nodes:
        norm, before = module(node), module(node.args[0]) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - scale * norm.running_mean
        if isinstance(before, nn.Conv2d) and len(node.args[0].users) == 1:
            bias = 0 if before.bias is None else before.bias
            before.weight = nn.Parameter(before.weight * scale[:, None, None, None])
            before.bias = nn.Parameter(bias * scale + shift)
        else:
            for reader in readers(node):
                assert isinstance(reader, nn.Linear) or (isinstance(reader, nn.Conv2d) and reader.kernel_size == (1, 1))
                weight, bias = reader.weight.flatten(1), 0 if reader.bias is None else reader.bias
                reader.bias = nn.Parameter(bias + weight @ shift)
                reader.weight = nn.Parameter((weight * scale).view_as(reader.weight))
        network.set_submodule(str(node.target), nn.Identity())
    return network


@pytest.mark.parametrize("seed", range(8))
def test_every_norm_of_an_encrypted_network_folds_away(seed: int) -> None:
    arch = sample(hadnas.load("search_spaces/encrypted"), TASK, seed=seed)
    torch.manual_seed(seed)
    network = randomise(build(arch, TASK, dtype=torch.float64)).eval()
    images = torch.randn(2, *TASK.shape, dtype=torch.float64)
    with torch.no_grad():
        expected = network(images)
        folded = without_norms(network)
        assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
        assert (folded(images) - expected).abs().max() < 1e-10 * expected.abs().max()


def test_the_three_forms_of_star_or_sum_blocks_cost_the_same() -> None:
    space = hadnas.load("star_or_sum_blocks")
    macs = set()
    for seed in range(6):
        network = build(sample(space, TASK, seed=seed), TASK, device="meta")
        macs.add(hadnas.cost(network, TASK.shape).macs)
    assert len(macs) == 1


def test_at_each_width_the_forms_of_star_or_sum_widths_cost_the_same() -> None:
    found: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for params, draw in every(hadnas.load("search_spaces/star_or_sum_widths")):
        cost = hadnas.cost(build(complete(draw, TASK), TASK, device="meta"), TASK.shape)
        form = "one branch" if params["interaction"] == "one" else "two branches"
        found.setdefault((params["stages"], form), set()).add((cost.macs, cost.params))
    assert len(found) == 6 and all(len(costs) == 1 for costs in found.values())
    macs = [
        {next(iter(found[width, form]))[0] for form in ("one branch", "two branches")} for width in ("#0", "#1", "#2")
    ]
    assert all(len(equal) == 1 for equal in macs)
