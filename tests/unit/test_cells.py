"""Pyramids of cells: each cell reads the outputs of the last two, across the borders of stages, too."""

from dataclasses import asdict
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from timm.layers import DropPath
from torch import Tensor
from torch.nn import functional as F

import hadnas
from hadnas.arch.diagram import diagram
from hadnas.arch.families import families_texts
from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.contract.cases import randomise
from hadnas.errors import SpecError, UnknownName
from hadnas.hosts.build import build, parts
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import Counts
from hadnas.measure.onnx import as_onnx
from hadnas.measure.parts import PartCounts
from hadnas.space import op
from tests.networks import residual
from tests.stories.test_script import traced

TASK = Task.image(3, 16, 16, classes=5)
NORM = "layernorm2d_no_bias_eps1e-5"
DENSE = op("conv_norm", bias=False, norm=None)
SEPARABLE = op("separable_conv", norm=None)


def cell(*blocks: Any, **slots: Any) -> dict[str, Any]:
    return op("cell", blocks=list(blocks), merge=slots.pop("merge", op("add")), **slots)


def cells(*stages: dict[str, Any], **slots: Any) -> dict[str, Any]:
    stem = op("conv_norm", dim=8, stride=1, bias=False, norm=None)
    return op("cell_pyramid", stem=stem, stages=[*stages], norm=None, head=op("poly_pooled"), **slots)


CELL = cell(residual(op("poly_conv", kernel=3), merge=op("sigmoid_scale")), residual(op("mlp"), norm=NORM))
NODE = cells({"dim": 8, "blocks": [CELL]}, {"dim": 12, "down": DENSE, "down_older": SEPARABLE, "blocks": [CELL] * 3})
ARCH = complete(NODE, TASK)

POLYNOMIAL = cell(
    residual(op("poly_conv", norm="position_norm")),
    residual(op("poly_attention", norm="position_norm", sums="running", heads=2, head_dim=4)),
    residual(op("poly_mlp", norm="position_norm")),
    norm="position_norm",
)
BY_POSITION = complete(
    cells({"dim": 8, "blocks": [CELL]}, {"dim": 12, "down": SEPARABLE, "down_older": DENSE, "blocks": [POLYNOMIAL]}),
    TASK,
)


def network(arch: Arch, **arguments: Any) -> Any:
    torch.manual_seed(0)
    return randomise(build(arch, TASK, dtype=torch.float64, **arguments)).eval()


def settled(arch: Arch) -> Any:
    """A network whose running statistics are those of the images: with others a polynomial of high degree overflows."""
    found = network(arch).train()
    with torch.no_grad():
        for _ in range(40):
            found(images())
    return found.eval()


def images() -> Tensor:
    return torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_each_cell_reads_the_outputs_of_the_last_two() -> None:
    """Scaled per channel, added, normed; where a stage begins both are made smaller, and the next cell reads one so."""
    found = network(ARCH)
    p = dict(found.state_dict())

    def read(stage: int, number: int, older: Tensor, newer: Tensor) -> Tensor:
        name = f"stages.{stage}.blocks.{number}"
        z = older * p[f"{name}.older.gamma"].view(-1, 1, 1) + newer * p[f"{name}.newer.gamma"].view(-1, 1, 1)
        z = (z - z.mean(1, keepdim=True)) * (z.var(1, keepdim=True, correction=0) + 1e-5) ** -0.5
        return found.stages[stage].blocks[number].blocks(z * p[f"{name}.norm.weight"].view(-1, 1, 1))

    with torch.inference_mode():
        first = F.conv2d(images(), p["stem.conv.weight"], padding=1)
        second = read(0, 0, first, first)
        first = F.conv2d(first, p["stages.1.down_older.dw.weight"], stride=2, padding=1, groups=8)
        first = F.conv2d(first, p["stages.1.down_older.w.weight"])
        second = F.conv2d(second, p["stages.1.down.conv.weight"], stride=2, padding=1)
        third = read(1, 0, first, second)
        fourth = read(1, 1, second, third)
        expected = found.head(read(1, 2, third, fourth))
        assert (found(images()) - expected).abs().max() < 1e-12 * expected.abs().max()


def test_the_older_map_is_made_smaller_like_the_newer_one() -> None:
    """By default, with weights of its own; what is written is what is meant."""
    stages = [{"dim": 8, "blocks": [CELL]}, {"dim": 12, "down": SEPARABLE, "blocks": [CELL]}]
    arch = complete(cells(*stages), TASK)
    assert arch.node["stages"][1]["down_older"] == arch.node["stages"][1]["down"]
    assert arch == complete(cells(stages[0], {**stages[1], "down_older": SEPARABLE}), TASK) != ARCH
    first, second = (getattr(network(arch).stages[1], name).w.weight for name in ("down", "down_older"))
    assert first.shape == second.shape and not torch.equal(first, second)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"dim": 8, "blocks": []}], r"stages\.0: blocks = \[\] .*at least one cell"),
        (
            [{"dim": 8, "blocks": [residual(op("mlp"))]}],
            r"stages\.0\.blocks\.0: 'residual' has the role residual; .*cell",
        ),
        ([{"dim": 8, "cells": [CELL]}], r"stages\.0: found .*'down_older': node or None"),
        ([{"dim": 9, "blocks": [CELL]}], r"stages\.0: dim = 9 without a down node; allowed is 8"),
        (
            [{"dim": 8, "down": SEPARABLE, "down_older": {**SEPARABLE, "stride": 4}, "blocks": [CELL]}],
            r"stages\.0\.down_older: its map has the size \(4, 4\); allowed is \(8, 8\)",
        ),
        ([{"dim": 8, "down": SEPARABLE, "down_older": None, "blocks": [CELL]}], r"stages\.0\.down_older: found None"),
        ([{"dim": 8, "down_older": SEPARABLE, "blocks": [CELL]}], r"stages\.0\.down_older: .*without a down node"),
        ([{"dim": 8, "blocks": [{**CELL, "joined": "mul"}]}], "unknown parameter of cell 'joined'"),
    ],
)
def test_what_is_no_pyramid_of_cells_is_refused(stages: list[dict[str, Any]], message: str) -> None:
    with pytest.raises((SpecError, UnknownName), match=message):
        complete(cells(*stages), TASK)


def test_cells_are_counted_drawn_and_costed() -> None:
    joined = cell(residual(op("star"), norm=NORM), merge=op("product"))
    arch = complete(cells({"dim": 8, "blocks": [CELL, CELL, joined]}), TASK)
    assert families_texts(arch) == ("H3 A2 C0 T0", "H1 A7 C0 T0")
    drawn = diagram(arch)
    assert ">2 \u00d7 cell<" in drawn and ">joined by product<" in drawn and ">poly_conv<" in drawn
    plan, whole = make_plan(ARCH, TASK), hadnas.cost(build(ARCH, TASK, device="meta"), TASK.shape)
    found = asdict(PartCounts().count(parts(plan), TASK.shape))
    assert found == {name: getattr(whole, name) for name in Counts.__dataclass_fields__}
    assert len({key for key, _ in parts(plan)}) == 6  # stem, two of cells, the smaller maps, norm, head


def test_norms_by_position_are_of_one_resolution() -> None:
    found = settled(BY_POSITION)
    assert found(images()).isfinite().all()
    with pytest.raises(ValueError, match=r"4 x 4; .*8 x 8"):
        found(images()[:, :, :8, :8])
    with pytest.raises(SpecError, match=r"norm = 'rms' is not allowed: .*'rmsnorm2d' or 'position_norm'"):
        complete(cells({"dim": 8, "blocks": [cell(op("poly_conv", norm="rms"))]}), TASK)
    with pytest.raises(SpecError, match=r"norm = 'position_norm' is not allowed: input should be 'batchnorm2d'"):
        complete(cells({"dim": 8, "blocks": [cell(op("star", norm="position_norm"))]}), TASK)


def test_drop_path_and_checkpoints() -> None:
    dropping = network(ARCH, drop_path_rate=0.3)
    rates = [part.drop_prob for part in dropping.modules() if isinstance(part, DropPath)]
    assert rates == sorted(rates) and len(rates) == 7 and rates[-1] == pytest.approx(0.3)
    expected = dropping(images())
    dropping.set_grad_checkpointing()
    assert torch.equal(dropping(images()), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit")  # deprecated; timm still tests it
def test_a_pyramid_of_cells_runs_elsewhere() -> None:
    """As TorchScript, as a traced graph and in ONNX Runtime."""
    found = settled(BY_POSITION)
    with torch.no_grad():
        logits = found(images())
        assert torch.equal(torch.jit.script(found)(images()), logits)
        assert torch.equal(traced(found)(images()), logits)
    content = as_onnx(found.float(), (images().float(),), names=["image"], any_batch=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"image": images().float().numpy()})
    assert np.abs(out - logits.numpy()).max() <= 1e-4 * np.abs(logits.numpy()).max()
