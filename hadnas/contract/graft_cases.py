"""The test cases of a graft: what a case of a block is, around or in place of a module of every kind of site."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from hadnas.contract.cases import Case
from hadnas.inputs import InputShape

CHANNELS_LAST = ("linear", "tokens")
"""Sites whose input has its channels last; others have maps (B, C, H, W)."""


@dataclass(frozen=True)
class GraftCase(Case):
    """A graft at a site of one kind, a convolution of equal shape for those that no kind names."""

    kind: str = "mixer"

    def __str__(self) -> str:
        return f"{super().__str__()} at a site of kind {self.kind}"

    def parent(self, **dd: Any) -> nn.Module:
        """The module at the site."""
        if self.kind == "activation":
            return nn.GELU()
        if self.kind in CHANNELS_LAST:
            return nn.Linear(self.dim, self.dim * (1 + (self.kind == "linear")), **dd)
        if self.kind == "conv":
            return nn.Conv2d(self.dim, 2 * self.dim, 3, stride=2, padding=1, **dd)
        return nn.Conv2d(self.dim, self.dim, 3, padding=1, **dd)

    def inherited(self, **dd: Any) -> dict[str, Any]:
        """See `Case.inherited`; the module at the site and the axis of its channels come with it."""
        axis = -1 if self.kind in CHANNELS_LAST else -3
        return {**super().inherited(**dd), "parent": self.parent(**dd), "axis": axis}

    @property
    def shapes_in(self) -> tuple[InputShape, ...]:
        """See `Case.shapes_in`: the shape of the site's input."""
        size = self.height, self.width
        return ((*size, self.dim) if self.kind in CHANNELS_LAST else (self.dim, *size),)

    @property
    def shape_out(self) -> tuple[int, ...]:
        """The shape that the module at the site returns, without the batch."""
        return tuple(self.parent(device="meta")(*self.inputs(device="meta")).shape[1:])


def at_sites(case: Case) -> list[Case]:
    """The case of a graft at every kind of site at which it may stand; a case of any other op as it is."""
    if "graft" not in case.op.roles:
        return [case]
    on_maps = any(slot.roles for slot in case.op.slots.values())  # a block in it
    kinds = case.op.kinds or (("mixer",) if on_maps else ("mixer", "tokens"))
    return [GraftCase(**vars(case), kind=kind) for kind in kinds]


def around(case: Case) -> Iterator[str]:
    """A graft around a module keeps it, as a registered module with its attributes, and passes on what else it gets."""
    if not isinstance(case, GraftCase):
        return
    given = case.arguments()
    parent = given.get("parent", nn.Identity())
    module = case.op.cls(**given)
    if "parent" in case.op.given:
        if not any(part is parent for part in module.modules()):
            yield "the module at the site is not registered in it; allowed is a Wrapper of hadnas.hosts.graft.wrapper"
            return
        names = [name for name in ("in_channels", "in_features") if hasattr(parent, name)]
        if lacking := [name for name in names if getattr(module, name, None) != getattr(parent, name)]:
            yield f"it lacks {lacking} of the module at the site, which timm reads; a Wrapper has them"
    if not case.op.kinds:
        x = case.inputs()
        seen: list[Any] = []
        parent.register_forward_pre_hook(lambda _, args, kwargs: seen.extend((args[1:], kwargs)), with_kwargs=True)
        parent.forward = lambda x, *_, **__: x
        try:
            module(*x, None, mask=None)
        except TypeError as error:
            yield f"a module at such a site may get further arguments, which it must pass on: {error}"
        else:
            if "parent" in case.op.given and seen != [(None,), {"mask": None}]:
                yield f"it passes {seen} to the module at the site; allowed are all further arguments: None, mask=None"
