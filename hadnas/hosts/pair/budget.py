"""Equal parameters for fusions: the hidden width at which one has a given number of them."""

import json
from bisect import bisect_left
from functools import lru_cache
from typing import Any

from hadnas.arch.read import Place, checked_values
from hadnas.blocks.registry import Op, find_op
from hadnas.errors import SpecError
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
    unit = next((h for h in range(1, SMALLEST + 1) if all(r(_facts(values, place, h)) is None for r in op.rules)), None)
    if unit is None:
        checked_values(op, node)
        raise SpecError(f"{op.name}: no hidden up to {SMALLEST} is allowed with its other values")
    key = json.dumps([op.name, values, place.in_dim, place.right_dim, place.dim], sort_keys=True)
    above = bisect_left(range(WIDTH // unit), params, lo=1, key=lambda times: _params(key, unit * times))
    near = [unit * times for times in (above - 1, above) if times >= 1]
    best = min(near, key=lambda hidden: abs(_params(key, hidden) - params))
    if abs(_params(key, best) - params) > CLOSE * params:
        found = " and ".join(f"{_params(key, hidden):,} (hidden = {hidden})" for hidden in near)
        raise SpecError(
            f"{op.name}: params = {params:,} is not allowed: nearest are {found}, none within {100 * CLOSE:g} %; use "
            "another number, or other values of the fusion"
        )
    return best


def _facts(values: dict[str, Any], place: Place, hidden: int) -> dict[str, Any]:
    return {**values, "hidden": hidden, "dim": place.dim, "in_dim": place.in_dim, "height": 1, "width": 1}


@lru_cache(maxsize=2**14)
def _params(key: str, hidden: int) -> int:
    name, values, left, right, dim = json.loads(key)
    module = find_op(name).cls(left, right, dim, **{**values, "hidden": hidden}, device="meta")
    return sum(parameter.numel() for parameter in module.parameters())
