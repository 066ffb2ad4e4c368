"""`model.onnx`: a network as an ONNX file for any batch, compared with torch in ONNX Runtime."""

from pathlib import Path

import torch
from torch import nn

from hadnas.arch.task import Task
from hadnas.errors import BuildError
from hadnas.measure.onnx import INPUT, as_onnx

LOGIT_TOLERANCE = 1e-4
"""Largest allowed difference of a logit, relative to the largest logit."""


def write_onnx(network: nn.Module, task: Task, path: Path, name: str) -> float:
    """Write `network` (B, C, H, W) -> (B, classes) for any B; returns the largest difference from torch, relative.

    Raises BuildError if it cannot be exported, or if ONNX Runtime does not give torch's logits at batch 1 and 3.
    """
    import onnxruntime

    content = as_onnx(network.eval(), torch.zeros(2, *task.shape), any_batch=True, name=name)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in (1, 3):
        images = torch.randn(batch, *task.shape, generator=generator)
        with torch.inference_mode():
            expected = network(images)
        (found,) = session.run(None, {INPUT: images.numpy()})
        difference = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
        if not difference <= LOGIT_TOLERANCE:
            raise BuildError(
                f"the ONNX model differs from the network at batch {batch}: by {difference:.3g} of its largest logit; "
                f"allowed is {LOGIT_TOLERANCE:g}"
            )
        worst = max(worst, float(difference))
    path.write_bytes(content)
    return worst
