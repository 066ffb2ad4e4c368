"""One forward pass of a network on the meta device, as seen by hooks: who is called, with what shapes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Shape = tuple[int, ...]

_PRODUCTS = {
    torch.matmul, torch.bmm, torch.einsum, Tensor.matmul, Tensor.bmm, Tensor.__matmul__,
    F.scaled_dot_product_attention,
}  # fmt: skip
"""Functions that multiply matrices."""


@dataclass
class Seen:
    """A module in one forward pass.

    calls     how often it was called
    given     shape of its first argument, None unless that is a tensor
    returned  shape of its result, None unless that is a tensor
    extras    whether it got arguments beside the first
    tensors   whether a further argument is a tensor, such as a mask
    products  whether it or a module in it multiplies matrices of two activations, as attention does
    """

    calls: int = 0
    given: Shape | None = None
    returned: Shape | None = None
    extras: bool = False
    tensors: bool = False
    products: bool = False


@dataclass
class Pass:
    """A forward pass: what was seen of each module by its path, and the path of the first leaf in each module."""

    seen: dict[str, Seen] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)


class _Products(TorchFunctionMode):
    """Notes in every running module that matrices of two activations are multiplied."""

    def __init__(self, running: list[Seen]) -> None:
        super().__init__()
        self.running = running

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            read = [value for value in args if isinstance(value, Tensor)]
            if len(read) > 1 and not any(isinstance(value, nn.Parameter) for value in read):
                for seen in self.running:
                    seen.products = True
        return func(*args, **(kwargs or {}))


def observe(network: nn.Module, shape: Shape) -> Pass:
    """Run a network of the meta device on an image batch of `shape`. Raises what the network raises."""
    found = Pass({path: Seen() for path, _ in network.named_modules()})
    running: list[Seen] = []
    with torch.no_grad(), torch.device("meta"), _hooks(network, found, running), _Products(running):
        network.eval()(torch.empty(shape))
    return found


@contextmanager
def _hooks(network: nn.Module, found: Pass, running: list[Seen]) -> Iterator[None]:
    paths: list[str] = []
    handles = []

    def hook(path: str, module: nn.Module) -> None:
        seen = found.seen[path]
        leaf = not any(True for _ in module.children()) and any(True for _ in module.parameters())

        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            seen.calls += 1
            more = [*args[1:], *kwargs.values()]
            seen.given = tuple(args[0].shape) if args and isinstance(args[0], Tensor) else None
            seen.extras, seen.tensors = bool(more), any(isinstance(value, Tensor) for value in more)
            running.append(seen)
            paths.append(path)
            if leaf:
                for outer in paths:
                    found.first.setdefault(outer, path)

        def leave(_: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            seen.returned = tuple(out.shape) if isinstance(out, Tensor) else None
            running.pop()
            paths.pop()

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave, with_kwargs=True))

    for path, module in network.named_modules():
        hook(path, module)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
