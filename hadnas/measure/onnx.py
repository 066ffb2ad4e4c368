"""A module as an ONNX model, from torch's exporter. Needs the extra `onnx`."""

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec

import torch
from torch import nn

from hadnas.errors import BuildError
from hadnas.inputs import Inputs

INPUT, OUTPUT = "images", "logits"


def require_onnx() -> None:
    """Raise BuildError, with the command that installs it, if a library for ONNX is missing."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(library) is None:
            raise BuildError(f"ONNX needs the extra 'onnx' ({library} is not installed): pip install 'hadnas[onnx]'")


def as_onnx(
    module: nn.Module,
    inputs: Inputs,
    *,
    names: Sequence[str] = (INPUT,),
    any_batch: bool = False,
    name: str = "main_graph",
) -> bytes:
    """`module` as an ONNX model that maps inputs of these shapes, by default `images`, to `logits`.

    names      of the inputs
    any_batch  leave the first size open; `inputs` must then have a batch of at least two, or the exporter fixes it
    name       of the graph, as viewers show it

    Raises BuildError if a library is missing or the module cannot be exported.
    """
    require_onnx()
    if OUTPUT in names:
        raise BuildError(f"an input is named {OUTPUT}, as the output of the ONNX model is; rename the input")
    log = logging.getLogger("torch.onnx")
    level = log.level
    shapes = ({0: torch.export.Dim("batch")},) * len(inputs) if any_batch else None
    try:
        # the exporter prints its progress and warnings about its internals, which do not help a user
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            log.setLevel(logging.ERROR)
            program = torch.onnx.export(
                module,
                inputs,
                input_names=list(names),
                output_names=[OUTPUT],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = error.__cause__ or error  # the exporter's own message is a page of advice to its developers
        line = " ".join(str(cause).partition("\n")[0].split())
        raise BuildError(f"the module cannot be exported to ONNX: {type(cause).__name__}: {line}") from error
    finally:
        log.setLevel(level)
    if program is None:
        raise BuildError("the module cannot be exported to ONNX")
    program.model.graph.name = name
    return bytes(program.model_proto.SerializeToString())
