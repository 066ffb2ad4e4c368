"""The inputs of a network: floats of one shape, as images (C, H, W) or vectors (K,), masks, tokens of a vocabulary."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Tokens(NamedTuple):
    """An input of `length` tokens: whole numbers (int64) from 0 to `vocabulary` - 1, such as the words of a question.

    In a `Task` it takes the place of a shape: `Task({"image": (3, 64, 64), "question": Tokens(9, 27)}, 13)`.
    """

    length: int
    vocabulary: int

    def __str__(self) -> str:
        return f"{self.length} of {self.vocabulary}"


class Mask(tuple[int, int, int]):
    """The mask of an image of height x width: (1, height, width) floats, 1 at a valid pixel and 0 at a hole.

    In a `Task` it takes the place of a shape: `Task({"image": (3, 64, 64), "mask": Mask(64, 64)}, 10)`. It is the shape
    of a map of one channel, and differs from it in not being standardised, and in its random examples.
    """

    def __new__(cls, height: int, width: int) -> Self:
        return super().__new__(cls, (1, height, width))

    def __getnewargs__(self) -> tuple[int, int]:  # for pickle, which else gives all three
        return self[1], self[2]

    def __repr__(self) -> str:
        return f"Mask({self[1]}, {self[2]})"

    def __str__(self) -> str:
        return f"mask {self[1]}x{self[2]}"


InputShape = tuple[int, ...] | Tokens
"""One input without the batch: the shape of floats, of which a mask has its own, or tokens."""

SHAPES_ALLOWED = "(C, H, W) of an image or a map, (K,) of a vector, Mask(height, width), and Tokens(length, vocabulary)"

Inputs = tuple["Tensor", ...]
"""A batch of every input of a network, in the order of its arguments: `network(*inputs)`."""


Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of an input over the training images, by which it is normalised.

Of an image or map they are those of each channel, of pixels scaled to 0..1, and beside a mask of its size of valid
pixels alone; of a vector, those of each number.
"""


AllMoments = Moments | Mapping[str, Moments]
"""The moments of the only image or, of several inputs, those of each by name; tokens and masks have none."""


def is_shape(shape: object) -> bool:
    """Whether it has the length of one of SHAPES_ALLOWED; its sizes are not checked."""
    return isinstance(shape, Tokens) or (isinstance(shape, tuple) and len(shape) in (1, 3))


def size_of(shape: InputShape) -> tuple[int, ...]:
    """The shape of an input without the batch; (length,) of tokens."""
    return (shape.length,) if isinstance(shape, Tokens) else shape


def shape_text(shape: InputShape) -> str:
    """`3x64x64` for floats, `mask 64x64`, `9 of 27` for tokens."""
    return str(shape) if isinstance(shape, Tokens | Mask) else "x".join(map(str, shape))


def inputs_text(inputs: Sequence[tuple[str, InputShape]]) -> str:
    """`left=1x8x8, question=9 of 27`."""
    return ", ".join(f"{name}={shape_text(shape)}" for name, shape in inputs)


def example_text(shapes: Sequence[InputShape]) -> str:
    """The arguments of a network in Python: `torch.zeros(1, 3, 64, 64), torch.zeros(1, 9, dtype=torch.int64)`."""
    sizes = [", ".join(map(str, (1, *size_of(shape)))) for shape in shapes]
    return ", ".join(
        f"torch.zeros({size}{', dtype=torch.int64' * isinstance(shape, Tokens)})"
        for size, shape in zip(sizes, shapes, strict=True)
    )


def zeros(shapes: Sequence[InputShape], batch: int, *, dtype: Any = None, device: Any = None) -> Inputs:
    """A batch of zeros for each input, floats of `dtype`."""
    import torch

    dtypes = [torch.int64 if isinstance(shape, Tokens) else dtype for shape in shapes]
    return tuple(
        torch.zeros(batch, *size_of(shape), dtype=one, device=device) for shape, one in zip(shapes, dtypes, strict=True)
    )


def cast(inputs: Inputs, dtype: Any) -> Inputs:
    """The floats among the inputs in another dtype; tokens stay whole numbers."""
    return tuple(one.to(dtype) if one.is_floating_point() else one for one in inputs)


def shapes_text(inputs: Inputs) -> str:
    """The shapes of a batch, for messages."""
    return " and ".join(str(tuple(one.shape)) for one in inputs)


def drawn(shapes: Sequence[InputShape], batch: int, draw: "Callable[..., Tensor]", generator: "Generator") -> Inputs:
    """A random batch for each input on the CPU: floats by `draw`, as torch.randn, others with equal chances."""
    import torch

    def one(shape: InputShape) -> "Tensor":
        if isinstance(shape, Tokens):
            return torch.randint(shape.vocabulary, (batch, shape.length), generator=generator, device="cpu")
        if isinstance(shape, Mask):
            return torch.randint(2, (batch, *shape), generator=generator, device="cpu").float()
        return draw(batch, *shape, generator=generator, device="cpu")

    return tuple(map(one, shapes))


def shapes_in(config: Mapping[str, Any]) -> tuple[InputShape, ...]:
    """The shapes of a network's inputs, by its `pretrained_cfg`; an image's may differ from them in size."""
    if "inputs" not in config:
        return (tuple(config["input_size"]),)
    return tuple(
        Tokens(one["shape"][0], one["vocabulary"])
        if "vocabulary" in one
        else Mask(*one["shape"][1:])
        if one.get("mask")
        else tuple(one["shape"])
        for one in config["inputs"].values()
    )


def config_of(shape: InputShape) -> dict[str, Any]:
    """An input in a network's `pretrained_cfg`, as `shapes_in` reads it."""
    own: dict[str, Any] = {"shape": tuple(size_of(shape))}
    if isinstance(shape, Tokens):
        own["vocabulary"] = shape.vocabulary
    return own | {"mask": True} if isinstance(shape, Mask) else own


_KEYS: dict[type, str] = {Tokens: "tokens", Mask: "mask"}
"""The key of the numbers that make an input of a kind, in plain data; of a shape of floats it is "shape"."""


def inputs_to_json(inputs: Sequence[tuple[str, InputShape]], moments: Sequence[Moments | None]) -> dict[str, Any]:
    """Inputs and their moments as plain data: those of one image as before there were others."""
    if [(name, len(shape)) for name, shape in inputs] == [("image", 3)] and moments[0] is not None:
        return {"shape": list(inputs[0][1]), "mean": list(moments[0][0]), "std": list(moments[0][1])}
    known = [
        {"name": name, _KEYS.get(type(shape), "shape"): list(shape)[isinstance(shape, Mask) :]}
        | ({} if own is None else {"mean": list(own[0]), "std": list(own[1])})
        for (name, shape), own in zip(inputs, moments, strict=True)
    ]
    return {"inputs": known}


def inputs_from_json(stored: Mapping[str, Any]) -> tuple[tuple[tuple[str, InputShape], ...], AllMoments]:
    """What `inputs_to_json` wrote: names and shapes, and the moments of the image or, of several inputs, by name."""
    if "inputs" not in stored:
        return (("image", tuple(stored["shape"])),), (tuple(stored["mean"]), tuple(stored["std"]))
    inputs: list[tuple[str, InputShape]] = []
    for one in stored["inputs"]:
        kind = next((kind for kind, key in _KEYS.items() if key in one), None)
        inputs.append((one["name"], tuple(one["shape"]) if kind is None else kind(*one[_KEYS[kind]])))
    moments = {one["name"]: (tuple(one["mean"]), tuple(one["std"])) for one in stored["inputs"] if "mean" in one}
    return tuple(inputs), moments
