"""The sites of a timm network: modules at which something else may stand, found by structure, not by names.

The network runs on the meta device with two batch sizes and two image sizes, those it expects if it can: the axis of
a module's input that follows the batch is the batch, those that follow the image are space, and the one that follows
neither are the channels. An axis that follows both counts windows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from timm.layers import Conv2dSame
from torch import nn

from hadnas.errors import SpecError, first_line
from hadnas.hosts.graft.observe import Pass, Shape, default_size, embeds_positions, is_activation, mixes, observed

SiteKind = Literal["stage", "block", "mixer", "attention", "mlp", "gate", "linear", "conv", "activation"]
SITE_KINDS: tuple[str, ...] = get_args(SiteKind)

Layout = Literal["nchw", "nhwc", "tokens", "channels", "windows"]
"""(B, C, H, W), (B, H, W, C), (B, N, C), (B, C, N); and windows of an image with their channels last."""

_AXES: dict[str, int] = {"nchw": -3, "nhwc": -1, "tokens": -1, "channels": -2, "windows": -1}

_SPACE: dict[str, tuple[int, ...]] = {"nchw": (2, 3), "nhwc": (1, 2), "tokens": (1,), "channels": (2,)}
"""The axes of the positions."""


@dataclass(frozen=True)
class Site:
    """A module of a network at which something else may stand.

    shape   of its input, without the batch
    equal   whether its output has that shape
    layout  the meaning of its axes; None if it cannot be known
    dim     channels of its input
    grid    height and width of its map or of its tokens; None for windows, and if they cannot be known
    prefix  tokens in front of those of the map
    params  parameters, those of the modules in it included
    extras  whether it is called with further arguments; `positions`, with embeddings of positions; `masked`, with other
            tensors among them
    inner   whether it is inside a block, where nothing in its place means zero, not its input
    """

    path: str
    kind: SiteKind
    shape: Shape
    equal: bool
    layout: Layout | None
    dim: int
    grid: tuple[int, int] | None
    prefix: int
    params: int
    extras: bool
    masked: bool
    positions: bool
    inner: bool

    @property
    def axis(self) -> int | None:
        """The axis of the channels, counted from the last; None if it cannot be known."""
        return None if self.layout is None else _AXES[self.layout]


@dataclass(frozen=True)
class Sites:
    """The sites of a network by path, in the order of the network, and why its other modules are none."""

    model: str
    found: dict[str, Site]
    others: dict[str, str]


@cache
def find_sites(model: str, shape: Shape | None = None) -> Sites:
    """The sites of a timm model for images of `shape` (C, H, W), by default the model's own size.

    Raises SpecError if the model cannot be built or run on the meta device.
    """
    own = default_size(model)
    channels, *size = shape or own
    try:
        network, actual = observed(model, (2, channels, *size))
    except Exception as error:  # of any type, from the code of the model
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise SpecError(
            f"{model} cannot run on the meta device with {channels} x {size[0]} x {size[1]} images, so that its sites "
            f"are not known: {reason}; allowed are models and sizes that can"
        ) from error
    for height, width in (own[1:], size):  # of a small image, maps of 1 x 1 would follow nothing
        try:
            _, once = observed(model, (2, channels, height, width))
            _, larger = observed(model, (3, channels, height, width))
            _, wider = observed(model, (2, channels, 2 * height, 2 * width))
            return _Reader(model, network, actual, (once, larger, wider), size[0] / size[1]).sites()
        except Exception:  # of any type: the model takes one size only
            continue
    return _Reader(model, network, actual, (actual, actual, actual), size[0] / size[1]).sites()


class _Reader:
    """Reads the sites of a network from a pass with images of the wanted size, and from three more.

    passes  as large as the model expects, with a larger batch, with larger images; three equal ones tell no axes
    aspect  height over width of the images
    """

    def __init__(
        self, model: str, network: nn.Module, actual: Pass, passes: tuple[Pass, Pass, Pass], aspect: float
    ) -> None:
        self.model, self.network, self.actual, self.aspect = model, network, actual, aspect
        self.once, self.larger, self.wider = passes
        self.modules = dict(network.named_modules())

    def sites(self) -> Sites:
        """Every module with its kind, or with the reason why it is no site."""
        others: dict[str, str] = {}
        parts: list[str] = []  # with other modules in them
        leaves: dict[str, SiteKind] = {}
        for path, module in self.modules.items():
            if path and (reason := self._reason(path, module)):
                others[path] = reason
            elif path and (kind := _leaf_kind(module)):
                leaves[path] = kind
            elif path:
                parts.append(path)
        stages = {path for path in parts if self._is_stage(path, parts)}
        found: dict[str, Site] = {}
        for path in self.modules:
            if path in leaves:
                found[path] = self._site(path, leaves[path], inner=True)
            elif path in parts:
                inner = any(outer in parts and outer not in stages for outer in _outer(path))
                if not inner and not _has_weights(self.modules[path]):
                    others[path] = "has no parameters and is in no block"
                    continue
                part: SiteKind = "stage" if path in stages else self._part_kind(path, parts, inner=inner)
                found[path] = self._site(path, part, inner=inner)
        return Sites(self.model, found, others)

    def _reason(self, path: str, module: nn.Module) -> str:
        """Why a module is no site, or ""."""
        seen = self.once.seen[path]
        if seen.calls != 1:
            return f"is called {seen.calls} times" if seen.calls else "is not called in a forward pass"
        if seen.given is None or seen.returned is None:
            return "does not map one tensor to one tensor"
        if _leaf_kind(module):
            return ""
        if seen.given != seen.returned:
            return (
                f"maps {_text(seen.given)} to {_text(seen.returned)}; allowed are equal shapes, or one linear or Conv2d"
            )
        if not _has_weights(module):
            return self._free_reason(path, module)
        if all(_is_scale(parameter, seen.given) for parameter in module.parameters()):
            return "is a norm or a scale"
        if not any(True for _ in module.children()) and not self._spatial(path):
            return "is a layer of another kind"
        within = [f"{path}.{name}" for name, child in module.named_children() if _has_weights(child)]
        if len(within) == 1 and not any(True for _ in module.parameters(recurse=False)):
            one = self.once.seen[within[0]]
            if one.calls == 1 and (one.given, one.returned) == (seen.given, seen.returned):
                return f"only passes its input to {within[0]}"
        return ""

    def _free_reason(self, path: str, module: nn.Module) -> str:
        """Why a module without parameters, of equal shape, is no site, or "": it mixes positions, as a pooling does."""
        given, (layout, _) = self.once.seen[path].given, self._layout(path)
        if given is None or layout not in _SPACE or not mixes(module, given, _SPACE[layout]):
            return "has no parameters and mixes no positions"
        outer = next(_outer(path), "")
        return f"is a part of {outer}" if not _has_weights(self.modules[outer]) else ""

    def _spatial(self, path: str) -> bool:
        """Whether a module's input follows the image."""
        return self.once.seen[path].given != self.wider.seen[path].given

    def _is_stage(self, path: str, parts: list[str]) -> bool:
        """Whether a module is or has a sequence of two parts or more."""
        return any(
            isinstance(module, nn.Sequential)
            and sum(f"{inner}.{name}" in parts for name, _ in module.named_children()) > 1
            for inner, module in self.modules.items()
            if inner == path or inner.startswith(f"{path}.")
        )

    def _part_kind(self, path: str, parts: list[str], *, inner: bool) -> SiteKind:
        first = self.once.first.get(path)  # none without parameters
        if first is not None and self._spatial(path) and not self._spatial(first):
            return "gate"
        if not inner:
            return "block"
        within = [other for other in parts if other.startswith(f"{path}.")]
        if self.once.seen[path].products:
            return "block" if any(self.once.seen[other].products for other in within) else "attention"
        layers = [m for p, m in self.modules.items() if p.startswith(f"{path}.") and isinstance(m, _LAYERS)]
        pointwise = all(isinstance(m, nn.Linear) or set(m.kernel_size) == {1} for m in layers)
        site = self._site(path, "mlp", inner=inner)
        along = site.layout != "channels" or not any(isinstance(m, nn.Linear) for m in layers)
        return "mlp" if layers and pointwise and along else "mixer"

    def _site(self, path: str, kind: SiteKind, *, inner: bool) -> Site:
        module, seen = self.modules[path], self.actual.seen[path]
        assert seen.given is not None
        layout, prefix = self._layout(path)
        if kind == "conv":
            layout = "nchw"
        elif kind == "linear" and layout not in ("nhwc", "tokens"):
            layout = "windows"
        return Site(
            path=path,
            kind=kind,
            shape=seen.given[1:],
            equal=seen.given == seen.returned,
            layout=layout,
            dim=seen.given[-1 if layout is None else _AXES[layout]],
            grid=self._grid(layout, seen.given, prefix),
            prefix=prefix,
            params=sum(parameter.numel() for parameter in module.parameters()),
            extras=seen.extras,
            masked=bool(seen.tensors) and not self._embeds(path, layout, prefix),
            positions=bool(seen.tensors),
            inner=inner,
        )

    def _embeds(self, path: str, layout: Layout | None, prefix: int) -> bool:
        passes = self.once.seen[path], self.larger.seen[path], self.wider.seen[path]
        return layout in _SPACE and embeds_positions(passes, _SPACE[layout], prefix)

    def _layout(self, path: str) -> tuple[Layout | None, int]:
        """The layout of a module's input, and the number of its prefix tokens."""
        given, more, wide = (found.seen[path].given for found in (self.once, self.larger, self.wider))
        if given is None or more is None or wide is None or not len(given) == len(more) == len(wide):
            return None, 0
        batch = [axis for axis, size in enumerate(given) if size != more[axis]]
        space = [axis for axis, size in enumerate(given) if size != wide[axis]]
        if batch != [0]:
            return None, 0
        if space and space[0] == 0:
            return "windows", 0
        if len(given) == 4 and space in ([2, 3], [1, 2]):
            return ("nchw" if space == [2, 3] else "nhwc"), 0
        if len(given) == 3 and space in ([1], [2]):
            one, four = given[space[0]], wide[space[0]]  # prefix + n and prefix + 4 n tokens
            return ("tokens" if space == [1] else "channels"), max(0, one - (four - one) // 3)
        return None, 0

    def _grid(self, layout: Layout | None, given: Shape, prefix: int) -> tuple[int, int] | None:
        """Height and width of a map or of the tokens of one."""
        if layout == "nchw" and len(given) == 4:
            return given[2], given[3]
        if layout == "nhwc":
            return given[1], given[2]
        if layout in ("tokens", "channels"):
            number = given[1 if layout == "tokens" else 2] - prefix
            height = round(math.sqrt(number * self.aspect))
            return (height, number // height) if height and number % height == 0 else None
        return None


_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _leaf_kind(module: nn.Module) -> SiteKind | None:
    if type(module) is nn.Linear:
        return "linear"
    if type(module) in (nn.Conv2d, Conv2dSame):  # a subclass may compute its weights
        return "conv"
    return "activation" if is_activation(module) else None


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _is_scale(parameter: nn.Parameter, given: Shape) -> bool:
    """Whether a parameter is one of a norm, a scale or a bias: numbers, or one for each channel."""
    return parameter.dim() <= 1 or (parameter.numel() == max(parameter.shape) and parameter.numel() in given[1:])


def _outer(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _text(shape: Any) -> str:
    return " x ".join(map(str, shape[1:])) or "one number"
