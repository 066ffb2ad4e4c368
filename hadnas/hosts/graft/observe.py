"""One forward pass of a network on the meta device, as seen by hooks: who is called, with what shapes."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import timm
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


def fixed_size(model: str) -> bool:
    """Whether a timm model is built for one size of images, its argument `img_size`."""
    cfg = timm.get_pretrained_cfg(model)
    return cfg is not None and bool(cfg.fixed_input_size)


def default_size(model: str) -> Shape:
    """(C, H, W) of a timm model's images."""
    cfg = timm.get_pretrained_cfg(model)
    return (3, 224, 224) if cfg is None else tuple(cfg.input_size)


@dataclass
class Seen:
    """A module in one forward pass.

    calls     how often it was called
    given     shape of its first argument, None unless that is a tensor
    returned  shape of its result, None unless that is a tensor
    extras    whether it got arguments beside the first
    tensors   shapes of the tensors among these, such as a mask
    products  whether it or a module in it multiplies matrices of two activations, as attention does
    """

    calls: int = 0
    given: Shape | None = None
    returned: Shape | None = None
    extras: bool = False
    tensors: tuple[Shape, ...] = ()
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


def observed(model: str, shape: Shape) -> tuple[nn.Module, Pass]:
    """A timm model on the meta device and its pass with an image batch of `shape`. Raises what the model raises."""
    size = {"img_size": shape[2:]} if fixed_size(model) else {}
    network = timm.create_model(model, in_chans=shape[1], **size, device="meta")
    return network, observe(network, shape)


def observe(network: nn.Module, shape: Shape) -> Pass:
    """Run a network of the meta device on an image batch of `shape`. Raises what the network raises."""
    found = Pass({path: Seen() for path, _ in network.named_modules()})
    running: list[Seen] = []
    with torch.no_grad(), torch.device("meta"), _hooks(network, found, running), _Products(running):
        network.eval()(torch.empty(shape))
    return found


def embeds_positions(seen: tuple[Seen, Seen, Seen], space: tuple[int, ...], prefix: int) -> bool:
    """Whether the tensors beside the first argument embed positions: each has a row for every one, `prefix` left out.

    seen   a module in passes with one batch, a larger batch and a larger image
    space  the axes of the positions in its first argument
    """
    once, larger, wider = seen
    if once.given is None or once.tensors != larger.tensors or len(once.tensors) != len(wider.tensors):
        return False
    number = math.prod(once.given[axis] for axis in space)
    grown = [
        [a for a, b in zip(*pair, strict=False) if a != b] for pair in zip(once.tensors, wider.tensors, strict=True)
    ]
    return all(axes in ([number], [number - prefix]) for axes in grown)


def is_activation(module: nn.Module) -> bool:
    """Whether a module without weights is a function of single numbers, and not the identity."""
    if any(True for _ in module.children()) or module.state_dict():
        return False
    x, order = _random(2, 4, 3, 5), torch.randperm(120, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[1, 2, 1, 3] += 1
    found = _outputs(module, x, other, x.flatten()[order].view(x.shape))
    if found is None or torch.equal(found[0], x):
        return False
    y, moved, shuffled = found
    alone = int((moved != y).sum()) <= 1
    return alone and torch.allclose(shuffled.flatten(), y.flatten()[order], rtol=1e-5, atol=1e-6)


def mixes(module: nn.Module, shape: Shape, space: tuple[int, ...]) -> bool:
    """Whether a module without weights makes an output of other positions, along axes of `space`, than its own."""
    if module.state_dict():
        return False
    x, first = _random(*shape), [slice(None)] * len(shape)
    for axis in space:
        first[axis] = slice(0, 1)
    other = x.clone()
    other[tuple(first)] += 1
    found = _outputs(module, x, other)
    if found is None:
        return False
    moved = found[0] != found[1]
    moved[tuple(first)] = False
    return bool(moved.any())


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _outputs(module: nn.Module, *inputs: Tensor) -> list[Tensor] | None:
    """The outputs for inputs of one shape; None unless they are of this shape."""
    with torch.no_grad():
        try:
            found = [module(x.clone()) for x in inputs]
        except Exception:  # of any type: it takes other inputs
            return None
    return found if all(isinstance(y, Tensor) and y.shape == inputs[0].shape for y in found) else None


@contextmanager
def _hooks(network: nn.Module, found: Pass, running: list[Seen]) -> Iterator[None]:
    paths: list[str] = []
    handles = []

    def hook(path: str, module: nn.Module) -> None:
        seen = found.seen[path]
        leaf = not any(True for _ in module.children()) and any(True for _ in module.parameters())

        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            seen.calls += 1
            others = (*args[1:], *kwargs.values())
            more = [part for one in others for part in (one if isinstance(one, tuple | list) else [one])]
            seen.given = tuple(args[0].shape) if args and isinstance(args[0], Tensor) else None
            seen.extras = bool(others)
            seen.tensors = tuple(tuple(value.shape) for value in more if isinstance(value, Tensor))
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
