"""`model.onnx`: a network as an ONNX file for any batch, compared with torch in ONNX Runtime."""

from pathlib import Path

import torch
from torch import nn

from hadnas.arch.task import Task
from hadnas.errors import BuildError
from hadnas.inputs import drawn, zeros
from hadnas.measure.onnx import INPUT, as_onnx

LOGIT_TOLERANCE = 1e-4
"""Largest allowed difference of a logit, relative to the largest logit."""


def input_names(task: Task) -> list[str]:
    """The names of the model's inputs: `images` for one image, else those of the task."""
    return [INPUT] if len(task.inputs) == 1 else [name for name, _ in task.inputs]


def write_onnx(network: nn.Module, task: Task, path: Path, name: str) -> float:
    """Write `network` for batches of any size; returns the largest difference from torch, relative.

    Raises BuildError if it cannot be exported, or if ONNX Runtime does not give torch's logits at batch 1 and 3.
    """
    import onnxruntime

    names = input_names(task)
    content = as_onnx(network.eval(), zeros(task.shapes, 2), names=names, any_batch=True, name=name)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in (1, 3):
        inputs = drawn(task.shapes, batch, torch.randn, generator)
        with torch.inference_mode():
            expected = network(*inputs)
        (found,) = session.run(None, {name: one.numpy() for name, one in zip(names, inputs, strict=True)})
        difference = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
        if not difference <= LOGIT_TOLERANCE:
            raise BuildError(
                f"the ONNX model differs from the network at batch {batch}: by {difference:.3g} of its largest logit; "
                f"allowed is {LOGIT_TOLERANCE:g}"
            )
        worst = max(worst, float(difference))
    path.write_bytes(content)
    return worst
