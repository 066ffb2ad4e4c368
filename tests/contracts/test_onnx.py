"""Every op runs in ONNX Runtime and gives what PyTorch gives, for any batch, at a size with odd sides."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hadnas.blocks.registry import find_op, ops
from hadnas.contract.cases import cases, randomise
from hadnas.measure.onnx import INPUT, as_onnx

pytestmark = pytest.mark.slow


class Doubled(nn.Module):
    """A merge as a network of one input, whose second half is its second input."""

    def __init__(self, merge: nn.Module) -> None:
        super().__init__()
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(*x.chunk(2, dim=1))


@pytest.mark.parametrize("name", sorted({**ops("block"), **ops("merge"), **ops("stem"), **ops("down"), **ops("head")}))
def test_runs_in_onnxruntime(name: str) -> None:
    torch.manual_seed(0)
    case = cases(find_op(name))[0]
    module = randomise(case.build()).eval()
    inputs = case.inputs()
    network, x = (Doubled(module), torch.cat(inputs, dim=1)) if len(inputs) == 2 else (module, inputs[0])
    session = onnxruntime.InferenceSession(as_onnx(network, x, any_batch=True), providers=["CPUExecutionProvider"])
    for images in (x, x[:1], torch.cat([x, x.flip(0)])):
        with torch.inference_mode():
            expected = network(images).numpy()
        (found,) = session.run(None, {INPUT: images.numpy()})
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
