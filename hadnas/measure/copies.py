"""Copies of modules, so that measuring leaves the module itself alone."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from hadnas.errors import MeasurementError


def copied(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy; `memo` is that of `copy.deepcopy`.

    Raises MeasurementError if the module cannot be copied, such as one that has a tensor with a gradient function
    (`torch.nn.utils.weight_norm`).
    """
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise MeasurementError(
            f"the module ({type(module).__name__}) cannot be copied to measure it: {error}"
        ) from error


def weightless(module: nn.Module) -> nn.Module:
    """A copy on the meta device that shares nothing with `module` and allocates no weights.

    `copied(module).to("meta")` would copy all weights first, and leave tensors that are neither parameters nor buffers
    on their device. Raises MeasurementError if the module cannot be copied.
    """
    memo: dict[int, Any] = {}  # the id of a tensor -> the empty one that takes its place in the copy
    for sub in module.modules():
        for value in (*vars(sub).values(), *sub.parameters(recurse=False), *sub.buffers(recurse=False)):
            if isinstance(value, Tensor) and id(value) not in memo:
                empty = torch.empty_like(value, device="meta", requires_grad=False)
                is_parameter = isinstance(value, nn.Parameter)
                memo[id(value)] = nn.Parameter(empty, requires_grad=value.requires_grad) if is_parameter else empty
    return copied(module, memo)
