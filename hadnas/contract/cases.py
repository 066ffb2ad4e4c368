"""The test cases of an op, made from its slots, so that every registered op is tested.

Its defaults at two widths and three sizes, then each slot varied alone: every literal, True and False, None, a
neighbouring number, if the op's rules allow them.
"""

import itertools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm
from hadnas.blocks.registry import REQUIRED, Op, Slot, find_op
from hadnas.errors import SpecError
from hadnas.inputs import InputShape, Mask, Tokens

IN_DIM, CLASSES = 3, 5
LEFT_DIM, RIGHT_DIM = 6, 5
"""The widths of a fusion's inputs."""
RIGHT_SIZE = (3, 2)
"""The resolution of a fusion's second map."""
WIDTHS = (16, 24, 32, 48, 64, 96, 128)
SIZES = ((7, 5), (6, 9), (1, 1))


@dataclass(frozen=True)
class Case:
    """An op with the values of its slots, a width and a resolution."""

    op: Op
    values: Mapping[str, Any]
    dim: int
    height: int
    width: int
    varied: str = "defaults"

    def __str__(self) -> str:
        return f"{self.op.name} ({self.varied}, {self.dim}x{self.height}x{self.width})"

    @property
    def broken(self) -> str | None:
        """The message of the first broken rule, or None."""
        values = {**self.values, "dim": self.dim, "height": self.height, "width": self.width}
        return next((text for rule in self.op.rules if (text := rule(values)) is not None), None)

    def build(self, **dd: Any) -> nn.Module:
        """The module, with the simplest children: a pointwise convolution and the additive merge.

        That of a masked op gives its map alone; `hadnas.contract.masks` checks its mask.
        """
        module: nn.Module = self.op.cls(**self.arguments(**dd), **dd)
        if "masked" in self.op.roles:
            module.register_forward_hook(lambda module, inputs, outputs: outputs[0])
        return module

    def arguments(self, **dd: Any) -> dict[str, Any]:
        """The arguments of the op's class, without device and dtype."""
        inherited = self.inherited(**dd)
        given = {key: inherited[key] for key in self.op.given if key in inherited}
        children: dict[str, Any] = {}
        for slot in self.op.slots.values():
            if slot.many:
                children[slot.name] = []
            elif slot.roles:
                merged = "merge" in slot.roles
                children[slot.name] = find_op("add").cls(self.dim, **dd) if merged else pointwise(self.dim, **dd)
        return {**given, **self.values, **children}

    def inherited(self, **dd: Any) -> dict[str, Any]:
        """What comes from the parent of a node."""
        sizes = {"dim": self.dim, "in_dim": IN_DIM, "classes": CLASSES, "left_dim": LEFT_DIM, "right_dim": RIGHT_DIM}
        return {**sizes, "resolution": (self.height, self.width)}

    def inputs(self, batch: int = 2, **dd: Any) -> tuple[Tensor, ...]:
        """Random inputs of the shapes `shapes_in`."""

        def one(shape: InputShape) -> Tensor:
            if isinstance(shape, Tokens):
                return torch.randint(shape.vocabulary, (batch, shape.length), device=dd.get("device"))
            if isinstance(shape, Mask):
                return torch.randint(2, (batch, *shape), device=dd.get("device")).to(dd.get("dtype", torch.float32))
            return torch.randn(batch, *shape, **dd)

        return tuple(map(one, self.shapes_in))

    @property
    def shapes_in(self) -> tuple[InputShape, ...]:
        """The shapes of the op's inputs without the batch: two of a cell, merge, fusion or masked op, else one."""
        size = self.height, self.width
        if "stem" in self.op.roles and self.op.reads != "map":
            return ((IN_DIM,) if self.op.reads == "vector" else Tokens(self.height * self.width, IN_DIM),)
        if "fusion" in self.op.roles:
            vectors = self.op.reads == "vector"
            return ((LEFT_DIM,), (RIGHT_DIM,)) if vectors else ((LEFT_DIM, *size), (RIGHT_DIM, *RIGHT_SIZE))
        if "masked" in self.op.roles:
            return (IN_DIM, *size), Mask(*size)
        channels = IN_DIM if "in_dim" in self.op.given else self.dim
        return ((channels, *size),) * (1 if {"cell", "merge"}.isdisjoint(self.op.roles) else 2)

    @property
    def shape_out(self) -> tuple[int, ...]:
        """The shape that the op must return, without the batch."""
        if "head" in self.op.roles:
            return (CLASSES,)
        if "fusion" in self.op.roles and self.op.reads == "vector":
            return (self.dim,)
        resize = self.op.resize or (lambda size, _: size)
        return (self.dim, resize(self.height, self.values), resize(self.width, self.values))

    @property
    def names(self) -> dict[str, Any]:
        """The names in the docstring's formulas with their values.

        C, H, W and N = H*W are those of the op's output; M is the number of positions of a fusion's second map.
        """
        _, height, width = self.shape_out if len(self.shape_out) == 3 else (0, self.height, self.width)
        sizes = {"C": self.dim, "H": height, "W": width, "N": height * width}
        given = {"dim": self.dim, "in_dim": IN_DIM, "classes": CLASSES, "left_dim": LEFT_DIM, "right_dim": RIGHT_DIM}
        return {**self.values, **sizes, **given, "M": math.prod(RIGHT_SIZE)}


def pointwise(dim: int, **dd: Any) -> nn.Module:
    """The simplest block: a pointwise convolution."""
    return nn.Conv2d(dim, dim, 1, **dd)


def options(slot: Slot) -> list[Any]:
    """Other values that the type of a slot allows: literals, both booleans, None, numbers near the default."""
    found: list[Any] = []
    union = typing.get_origin(slot.type) in (typing.Union, types.UnionType)
    for kind in typing.get_args(slot.type) if union else (slot.type,):
        if typing.get_origin(kind) is typing.Literal:
            # For an op, activations differ only in having parameters or products; norms, in the axes they reduce.
            few = {Act: ("gelu", "star_relu"), Norm: ("batchnorm2d", "layernorm2d", "groupnorm1", "rmsnorm2d")}
            found += few.get(kind, typing.get_args(kind))
        elif kind is bool:
            found += (True, False)
        elif kind is types.NoneType:
            found.append(None)
        elif kind in (int, float):
            base = kind(slot.default) if type(slot.default) in (int, float) else kind(2)
            # Of a tuple, `cases` takes the first value that the rules allow.
            found.append((base + 1, base + 2, base * 2, base - 1) if kind is int else (base / 2 or 0.5,))
    return [value for value in found if value != slot.default or type(value) is not type(slot.default)]


def cases(op: Op) -> list[Case]:
    """The defaults at two widths and three sizes, then one slot varied at a time, if the rules allow it.

    Raises SpecError if a slot has no default, or if the rules refuse the defaults at every width.
    """
    values = defaults(op)
    by_width = [Case(op, values, dim, *SIZES[0]) for dim in WIDTHS]
    found = [case for case in by_width if not case.broken][:2]
    if not found:
        raise SpecError(f"{op.name}: the rules refuse the defaults at every width of {WIDTHS}: {by_width[0].broken}")
    found += [c for size in SIZES[1:] if not (c := replace(found[0], height=size[0], width=size[1])).broken]
    for slot in op.slots.values():
        for option in options(slot) if not slot.roles else []:
            tried = option if isinstance(option, tuple) else (option,)
            varied = (
                Case(op, {**values, slot.name: value}, dim, *SIZES[0], varied=f"{slot.name}={value!r}")
                for value, dim in itertools.product(tried, WIDTHS)
            )
            found += itertools.islice((case for case in varied if not case.broken), 1)
    return found


def defaults(op: Op) -> dict[str, Any]:
    """The default of every slot that has a value, not a node. Raises SpecError if one has no default."""
    if lacking := [s.name for s in op.slots.values() if not s.roles and s.default is REQUIRED]:
        raise SpecError(f"{op.name}: the slots {lacking} have no default; every slot needs one")
    return {slot.name: slot.default for slot in op.slots.values() if not slot.roles}


def randomise(module: nn.Module) -> nn.Module:
    """Give every parameter and running statistic a random value: an initial zero hides the factor it multiplies."""
    with torch.no_grad():
        for p in module.parameters():
            if p.dim() > 1:
                p.normal_(std=max(1, p[0].numel()) ** -0.5)
            else:
                p.uniform_(0.5, 1.5)
        for key, buffer in module.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
    return module


def state(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers by name."""
    return [*module.named_parameters(), *module.named_buffers()]
