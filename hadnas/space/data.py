"""A search space as plain JSON data and back, so that a study can be stored and compared whole."""

from typing import Any

from hadnas.errors import SpecError
from hadnas.space.choices import Choice, IntRange, Repeat, Scalar, int_range, one_of, repeat


def as_data(space: Any) -> Any:
    """`space` as dicts, lists and scalars: a choice becomes `{"one_of": [...], "name": ...}` and so on."""
    if isinstance(space, Choice):
        return {"one_of": [as_data(option) for option in space.options], "name": space.name}
    if isinstance(space, IntRange):
        return {"int_range": [space.low, space.high, space.step], "name": space.name}
    if isinstance(space, Repeat):
        return {"repeat": as_data(space.item), "times": as_data(space.times)}
    if isinstance(space, dict):
        return {key: as_data(value) for key, value in space.items()}
    if isinstance(space, list | tuple):
        return [as_data(item) for item in space]
    if isinstance(space, Scalar):
        return space
    raise SpecError(f"a search space holds {space!r}; allowed are dicts, lists, scalars and choices")


def from_data(data: Any) -> Any:
    """The space that `as_data` wrote."""
    if isinstance(data, list):
        return [from_data(item) for item in data]
    if not isinstance(data, dict):
        return data
    keys = set(data)  # a node's own slot may be called `repeat`
    if keys == {"one_of", "name"}:
        return one_of(*(from_data(option) for option in data["one_of"]), name=data["name"])
    if keys == {"int_range", "name"}:
        return int_range(*data["int_range"], name=data["name"])
    if keys == {"repeat", "times"}:
        return repeat(from_data(data["repeat"]), from_data(data["times"]))
    return {key: from_data(value) for key, value in data.items()}
