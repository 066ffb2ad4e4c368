"""What a study leaves open, decided by its images before it begins: the batch of few images, and baselines by cost."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from hadnas.arch.random import distinct
from hadnas.arch.task import Task
from hadnas.errors import HadnasError, StudyError, UnknownName
from hadnas.hosts.build import build_plan
from hadnas.hosts.graft.weights import Expected, described, named_weights
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.measure.figures import values
from hadnas.search.evaluate import overruns
from hadnas.space.choices import Choice
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.store.study_store import stored_study
from hadnas.train.data.reader import options_of
from hadnas.train.data.spec import DataSpec

CANDIDATES = 9
"""Random candidates, the median of whose MACs is the size of the baselines."""

TIMM_FAMILIES = (
    ("test_resnet", "resnet10t", "resnet18", "resnet50"),
    ("test_efficientnet", "mobilenetv3_small_050", "mobilenetv3_large_100", "efficientnet_b0"),
    ("test_convnext", "convnext_atto", "convnext_tiny"),
)
"""timm models that may be baselines, by family, from small to large."""

_WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def fitting_batch(study: Study, images: int) -> tuple[Study, tuple[str, ...]]:
    """The study with a batch for so many training images, and notes.

    A default batch is lowered to the largest power of two that gives four steps an epoch. Raises StudyError for a batch
    that was set and is larger than the split.
    """
    batch = study.recipe.batch
    if batch <= images:
        return study, ()
    if "batch" in study.recipe.model_fields_set:
        fits = f"{images} images; set a smaller one with --batch or in the study's Recipe"
        raise StudyError(f"batch = {batch} is larger than the training split of {fits}")
    fitting = 2 ** max(1, int(math.log2(max(1, images / 4))))
    if fitting > images:
        raise StudyError(f"the training split has {images} image; two or more are needed")
    recipe = study.recipe.model_copy(update={"batch": fitting})
    note = f"batch = {fitting} instead of {batch}, as the training split has {images} images; --batch sets another"
    return study.model_copy(update={"recipe": recipe}), (note,)


def images_of_weights(spec: DataSpec, space: Any) -> DataSpec:
    """Images as the weights in a search space or architecture expect them: by their mean and std, and files their size.

    Weights that differ in this change nothing. Raises StudyError if they cannot be read.
    """
    found = {described(model, weights).images for model, weights in _parents(space)}
    return images_as(spec, found.pop()) if len(found) == 1 else spec


def images_as(spec: DataSpec, wanted: Expected | None) -> DataSpec:
    """Images as weights expect them, if that is known; what the spec sets itself stays."""
    if wanted is None or spec.mean:
        return spec
    (_, height, width), update = wanted.shape, {"mean": wanted.mean, "std": wanted.std}
    if spec.size is None and height == width and "size" in options_of(spec.source):
        return spec.model_copy(update={**update, "size": height})
    return spec.model_copy(update=update)


def _parents(space: Any) -> Iterator[tuple[str, str]]:
    """Models and named weights of the networks of timm in a search space."""
    if isinstance(space, dict) and space.get("op") == "timm":
        for model, weights in product(*(_options(space.get(key)) for key in ("model", "weights"))):
            if (named := named_weights(model, weights)) is not None:
                yield model, named
    elif isinstance(space, dict | list | tuple):
        for value in space.values() if isinstance(space, dict) else space:
            yield from _parents(value)
    elif isinstance(space, Choice):
        yield from _parents(space.options)


def _options(value: Any) -> list[Any]:
    """What a choice may give, its choices included."""
    return [one for option in value.options for one in _options(option)] if isinstance(value, Choice) else [value]


def chosen_baselines(study: Study, task: Task, home: Home) -> tuple[Study, tuple[str, ...]]:
    """The study with baselines, if it leaves them open, and notes.

    They are those stored, if the study began before; else a plain convolution and two timm models of two families, with
    MACs nearest to the median of random candidates within the limits on costs.
    """
    if study.baselines is not None:
        return study, ()
    try:
        stored, _ = stored_study(study.name, home)
        return study.model_copy(update={"baselines": stored.baselines}), ()
    except (UnknownName, StudyError):  # new, or interrupted before it began
        pass
    if len(task.inputs) != 1 or len(task.shapes[0]) != 3:
        return study.model_copy(update={"baselines": {}}), (
            "no baselines: there are none for other inputs than an image",
        )
    macs = _median(study, task)
    if macs is None:
        return study.model_copy(update={"baselines": {}}), ("no baselines: no random candidate can be built",)
    plain = _nearest([("plain_conv", plain_conv(task, width)) for width in _WIDTHS], macs, task)
    families = [[(name, {"op": "timm", "model": name}) for name in names] for names in TIMM_FAMILIES]
    models = [_nearest(family, macs, task) for family in families]
    fitting = sorted((model for model in models if model is not None), key=lambda model: model.distance)
    chosen = ([plain] if plain else []) + fitting[:2]
    named = ", ".join(f"{one.name} {one.macs / 1e6:.3g}M" for one in chosen) or "none fits the images"
    note = f"{named} MACs, near {macs / 1e6:.3g}M, the median of {CANDIDATES} random candidates; others with --baseline"
    return study.model_copy(update={"baselines": {one.name: one.node for one in chosen}}), (f"baselines: {note}",)


def plain_conv(task: Task, width: int) -> dict[str, Any]:
    """3x3 convolutions of stride 2 that double the width, down to a map of about 8 pixels a side."""
    sides = task.shape[1:]
    large = max(sides) > 64
    side = min(sides) / (4 if large else 1)
    stem = {"kernel": 7, "stride": 4} if large else {"stride": 1}
    down = {"op": "conv_norm", "act": "relu"}
    depth = max(2, round(math.log2(max(1.0, side / 8))))
    return {
        "op": "pyramid",
        "stem": {"op": "conv_norm", "dim": width, "act": "relu", **stem},
        "stages": [{"dim": width * 2 ** (stage + 1), "down": down, "blocks": []} for stage in range(depth)],
        "norm": None,
        "head": {"op": "pooled_linear"},
    }


def _median(study: Study, task: Task) -> float | None:
    """The median MACs of random candidates within the limits on costs; of all, if none is within."""
    within, all_macs = [], []
    for arch in islice(distinct(study.space, task, 0), CANDIDATES):
        try:
            found = cost(build_plan(make_plan(arch.node, task), device="meta"), *task.shapes)
        except HadnasError:
            continue
        all_macs.append(found.macs)
        if all(over <= 0 for over in overruns(study.constraints, values("cost", found)).values()):
            within.append(found.macs)
    return statistics.median(within or all_macs) if all_macs else None


@dataclass(frozen=True)
class _Sized:
    """A network with its MACs, and the logarithm of their ratio to those wanted."""

    name: str
    node: dict[str, Any]
    macs: int
    distance: float


def _nearest(nodes: Sequence[tuple[str, dict[str, Any]]], wanted: float, task: Task) -> _Sized | None:
    """Of networks from small to large the nearest to the wanted MACs; None if none fits the images."""
    found: list[_Sized] = []
    for name, node in nodes:
        try:
            macs = cost(build_plan(make_plan(node, task), device="meta"), *task.shapes).macs
        except HadnasError:
            continue
        found.append(_Sized(name, node, macs, abs(math.log(macs / wanted))))
        if macs > wanted:
            break
    return min(found, key=lambda one: one.distance, default=None)
