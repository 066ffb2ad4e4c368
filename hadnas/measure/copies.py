"""Copies of modules, so that measuring leaves the module itself alone."""

import copy
from collections import OrderedDict
from typing import Any

from torch import nn


def copied(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy; `memo` maps the id of what shall not be copied to what stands for it, as in `copy.deepcopy`.

    A module has ten empty hook tables, which take most of the time of a plain deep copy.
    """
    memo = {} if memo is None else memo
    for sub in module.modules():
        for value in vars(sub).values():
            if isinstance(value, OrderedDict) and not value:
                memo[id(value)] = OrderedDict()
    return copy.deepcopy(module, memo)
