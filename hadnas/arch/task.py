"""The task: the inputs and outputs for which an architecture is built, checked, measured and stored."""

from dataclasses import dataclass

from hadnas.errors import SpecError, cut
from hadnas.limits import WIDTH
from hadnas.targets import ONE_OF, TARGET_KINDS, TargetKind


@dataclass(frozen=True)
class Task:
    """Named inputs with their shapes, and a target of `outputs` classes, labels or values.

    inputs: ((name, (C, H, W)), ...), in the order of the model's arguments; a mapping is accepted too.
    target: one of `outputs` classes, any of `outputs` labels, or `outputs` values.
    Raises SpecError unless every size is an integer from 1 to 2**20 and the target is of a known kind.
    """

    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: int
    target: TargetKind = "classes"

    def __post_init__(self) -> None:
        items = self.inputs.items() if isinstance(self.inputs, dict) else self.inputs
        object.__setattr__(self, "inputs", tuple((str(name), tuple(shape)) for name, shape in items))
        sizes = [("outputs", self.outputs)] + [(name, size) for name, shape in self.inputs for size in shape]
        for name, size in sizes:
            if type(size) is not int or not 1 <= size <= WIDTH:
                raise SpecError(f"task: {name} has the size {cut(size)}; allowed is an integer from 1 to {WIDTH:,}")
        if not self.inputs:
            raise SpecError("task: no inputs; give at least one, such as {'image': (3, 224, 224)}")
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
        inputs = ", ".join(f"{name}={'x'.join(map(str, shape))}" for name, shape in self.inputs)
        return f"{inputs} -> {self.outputs}" + f" {self.target}" * (self.target != "classes")
