"""The task: the inputs and outputs for which an architecture is built, checked, measured and stored."""

import re
from dataclasses import dataclass

from hadnas.errors import SpecError, cut
from hadnas.inputs import SHAPES_ALLOWED, InputShape, Mask, Tokens, inputs_text, is_shape
from hadnas.limits import WIDTH
from hadnas.targets import ONE_OF, TARGET_KINDS, TargetKind

_NAME = re.compile(r"[\w .-]+")


@dataclass(frozen=True)
class Task:
    """Named inputs with their shapes, and a target of `outputs` classes, labels or values.

    inputs: ((name, shape), ...), in the order of the model's arguments; a mapping is accepted too. A shape is (C, H, W)
        of an image or a map, (K,) of a vector, `Mask` or `Tokens`.
    target: one of `outputs` classes, any of `outputs` labels, or `outputs` values.
    Raises SpecError unless every size is an integer from 1 to 2**20, names differ and the target is of a known kind.
    """

    inputs: tuple[tuple[str, InputShape], ...]
    outputs: int
    target: TargetKind = "classes"

    def __post_init__(self) -> None:
        items = self.inputs.items() if isinstance(self.inputs, dict) else self.inputs
        try:
            inputs = tuple(
                (str(name), shape if isinstance(shape, Tokens | Mask) else tuple(shape)) for name, shape in items
            )
        except (TypeError, ValueError):  # no pairs, or a shape that is a number
            found = f"task: inputs = {cut(self.inputs)}; allowed are names with their shapes, {SHAPES_ALLOWED}"
            raise SpecError(found) from None
        object.__setattr__(self, "inputs", inputs)
        sizes = [("outputs", self.outputs)] + [(name, size) for name, shape in self.inputs for size in shape]
        for name, size in sizes:
            if type(size) is not int or not 1 <= size <= WIDTH:
                raise SpecError(f"task: {name} has the size {cut(size)}; allowed is an integer from 1 to {WIDTH:,}")
        if not self.inputs:
            raise SpecError("task: no inputs; give at least one, such as {'image': (3, 224, 224)}")
        for name, shape in self.inputs:
            if not _NAME.fullmatch(name):  # it is part of keys, of exported code and of MLflow's signatures
                raise SpecError(f"task: an input is named {cut(name)}; allowed are letters, digits, space and _ . -")
            if not is_shape(shape):
                raise SpecError(f"task: the input {name} has the shape {cut(shape)}; allowed are {SHAPES_ALLOWED}")
        if len(names := [name for name, _ in self.inputs]) != len(set(names)):
            raise SpecError(f"task: the inputs are named {', '.join(names)}; each name is unique")
        if self.target not in TARGET_KINDS:
            raise SpecError(f"task: target = {cut(self.target)}; allowed are {', '.join(TARGET_KINDS)}")

    @classmethod
    def image(cls, channels: int, height: int, width: int, **outputs: int) -> "Task":
        """A task of one image of (channels, height, width) with `classes=N`, `labels=N` or `values=N`.

        Raises SpecError unless exactly one of them is given.
        """
        if len(outputs) != 1 or next(iter(outputs)) not in TARGET_KINDS:
            raise SpecError(f"task: {cut(outputs)}; give one of {', '.join(f'{kind}=N' for kind in TARGET_KINDS)}")
        [(target, count)] = outputs.items()
        return cls((("image", (channels, height, width)),), count, target)  # type: ignore[arg-type]

    @property
    def shapes(self) -> tuple[InputShape, ...]:
        """The shape of each input, in the order of the model's arguments."""
        return tuple(shape for _, shape in self.inputs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the only input. Raises SpecError if there is not exactly one image."""
        if len(self.inputs) != 1 or len(self.inputs[0][1]) != 3:
            raise SpecError(f"task {self}: one image input (C, H, W) is needed here")
        channels, height, width = self.inputs[0][1]
        return channels, height, width

    @property
    def target_text(self) -> str:
        """The target in words: "10 classes", "1 value"."""
        return f"{self.outputs} {ONE_OF[self.target] if self.outputs == 1 else self.target}"

    def __str__(self) -> str:
        """The key under which figures are stored: `image=1x8x8 -> 10`, with ` labels` or ` values` unless classes."""
        return f"{inputs_text(self.inputs)} -> {self.outputs}" + f" {self.target}" * (self.target != "classes")
