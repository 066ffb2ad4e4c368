"""A search space as plain JSON data and back, so that a study can be stored and compared whole."""

from typing import Any

from hadnas.errors import SpecError, at, cut
from hadnas.plain import plain
from hadnas.space.choices import ROOT, Choice, IntRange, Repeat, int_range, join, one_of, repeat

_FORMS = {
    "one_of": {"one_of": "[option, ...]", "name": "None or a name"},
    "int_range": {"int_range": "[low, high, step]", "name": "None or a name"},
    "repeat": {"repeat": "item", "times": "an integer or a choice"},
}


def as_data(space: Any) -> Any:
    """`space` as dicts, lists and scalars: a choice becomes `{"one_of": [...], "name": ...}` and so on.

    Raises SpecError with the path of a value that is neither plain data nor a choice.
    """
    return plain(space, _written)


def _written(choice: Any) -> dict[str, Any] | None:
    if isinstance(choice, Choice):
        return {"one_of": choice.options, "name": choice.name}
    if isinstance(choice, IntRange):
        return {"int_range": [choice.low, choice.high, choice.step], "name": choice.name}
    if isinstance(choice, Repeat):
        return {"repeat": choice.item, "times": choice.times}
    return None


def from_data(data: Any, path: str = "") -> Any:
    """The space that `as_data` wrote. Raises SpecError with the path of a malformed choice."""
    if isinstance(data, list):
        return [from_data(item, join(path, index)) for index, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    inner = {key: from_data(value, join(path, key)) for key, value in data.items()}
    kind = next((kind for kind in _FORMS if kind in inner), None)
    if kind is None or "op" in inner:  # a node's own slot may be called `repeat`
        return inner
    with at(path or ROOT):
        numbers = inner[kind]
        fits = kind == "repeat" or (isinstance(numbers, list) and (kind == "one_of" or len(numbers) == 3))
        if set(inner) != set(_FORMS[kind]) or not fits:
            raise SpecError(f"found {cut(data)}; a choice is {_FORMS[kind]}")
        if kind == "repeat":
            return repeat(inner["repeat"], inner["times"])
        return (one_of if kind == "one_of" else int_range)(*numbers, name=inner["name"])
