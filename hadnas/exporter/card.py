"""The model card of an exported network: its architecture, use, figures, data, recipe and their limits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import timm

from hadnas.arch.node import nodes
from hadnas.errors import markdown
from hadnas.exporter.onnx_file import input_names
from hadnas.hosts.host import Plan, normalisation_text
from hadnas.inputs import AllMoments, Tokens, example_text, inputs_text, shape_text, size_of
from hadnas.measure.figures import shown_in
from hadnas.measure.metrics.metric import METRICS
from hadnas.measure.onnx import OUTPUT
from hadnas.targets import ONE_OF, TargetKind


@dataclass(frozen=True)
class Single:
    """A metric on `n` images, with its standard error."""

    metric: str
    value: float
    standard_error: float
    n: int

    def __str__(self) -> str:
        text = METRICS[self.metric].text
        return f"{text(self.value)} ± {text(self.standard_error)} (one standard error, n = {self.n:,})"


@dataclass(frozen=True)
class Repeated:
    """The mean of a metric over `seeds` trainings and `n` images, with its 95 % interval.

    With one seed, the interval counts the images only.
    """

    metric: str
    mean: float
    low: float
    high: float
    seeds: int
    n: int

    def __str__(self) -> str:
        text = METRICS[self.metric].text
        seeds = f"{self.seeds} fresh seeds" if self.seeds > 1 else "one fresh seed"
        over = "" if self.seeds > 1 else " over the images only"
        interval = f"{text(self.low)} to {text(self.high)}, 95 % interval{over}"
        return f"{text(self.mean)} ({interval}; {seeds}, n = {self.n:,})"


@dataclass(frozen=True)
class Facts:
    """Plain values about a network other than its architecture; unknown ones are empty.

    origin      its origin, such as {"study": "digits", "trial": "trial-0005"}; also in the code's docstring
    scores      split -> the metric after the last epoch: "validation", and "test" only if that split was opened
    figures     costs and latency, by their names in MLflow
    protocol    of the latency, from `hadnas.measure.latency.latency.protocol`
    data        the training data and their splits
    recipe      of the training, with the seed
    limits      sentences on the limits of the figures
    """

    origin: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Single | Repeated] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


OUTPUTS: dict[TargetKind, str] = {"classes": "logits", "labels": "logits", "values": "values"}
"""The name of a network's outputs in code for its users."""

_KINDS: dict[TargetKind, str] = {
    "classes": "A classifier of {shape} images (channels x height x width) into {outputs} classes",
    "labels": "A network that judges each of {outputs} labels of {shape} images (channels x height x width)",
    "values": "A network that predicts {outputs} values of {shape} images (channels x height x width)",
}

_KINDS_OF_SEVERAL: dict[TargetKind, str] = {
    "classes": "A classifier of the inputs {shape} into {outputs} classes",
    "labels": "A network that judges each of {outputs} labels of the inputs {shape}",
    "values": "A network that predicts {outputs} values of the inputs {shape}",
}

_MEANINGS: dict[TargetKind, str] = {
    "classes": "",
    "labels": "\n`logits.sigmoid()` are the probabilities of the labels, each on its own.\n",
    "values": "\nThe values are in the units of the training data: nothing is left to scale.\n",
}


def card(
    plan: Plan,
    facts: Facts,
    moments: AllMoments | None,
    class_names: Sequence[str],
    licence: str,
    needed: str,
    *,
    trained: bool,
    class_map: str = "",
    onnx: bool = False,
) -> str:
    """The Markdown of README.md.

    `licence` is the licence of the code, `needed` names the packages it imports, `trained` whether the weights are
    trained, `class_map` is the file of class names or "", `onnx` whether model.onnx exists.
    """
    task = plan.task
    one = len(task.inputs) == 1
    shape = shape_text(task.shapes[0]) if one else inputs_text(task.inputs)
    if any(isinstance(own, Tokens) for own in task.shapes):
        shape += " (tokens of a vocabulary)"
    order = "outputs" if task.target == "values" else "logits"
    about = (_KINDS if one else _KINDS_OF_SEVERAL)[task.target].format(shape=shape, outputs=task.outputs)
    parts = [
        f"# {plan.name}",
        f"{about}, built and written by hadnas." + ("" if trained else " Its weights are random: it is not trained."),
        f"```\n{plan.arch.tree()}\n```",
        "## Use",
        _use(plan, needed, moments, class_map),
    ]
    if class_names:
        places = [*([f"`{class_map}`"] if class_map else []), '`network.pretrained_cfg["label_names"]`', "`arch.json`"]
        parts.append(
            f"The names of the {task.target}, in the order of the {order}: {', '.join(places)}, and the weights' "
            "metadata."
        )
    if onnx:
        known = zip(input_names(task), task.shapes, strict=True)
        read = " and ".join(
            f"`{name}` (any batch, {', '.join(map(str, size_of(size)))}), "
            f"{'int64' if isinstance(size, Tokens) else 'float32'},"
            for name, size in known
        )
        parts.append(
            f"`model.onnx` is the same network for ONNX Runtime: {read} to `{OUTPUT}` (batch, {task.outputs})."
        )
    if figures := _figures(facts):
        parts += ["## Measured", _table(("figure", "", "meaning"), figures)]
    if facts.protocol:
        parts.append(_protocol(facts.protocol))
    data = {"shape" if one else "inputs": shape, task.target: task.outputs}
    if class_names:
        data[f"{ONE_OF[task.target]} names, in the order of the {order}"] = ", ".join(class_names)
    data |= facts.data
    for name, (mean, std) in ({"": moments} if isinstance(moments, tuple) else moments or {}).items():
        of = f" of {name}" if name else ""
        data |= {f"mean of each channel{of}": _numbers(mean), f"standard deviation{of}": _numbers(std)}
    parts += ["## Data", _table(("images", ""), data.items())]
    if facts.recipe:
        parts += ["## Training", _table(("setting", ""), facts.recipe.items())]
    if facts.limits:
        parts += ["## Limits", "\n".join(f"- {markdown(limit)}" for limit in facts.limits)]
    if facts.origin:
        parts += ["## Origin", _table(("what", ""), facts.origin.items())]
    rights = "The licence of the training images may restrict the use of the weights." if trained else ""
    parts += ["## Licence", f"{licence} {rights}".strip()]
    return "\n\n".join(parts) + "\n"


def _use(plan: Plan, needed: str, moments: AllMoments | None, class_map: str) -> str:
    size = " ".join(map(str, plan.task.shapes[0]))
    mean, std = (f'`network.pretrained_cfg["{name}"]`' for name in ("mean", "std"))
    normalisation = normalisation_text(moments or ({} if len(plan.task.inputs) > 1 else None), mean, std)
    options = f"{size} --class-map {class_map}" if class_map else size
    by_name = f"""
`import model` also registers it with timm: `timm.create_model("{plan.name}", pretrained=True)`, with
`features_only`, `num_classes` and timm's other arguments."""
    if plan.task.target == "classes":
        by_name += f""" timm's training script trains it, too:
`PYTHONPATH=. python train.py DATA --device-modules model --model {plan.name} --input-size {options}`."""
    by_name = f"{by_name}\n" if len(plan.task.inputs) == 1 else ""
    pools = (str(node.get("pool")) for node in nodes(plan.arch.node))
    if pool := next((pool for pool in pools if "avgmax" in pool), ""):
        by_name += f"\nTorchScript does not compile timm's pooling `{pool}`; `torch.export` and ONNX support it.\n"
    return f"""Needs {needed}, not hadnas (written with timm {timm.__version__}). In this folder, or with it on
Python's path:

```python
import torch
from model import build_model

network = build_model(pretrained=True).eval()
{OUTPUTS[plan.task.target]} = network({example_text(plan.task.shapes)})
```
{_MEANINGS[plan.task.target]}{by_name}
{normalisation}"""


def _figures(facts: Facts) -> list[tuple[str, str, str]]:
    scores = [
        (
            f"{split} {one.metric.replace('_', ' ')}",
            str(one),
            "" if one.metric == "accuracy" else METRICS[one.metric].about,
        )
        for split, one in facts.scores.items()
    ]
    known = [figure for figure in shown_in("card") if figure.name in facts.figures]
    return scores + [(figure.label, figure.text(facts.figures[figure.name]), figure.about) for figure in known]


def _protocol(used: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in used["versions"].items())
    device, versions = markdown(used["device_name"]), markdown(versions)
    return (
        "MACs and operations are those of one image. Latency is that of one forward pass: "
        f"batch {used['batch']}, {used['dtype']}, {used['memory_format']}, backend {used['backend']}, "
        f"{used['device']} ({device}), {used['threads']} thread{'s' if used['threads'] != 1 else ''}, "
        f"{versions}; the ratio is to the fixed network {used['reference']}, timed alternately with this one."
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([*map(markdown, row)] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
