"""A module as an ONNX model, from torch's exporter, and in int8. Needs the extra `onnx`."""

import io
import logging
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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


def as_int8(content: bytes, feeds: Iterable[dict[str, Any]]) -> bytes:
    """An ONNX model with int8 weights and activations, by ONNX Runtime's static quantisation (QDQ).

    content: a model of `as_onnx`, with float weights
    feeds: batches of its inputs by name, as arrays: the range of an activation is the one that it has on them

    Norms are folded into the convolutions before them first; products are quantised, too. Raises BuildError if a
    library is missing. Source: Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", 2018, arXiv 1712.05877.
    """
    require_onnx()
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Feeds(CalibrationDataReader):  # type: ignore[misc]
        left = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    log = logging.getLogger()
    level = log.level
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        whole, folded, integers = (Path(folder) / f"{name}.onnx" for name in ("float", "folded", "int8"))
        whole.write_bytes(content)
        log.setLevel(logging.ERROR)  # it advises its developers
        try:
            quant_pre_process(str(whole), str(folded), skip_symbolic_shape=True)
            quantize_static(str(folded), str(integers), Feeds())
        finally:
            log.setLevel(level)
        return integers.read_bytes()
