"""Costs of networks whose parts run one after another: each part is counted once, and the counts are summed."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields

from torch import nn

from hadnas.inputs import InputShape
from hadnas.measure.cost import Counts, Form, counted

Part = tuple[Hashable, Callable[[], nn.Module]]
"""A key and a function that makes a module on the meta device; equal keys mean equal modules."""


class PartCounts:
    """Counts networks part by part, and remembers parts by key and form of input; the counts equal those of `cost`."""

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, tuple[Form, ...]], tuple[Counts, tuple[Form, ...]]] = {}

    def count(self, parts: Iterable[Part], *shapes: InputShape) -> Counts:
        """The counts of parts that run one after another, the first on inputs (1, *shape), a shape for each.

        A part reads what the one before it returns, a tensor or a tuple of them. Parts share no parameters. Raises
        MeasurementError as `cost` does, and errors of making a module.
        """
        forms, found = tuple(Form.of_inputs(shapes)), []
        for key, make in parts:
            if (key, forms) not in self._known:
                self._known[key, forms] = counted(make(), *forms)
            counts, forms = self._known[key, forms]
            found.append(counts)
        return Counts(**{field.name: sum(getattr(one, field.name) for one in found) for field in fields(Counts)})
