"""An ONNX model whose convolutions and matrix products compute with 8-bit integers."""

import io
import logging
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hadnas.measure.onnx import require_onnx


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
