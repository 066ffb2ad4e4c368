"""In-context regression: examples that each have a linear function of their own, shown by noisy values at points."""

import numpy as np
import torch

from hadnas.errors import DataError
from hadnas.train.data.columns import HeldInputs, InputColumn
from hadnas.train.data.images import Source
from hadnas.train.data.reader import reader

IN_CONTEXT = "in_context"

POINT_DIM = 5
"""The numbers of a point x."""

NOISE_VARIANCE = 0.1
"""The variance of the noise of the values in the context."""

FUNCTION_COUNTS = {"train": 20_000, "val": 2000, "test": 2000}
"""Examples of each split, each with a function of its own."""

LONGEST = 1000
"""The largest length of a context."""


@reader(
    f"'{IN_CONTEXT}:LENGTH' with a length of 1 to {LONGEST}",
    takes=lambda source: source.partition(":")[0] == IN_CONTEXT,
    named=True,
)
def read_in_context(source: str) -> Source:
    """A query x (`query`, a vector of 5) and columns [x_i; y_i] (`context`, a map of 6 x 1 x LENGTH).

    x and x_i ~ N(0, I), y_i = w . x_i + noise of variance 0.1, w ~ N(0, I) anew for every example; the target is w . x,
    without noise. The best prediction, the mean of w . x given the context, is ridge regression on the context with a
    penalty of the noise's variance. Raises DataError for a length that is not allowed.

    Source: He et al., "In-context linear regression demystified", 2025, arXiv 2503.12734, section 2.
    """
    text = source.removeprefix(IN_CONTEXT).removeprefix(":")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LONGEST):
        raise DataError(f"{source}: the length of the context is {text!r}; allowed is an integer from 1 to {LONGEST}")
    length = int(text)
    parts = {}
    for seed, (part, count) in enumerate(FUNCTION_COUNTS.items()):
        generator = np.random.default_rng(seed)
        weights, query = generator.normal(size=(2, count, POINT_DIM))
        points = generator.normal(size=(count, POINT_DIM, length))
        noise = NOISE_VARIANCE**0.5 * generator.normal(size=(count, 1, length))
        context = np.concatenate([points, weights[:, None] @ points + noise], axis=1)[:, :, None]
        columns = [
            InputColumn(name, torch.from_numpy(values), torch.arange(count))
            for name, values in (("query", query), ("context", context))
        ]
        targets = (weights * query).sum(1, keepdims=True)
        parts[part] = HeldInputs(columns, torch.from_numpy(targets.astype(np.float32)))
    return Source(
        1.0, ("value",), parts["train"], parts["val"], parts["test"], target="values", name=f"{IN_CONTEXT}:{length}"
    )
