"""The ONNX file beside an exported network: written where it agrees, for any batch; never left beside another."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import BuildError, StudyError
from hadnas.exporter.folder import check_folder, export
from hadnas.exporter.onnx_file import write_onnx
from hadnas.hosts.build import build
from hadnas.hosts.host import make_plan
from hadnas.source.module import plan_source
from hadnas.space import op
from tests.networks import pyramid, residual

DIGITS = Task.image(1, 8, 8, classes=10)


@pytest.mark.slow
def test_onnx_for_any_batch(tmp_path: Path) -> None:
    arch = complete(pyramid((8, [residual(op("star")), residual(op("attention"))])), DIGITS)
    torch.manual_seed(0)
    network = build(arch, DIGITS).eval()
    assert write_onnx(network, DIGITS, tmp_path / "model.onnx", "mine") < 1e-5
    assert onnx.load(tmp_path / "model.onnx").graph.name == "mine"
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(5, 1, 8, 8)
    (found,) = session.run(["logits"], {"images": images.numpy()})
    with torch.inference_mode():
        assert np.allclose(found, network(images).numpy(), atol=1e-5)


@pytest.mark.slow
def test_onnx_that_differs_is_not_written(tmp_path: Path) -> None:
    class Drifting(nn.Module):
        """Another network at every call, as the exported one is not."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :3] * torch.rand(3)

    with pytest.raises(BuildError, match=r"ONNX .* batch 1\b"):
        write_onnx(Drifting(), DIGITS, tmp_path / "model.onnx", "drifting")
    assert not any(tmp_path.iterdir())


def test_onnx_without_its_extra_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    arch = complete(pyramid((8, [residual(op("mlp"))])), DIGITS)
    with pytest.raises(BuildError, match=r"onnxscript is not installed.*pip install 'hadnas\[onnx\]'"):
        export(arch, DIGITS, tmp_path / "out", onnx=True)
    assert not any(tmp_path.iterdir())


def test_an_onnx_file_of_an_earlier_network_is_not_left_beside_another(tmp_path: Path) -> None:
    arch = complete(pyramid((8, [residual(op("mlp"))])), DIGITS)
    (tmp_path / "model.py").write_text(plan_source(make_plan(arch, DIGITS), {}))
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(StudyError, match=r"model\.onnx is of an earlier network"):
        check_folder(tmp_path, force=True)
    check_folder(tmp_path, onnx=True, force=True)
