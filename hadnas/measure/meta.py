"""Runs ATen operations on the meta device and remembers the form of each result.

For a batch norm torch takes milliseconds to find the shape.
"""

from typing import Any

import torch
from torch import Tensor

from hadnas.measure.aten import storage_id
from hadnas.measure.operations import tensors

MAX_MEMORY = 2**15
"""The most remembered operations, a few hundred bytes each; the parts of a large space have some thousand."""

_KNOWN: dict[Any, tuple[tuple[int, ...], tuple[int, ...], torch.dtype]] = {}


def run_operation(op: Any, args: Any, kwargs: Any) -> Any:
    """`op(*args, **kwargs)`; on the meta device, a result that is known is made from its form, without running `op`."""
    read = tensors((*args, *kwargs.values()))
    if not all(t.is_meta for t in read):
        return op(*args, **kwargs)
    key = op, _key(args), _key([*kwargs.items()])
    try:
        known = _KNOWN.get(key)
    except TypeError:  # an argument that cannot be hashed
        return op(*args, **kwargs)
    if known is not None:
        shape, stride, dtype = known
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    out = op(*args, **kwargs)
    if _is_new(out, read):
        if len(_KNOWN) == MAX_MEMORY:
            _KNOWN.clear()
        _KNOWN[key] = tuple(out.shape), out.stride(), out.dtype
    return out


def _key(value: Any) -> Any:
    """The part of an argument that determines the form of a result; 1, 1.0 and True differ."""
    if isinstance(value, Tensor):
        return Tensor, tuple(value.shape), value.stride(), value.dtype, value.storage_offset()
    return (type(value), *map(_key, value)) if isinstance(value, list | tuple) else (type(value), value)


def _is_new(out: Any, read: list[Tensor]) -> bool:
    """Whether a result is one dense tensor on the meta device that shares no memory with the arguments."""
    if not isinstance(out, Tensor) or not out.is_meta or out.storage_offset():
        return False
    dense = torch.empty_strided(out.shape, out.stride(), dtype=out.dtype, device="meta")
    if dense.untyped_storage().nbytes() != out.untyped_storage().nbytes():
        return False
    return all(storage_id(tensor) != storage_id(out) for tensor in read)
