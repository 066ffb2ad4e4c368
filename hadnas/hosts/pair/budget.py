"""Equal parameters for fusions: the hidden width at which one has a given number of them."""

import json
from bisect import bisect_left
from functools import lru_cache
from typing import Any

from torch import nn

from hadnas.arch.read import Place, checked_values
from hadnas.blocks.registry import Op
from hadnas.errors import BuildError, SpecError, first_line
from hadnas.limits import WIDTH

CLOSE = 0.01
"""The largest difference from the number asked for, as a share of it."""

SMALLEST = 64
"""The smallest widths, of which the rules of an op allow one and all of its multiples."""


def hidden_of(op: Op, node: dict[str, Any], place: Place, params: int) -> int:
    """The width `hidden` at which a fusion has `params` parameters within 1 %, its other values being those of `node`.

    place: the widths of both inputs and of the output

    Raises SpecError if there is none, with the nearest numbers.
    """
    if "hidden" not in op.slots or "hidden" in node:
        raise SpecError(
            f"{op.name}: `params` is for a fusion with a slot `hidden`, which it then sets; give one of both"
        )
    if type(params) is not int or not 1 <= params <= WIDTH**2:
        raise SpecError(f"{op.name}: params = {params!r} is not allowed; allowed is an integer from 1 to {WIDTH**2:,}")
    values = checked_values(op, node)
    wrong: str | None = None
    for unit in range(1, SMALLEST + 1):
        facts = {**values, "hidden": unit, "dim": place.dim, "in_dim": place.in_dim, "height": 1, "width": 1}
        wrong = next((found for rule in op.rules if (found := rule(facts)) is not None), None)
        if wrong is None:
            break
    else:
        raise SpecError(f"{op.name}: {wrong}; no smaller hidden is allowed, either")
    key = json.dumps([values, place.in_dim, place.right_dim, place.dim], sort_keys=True)
    above = bisect_left(range(WIDTH // unit), params, lo=1, key=lambda times: _params(op.cls, key, unit * times))
    near = [unit * times for times in (above - 1, above) if times >= 1]
    best = min(near, key=lambda hidden: abs(_params(op.cls, key, hidden) - params))
    if abs(_params(op.cls, key, best) - params) > CLOSE * params:
        found = " and ".join(f"{_params(op.cls, key, hidden):,} (hidden = {hidden})" for hidden in near)
        raise SpecError(
            f"{op.name}: params = {params:,} is not allowed: nearest are {found}, none within {100 * CLOSE:g} %; use "
            "another number, or other values of the fusion"
        )
    return best


@lru_cache(maxsize=2**14)
def _params(cls: type[nn.Module], key: str, hidden: int) -> int:
    values, *dims = json.loads(key)
    try:
        module = cls(*dims, **{**values, "hidden": hidden}, device="meta")
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise BuildError(f"{cls.__name__} with hidden = {hidden} cannot be built: {reason}") from error
    return sum(parameter.numel() for parameter in module.parameters())
