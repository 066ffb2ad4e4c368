"""Every op runs in ONNX Runtime and gives what PyTorch gives, for any batch, at a size with odd sides."""

import numpy as np
import onnxruntime
import pytest
import torch

from hadnas.blocks.registry import find_op, ops
from hadnas.contract.cases import cases, randomise
from hadnas.measure.onnx import as_onnx

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    sorted(name for name, found in ops().items() if not {"host", "residual", "graft"} & {*found.roles}),
)
def test_runs_in_onnxruntime(name: str) -> None:
    torch.manual_seed(0)
    case = cases(find_op(name))[0]
    module = randomise(case.build()).eval()
    inputs = case.inputs()
    names = [f"input_{place}" for place in range(len(inputs))]
    content = as_onnx(module, inputs, names=names, any_batch=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (inputs, tuple(x[:1] for x in inputs), tuple(torch.cat([x, x.flip(0)]) for x in inputs)):
        with torch.inference_mode():
            expected = module(*batch).numpy()
        (found,) = session.run(None, {name: x.numpy() for name, x in zip(names, batch, strict=True)})
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
