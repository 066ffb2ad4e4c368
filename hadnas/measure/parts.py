"""Costs of networks whose parts run one after another: each part is counted once, and the counts are summed."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields

from torch import nn

from hadnas.measure.cost import Counts, Form, counted

Part = tuple[Hashable, Callable[[], nn.Module]]
"""A key and a function that makes a module on the meta device; equal keys mean equal modules."""


class PartCounts:
    """Counts networks part by part, and remembers parts by key and form of input; the counts equal those of `cost`."""

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, Form], tuple[Counts, Form]] = {}

    def count(self, parts: Iterable[Part], shape: tuple[int, int, int]) -> Counts:
        """The counts of parts that run one after another on an input (1, *shape), shape = (C, H, W).

        Parts share no parameters. Raises MeasurementError as `cost` does, and errors of making a module.
        """
        form, found = Form.of_image(shape), []
        for key, make in parts:
            if (key, form) not in self._known:
                self._known[key, form] = counted(make(), form)
            counts, form = self._known[key, form]
            found.append(counts)
        return Counts(**{field.name: sum(getattr(one, field.name) for one in found) for field in fields(Counts)})
