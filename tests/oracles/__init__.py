"""What every op must equal: a second, independent reading of its formula, for the parity tests.

An oracle gets the op's own parameters and buffers by name (leaves that require gradients) and returns what the op must:
a timm class run with these weights, a torch built-in, or loops and einsums written from the formula.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Oracle:
    """cases: the slots to try, each a dict; dim: the width; function: (params, *inputs, **values) -> output."""

    cases: tuple[dict[str, Any], ...]
    dim: int
    function: Callable[..., Tensor]


ORACLES: dict[str, Oracle] = {}


def oracle(name: str, *cases: dict[str, Any], dim: int = 8) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register the oracle of the op `name`; `function(p, x, **values)` (a merge: `(p, a, b, **values)`)."""

    def decorate(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        ORACLES[name] = Oracle(cases or ({},), dim, function)
        return function

    return decorate


for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
