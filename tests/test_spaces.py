"""Shipped search spaces hold what their docstrings promise."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hadnas
from hadnas.library import shipped
from hadnas.models.arch import Arch
from hadnas.models.build import build
from hadnas.models.complete import complete
from hadnas.models.random import sample
from hadnas.models.task import Task
from hadnas.space import every

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
    space = hadnas.load(f"search_spaces/{name}")
    for seed in range(4):
        network = build(sample(space, TASK, seed=seed), TASK, device="meta")
        assert network(torch.empty(2, *TASK.shape, device="meta")).shape == (2, 5)


@pytest.mark.parametrize(("name", "allowed"), [("encrypted", POLYNOMIAL), ("activation_free", POLYNOMIAL | LAYER_NORM)])
def test_members_without_activations_are_made_of_sums_products_and_norms(name: str, allowed: set[str]) -> None:
    space = hadnas.load(f"search_spaces/{name}")
    for seed in range(12):
        arch = sample(space, TASK, seed=seed)
        assert operations(arch) <= allowed, arch.tree()


def test_the_three_forms_of_star_or_sum_cost_the_same() -> None:
    space = hadnas.load("search_spaces/star_or_sum")
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
