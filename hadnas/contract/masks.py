"""Checks an op that reads a map and its mask: what is in a hole has no effect, and the mask says where the map is 0."""

from collections.abc import Iterator

import torch

from hadnas.contract.cases import Case, randomise

CONTENTS = (0.0, 1e30, float("inf"), float("nan"))
"""Values of the pixels in holes."""


def masks(case: Case) -> Iterator[str]:
    """Output and mask are bit-equal whatever is in the holes, in evaluation and training; empty windows give 0.

    The second example has no valid pixel, the third no hole.
    """
    if "masked" not in case.op.roles:
        return
    module = randomise(case.op.cls(**case.arguments(dtype=torch.float64), dtype=torch.float64))
    x, mask = case.inputs(batch=3, dtype=torch.float64)
    mask[1], mask[2] = 0, 1
    for training in (False, True):
        module.train(training)
        with torch.no_grad():
            found = [module(x.masked_fill(mask == 0, content), mask) for content in CONTENTS]
        y, after = found[0]
        if after.shape != (3, 1, *y.shape[2:]) or after.dtype != mask.dtype:
            allowed = f"{mask.dtype} of shape {(3, 1, *y.shape[2:])}"
            yield f"the mask is {after.dtype} of shape {tuple(after.shape)}; allowed is {allowed}"
            return
        if not ((after == 0) | (after == 1)).all() or after[1].any() or not after[2].all():
            yield "the mask is not of 0 and 1, all 0 for an image without valid pixels, all 1 for one without holes"
        if y.masked_fill(after == 1, 0).any():
            yield "the map is not 0 where its mask is 0"
        for content, (other, _) in zip(CONTENTS, found, strict=True):
            if not torch.equal(other, y):
                yield f"the output depends on the content of holes: {content:g} gives another than 0"
