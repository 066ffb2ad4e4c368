"""What parts cost, summed, is what the whole costs, to the last unit."""

from collections.abc import Callable
from dataclasses import asdict, fields

import pytest
import torch
from torch import Tensor, nn

import hadnas
from hadnas.arch.random import distinct
from hadnas.arch.task import Task
from hadnas.hosts.build import build_plan, parts
from hadnas.hosts.host import make_plan
from hadnas.library import shipped
from hadnas.measure import meta
from hadnas.measure.cost import Cost, Counts, cost
from hadnas.measure.parts import PartCounts
from tests.networks import TINY_SPACE, TWO_INPUTS

TASK = Task.image(3, 16, 16, classes=5)


def of_whole(counted: Cost) -> dict[str, int]:
    return {field.name: getattr(counted, field.name) for field in fields(Counts)}


@pytest.mark.parametrize("name", shipped("search_spaces"))
def test_parts_of_random_members_sum_to_the_whole(name: str) -> None:
    counts, task = PartCounts(), TWO_INPUTS.get(name, TASK)
    members = distinct(hadnas.load(f"search_spaces/{name}"), task, seed=1)
    for _, arch in zip(range(8), members, strict=False):
        plan = make_plan(arch, task)
        whole = cost(build_plan(plan, device="meta"), *task.shapes)
        assert asdict(counts.count(parts(plan), *task.shapes)) == of_whole(whole), arch.tree()


@pytest.mark.parametrize("name", shipped("published"))
def test_parts_of_published_networks_sum_to_the_whole(name: str) -> None:
    plan = make_plan(hadnas.load(name), Task.image(3, 64, 64, classes=10))
    assert len(parts(plan)) > 5
    whole = cost(build_plan(plan, device="meta"), (3, 64, 64))
    assert asdict(PartCounts().count(parts(plan), (3, 64, 64))) == of_whole(whole)


def test_a_network_of_timm_is_one_part() -> None:
    plan = make_plan({"op": "timm", "model": "resnet10t"}, TASK)
    (part,) = parts(plan)
    whole = cost(build_plan(plan, device="meta"), TASK.shape)
    assert asdict(PartCounts().count([part], TASK.shape)) == of_whole(whole)


def test_a_part_is_made_once_for_every_form_of_its_input() -> None:
    counts, made = PartCounts(), []

    def noted(key: object, make: Callable[[], nn.Module]) -> tuple[object, Callable[[], nn.Module]]:
        def making() -> nn.Module:
            made.append(key)
            return make()

        return key, making

    plan = make_plan(next(distinct(TINY_SPACE, TASK, seed=0)), TASK)
    given = [noted(*part) for part in parts(plan)]
    first = counts.count(given, (3, 16, 16))
    assert len(made) == len(set(made)) == len({key for key, _ in given})
    assert counts.count(given, (3, 16, 16)) == first and len(made) == len(given)
    larger = counts.count(given, (3, 32, 32))
    assert len(made) == 2 * len(given) and larger.macs > first.macs and larger.params == first.params


class Turned(nn.Module):
    """Its result has the strides of channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class Dense(nn.Module):
    """Copies what is not contiguous."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous().square()


class Table(nn.Module):
    """Does not depend on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(1, 3, 8, 8, device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        return self.table * 2


@pytest.mark.parametrize("kinds", [[Dense, Turned, Dense], [Dense, Table, Dense], [Turned, Turned, Dense, Dense]])
def test_what_comes_in_decides_what_a_part_costs(kinds: list[type[nn.Module]]) -> None:
    """Strides, as what is not contiguous is copied; and whether it is an activation, as else nothing is a product."""
    found = PartCounts().count([(kind, kind) for kind in kinds], (3, 8, 8))
    assert asdict(found) == of_whole(cost(nn.Sequential(*(kind() for kind in kinds)), (3, 8, 8)))
    assert found.products == (192 if Table in kinds else 192 * kinds.count(Dense))


def test_what_an_operation_gave_before_it_gives_again() -> None:
    """A new tensor of the same form each time; never in place of an alias."""
    x, aten = torch.empty(2, 3, 4, 4, device="meta", dtype=torch.int64), torch.ops.aten
    for number, dtype in ((1, torch.int64), (1.0, torch.float32), (True, torch.int64)):
        first, again = (meta.run_operation(aten.mul.Tensor, (x, number), {}) for _ in range(2))
        assert first.dtype == again.dtype == dtype and first.stride() == again.stride() and again is not first
    assert meta.run_operation(aten.add.Tensor, (x, x), {}).is_contiguous()
    last = x.to(memory_format=torch.channels_last)
    assert meta.run_operation(aten.add.Tensor, (last, last), {}).stride() == last.stride() != x.stride()
    for _ in range(2):
        assert meta.run_operation(aten.add_.Tensor, (x, 1), {}) is x
        assert meta.run_operation(aten.view.default, (x, [6, 16]), {})._is_view()
    held = torch.arange(3)
    assert [meta.run_operation(aten.add.Tensor, (held, 1), {}).tolist() for _ in range(2)] == [[1, 2, 3]] * 2
