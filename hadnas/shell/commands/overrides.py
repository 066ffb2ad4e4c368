"""A study changed by options of the command line, checked like the study itself."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from hadnas.errors import SpecError, cut
from hadnas.inputs import InputShape, Mask, Tokens
from hadnas.limits import WIDTH
from hadnas.measure.figures import VAL, Figure, constraints
from hadnas.paths import as_path
from hadnas.plain import from_json
from hadnas.shell.commands import SOURCES

if TYPE_CHECKING:
    from hadnas.store.study import Study

AUGMENTATIONS = "none, shift, shift_flip, timm, or a policy such as rand-m9-mstd0.5"
"""Values of a recipe's `augment`, for help."""

setting = partial(click.option, show_default="the study's")
"""An option that changes a setting of the study."""

_SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9}


def limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every figure that may be a constraint: `--max-latency` for `latency_ms`."""
    return _limited(command, "max-", setting)


def at_most(command: Callable[..., None]) -> Callable[..., None]:
    """The same as `--latency` and so on, for a choice among trained networks; `chosen_limits` reads them."""
    return _limited(command, "", partial(click.option, show_default="no limit"))


def chosen_limits(given: Mapping[str, str | None]) -> dict[str, float]:
    """The limits by the names of their figures. Raises SpecError for a value that is not allowed."""
    found = {}
    for option, figure in _options("").items():
        text = given[option.removeprefix("--").replace("-", "_")]
        if text is not None:
            found[figure.name] = _number(text, option, figure)
    return found


def _limited(command: Callable[..., None], prefix: str, option: Callable[..., Any]) -> Callable[..., None]:
    for name, figure in reversed(_options(prefix).items()):
        text = f"Limit on {figure.label}, such as {_example(figure)}."
        command = option(name, metavar="MS" if figure.unit == "ms" else "N", help=text)(command)
    return command


def judging(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for the metric and for classes of unequal size."""
    for option in (
        click.option("--balanced", is_flag=True, help="Draw as many training examples of each class."),
        setting("--class-weights", metavar="LIST", help="Weights of the classes in the loss: balanced, or 1,2.5."),
        setting("--metric", metavar="NAME", help="What networks are judged by, such as balanced_accuracy."),
    ):
        command = option(command)
    return command


def _options(prefix: str) -> dict[str, Figure]:
    names = ((figure.name.removesuffix(f"_{figure.unit}").replace("_", "-"), figure) for figure in constraints())
    return {f"--{prefix}{name}": figure for name, figure in names}


def _example(figure: Figure) -> str:
    return "50M" if figure.source == "cost" else f"2.5{figure.unit}"


def updated_study(
    study: "Study",
    *,
    trials: int | None = None,
    data: str | None = None,
    val_fraction: float | None = None,
    objectives: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    augment: str | None = None,
    recipe: Sequence[str] = (),
    seed: int | None = None,
    sampler: str | None = None,
    rungs: str | None = None,
    patience: int | None = None,
    metric: str | None = None,
    class_weights: str | None = None,
    balanced: bool = False,
    name: str | None = None,
    backends: str | None = None,
    baselines: Sequence[str] = (),
    no_baselines: bool = False,
    **others: Any,
) -> "Study":
    """`study` with every setting that is not None. Raises SpecError or UnknownName as the study itself does.

    `recipe` are settings such as `weight_decay=0.1`; `others` are values of the options that `limits` and `reading`
    add, such as `max_macs="50M"` or `size=64`. A study on other data is another study: without `name`, it is named
    `<study>-<data>`, and without baselines they are chosen when it begins.
    """
    from pydantic import ValidationError

    from hadnas.store.study import Study, one_sentence
    from hadnas.train.data.spec import READING

    fields: dict[str, Any] = {key: getattr(study, key) for key in Study.model_fields}
    given = {"trials": trials, "seed": seed, "sampler": sampler, "patience": patience, "name": name}
    fields |= {key: value for key, value in given.items() if value is not None}
    if data is not None and not data.strip():
        raise SpecError(f"--data is empty; allowed are {SOURCES}")
    reading: dict[str, Any] = {name: value for name in READING if (value := others.pop(name, None))}
    reading |= {} if val_fraction is None else {"val_fraction": val_fraction}
    other = data if data != study.data.source else None
    if other or reading:
        columns = {*READING} - {"size", "skip_bad", "inputs"}  # of the study's own table
        kept = study.data.model_dump(exclude=columns if other else None)
        fields["data"] = kept | reading | ({"source": other} if other else {})
    if other:
        fields["baselines"] = study.baselines or None
        fields["name"] = name or f"{study.name}-{_name_of(other)}"
    if baselines or no_baselines:
        fields["baselines"] = _baselines(baselines, no_baselines)
    if objectives is not None:
        fields["objectives"] = _listed(objectives)
    if backends is not None:
        fields["backends"] = _listed(backends)
    if rungs is not None:
        fields["rungs"] = _rungs(rungs)
    if metric is not None:
        judge = study.metric_figure
        fields["metric"] = metric
        if objectives is None:
            fields["objectives"] = [f"{VAL}{metric}" if one == judge else one for one in study.objectives]
    chosen: dict[str, Any] = {"epochs": epochs, "batch": batch, "lr": lr, "augment": augment}
    chosen["sampling"] = "balanced" if balanced else None
    chosen["class_weights"] = None if class_weights is None else _weights(class_weights)
    chosen = {key: value for key, value in chosen.items() if value is not None}
    fields["recipe"] = study.recipe.model_dump(exclude_unset=True) | _settings(recipe, chosen) | chosen
    fields["constraints"] = dict(study.constraints)
    for key, text in others.items():
        option = f"--{key.replace('_', '-')}"
        figure = _options("max-")[option]
        if text is not None:
            fields["constraints"][figure.name] = _number(text, option, figure)
    try:
        return Study(**fields)
    except ValidationError as error:
        raise one_sentence(error) from None


def _name_of(data: str) -> str:
    """A study's name from that of its data: of a folder or file, or of a table with its folder, after any `KIND:`."""
    from hadnas.train.data.spec import TABLES

    kind, colon, file = data.rpartition(":")
    path = PurePath(file)
    parts = [as_path(file).absolute().parent.name, path.stem] if path.suffix.lower() in TABLES else [path.name]
    name = f"{PurePath(kind).name}{colon}{'-'.join(parts).removesuffix('.npz')}"
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in name)


def _baselines(names: Sequence[str], none: bool) -> dict[str, Any]:
    """Architectures by name: timm's names as they are, published networks and files as nodes, as `load_named`."""
    if names and none:
        raise SpecError("--baseline and --no-baselines are both given; one of them is allowed")
    from hadnas.library import load_named, shipped

    known = [
        name
        for name in dict.fromkeys(names)
        if name.endswith(".json") or as_path(name).is_dir() or name in shipped("published")
    ]
    loaded = {name: arch.node for name, arch in load_named(known).items()}
    return {**loaded, **{name: name for name in names if name not in known}}


def sides(text: str, others: str = "") -> tuple[int, int, int]:
    """`3x224x224` as (3, 224, 224). Raises SpecError for anything else; `others` are the other forms allowed."""
    found = re.fullmatch(r"([0-9]{1,7})x([0-9]{1,7})x([0-9]{1,7})", text.lower())
    channels, height, width = map(int, found.groups()) if found else (0, 0, 0)
    if not all(1 <= side <= WIDTH for side in (channels, height, width)):
        allowed = f"channels, height and width from 1 to {WIDTH:,}, such as 3x224x224{others}"
        raise SpecError(f"--size {cut(text)} is not allowed; allowed is {allowed}")
    return channels, height, width


def input_size(text: str) -> InputShape:
    """`3x64x64` as (3, 64, 64), `4` as (4,), `mask64x64` as Mask(64, 64), `9of27` as Tokens(9, 27).

    Raises SpecError for anything else.
    """
    if found := re.fullmatch(r"mask ?([0-9]{1,7}x[0-9]{1,7})", text.lower()):
        return Mask(*sides(f"1x{found[1]}")[1:])
    if found := re.fullmatch(r"([0-9]{1,7})(?:of([0-9]{1,7}))?", text.replace(" ", "")):
        sizes = tuple(int(size) for size in found.groups() if size)
        if all(1 <= size <= WIDTH for size in sizes):
            return sizes if len(sizes) == 1 else Tokens(*sizes)
    return sides(text, ", K of a vector, mask64x64, or 9of27 of 9 tokens of 27")


def _listed(text: str) -> list[str]:
    """`compile,onnxruntime` as its parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _settings(given: Sequence[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """`["weight_decay=0.1"]` as fields of a recipe: numbers, true, false and null as in JSON, all else as text."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key in found or key in named:
            twice = f"; {key} is given twice" if equals else ""
            raise SpecError(f"--recipe {cut(text)} is not allowed{twice}; allowed is a setting such as lr=0.002, once")
        try:
            found[key] = from_json(value)
        except SpecError:
            found[key] = value
    return found


def _rungs(text: str) -> list[int]:
    """`2,4` as [2, 4], `none` as []."""
    parts = [part.strip() for part in text.split(",")] if text.strip().lower() != "none" else []
    if not all(re.fullmatch("[0-9]{1,7}", part) for part in parts):
        raise SpecError(f"--rungs {cut(text)} is not allowed; allowed are epochs such as 2,4, or none")
    return [int(part) for part in parts]


def _weights(text: str) -> str | list[float]:
    """`balanced` as it is, `1,2.5` as [1.0, 2.5]."""
    if text.strip().lower() == "balanced":
        return "balanced"
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(
            f"--class-weights {cut(text)} is not allowed; allowed are numbers such as 1,2.5, or balanced"
        ) from None


def _number(text: str, option: str, figure: Figure) -> float:
    """`50M` as 50e6 for a cost, `5ms` as 5 for a latency."""
    number = text.strip().lower().removesuffix(figure.unit)
    suffix = number[-1:] if figure.source == "cost" and number[-1:] in _SUFFIXES else ""
    try:
        value = float(number.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1.0)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        allowed = f"a number above 0{f', in {figure.unit}' * bool(figure.unit)}, such as {_example(figure)}"
        raise SpecError(f"{option} {cut(text)} is not allowed; allowed is {allowed}")
    return value
