"""Writes the pages of lists from the code: `python -m docs.generate`. A test fails while a page is stale."""

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click

import hadnas
from hadnas.blocks.registry import Op, ops
from hadnas.contract.cases import defaults
from hadnas.contract.formula import LINES, compute, degree, lines
from hadnas.library import load, shipped
from hadnas.measure.cost import Cost
from hadnas.measure.figures import TABLE
from hadnas.shell.cli import main
from hadnas.space import size

DOCS = Path(__file__).parent
NOTE = "<!-- written by `python -m docs.generate`: change the code, not this page -->"
TITLES = {
    "block": "Blocks",
    "masked": "Layers of maps with holes",
    "merge": "Merges",
    "residual": "Residuals",
    "cell": "Cells",
    "stem": "Stem and down-sampling",
    "down": "Down-sampling",
    "head": "Heads",
    "fusion": "Fusions of two inputs",
    "host": "Hosts",
    "graft": "Grafts",
}
"""First role of an op -> the title of its section, in the order of the page."""


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", NOTE, *parts]) + "\n"


def row(*cells: str) -> str:
    """A row of a Markdown table, with `|` escaped in its cells."""
    return " | ".join(["", *(cell.replace("|", r"\|") for cell in cells), ""]).strip()


def table(head: tuple[str, ...], rows: list[str]) -> str:
    return "\n".join([row(*head), "|---" * len(head) + "|", *rows])


DIM, SIDE, CLASSES = 64, 14, 10
"""The width, the side of the map and the number of classes for which the catalogue has costs in numbers."""

AROUND = {"host", "cell", "residual", "graft"}
"""Roles of ops whose degree and cost depend on the modules in them: their lines are prose."""


def catalogue() -> str:
    """Every shipped op by role and family: a table of costs for each section, then formula and source of each op."""
    shipped_ops = [op for op in ops().values() if op.cls.__module__.startswith("hadnas.")]  # without those of tests
    sections: dict[tuple[str, str], list[Op]] = defaultdict(list)
    for op in shipped_ops:
        sections[op.roles[0], op.family or "of no family"].append(op)
    parts = [
        f"{len(shipped_ops)} ops, among which search spaces choose by name. `hadnas list blocks` prints the meaning "
        "of each, `hadnas show NAME` one with its options. A new one is one file: [CONTRIBUTING](../CONTRIBUTING.md).",
        f"The tables are for the default options at {DIM} channels, a map of {SIDE} x {SIDE} and {CLASSES} classes; a "
        "fusion reads two such maps, or their means. Below each table are the formulas; a test compares them with what "
        "hadnas counts. The degree is that of the output in the input, with norms and activations as the identity; it "
        "is nominal, in parentheses, if a softmax, a quotient or a norm is part of the formula. An op with a twin has "
        "an option that replaces its product by a sum, at equal parameters and MACs. timm: the class of timm that "
        "computes it, alone or within a block of norms, residuals and other layers; its options and first weights may "
        "differ. Where none is named, none was found in timm.",
        "`*` is the element-wise product between features, `[a; b]` a concatenation of channels; C is the width, H x W "
        "the map and N = H W. `weights(norm, C)` are the parameters of a norm or activation over C channels, "
        "`products(act, n)` the products of an activation of n elements: n if it squares, else 0.",
    ]
    for (role, family), found in sorted(
        sections.items(), key=lambda item: (list(TITLES).index(item[0][0]), item[0][1])
    ):
        title = f"{TITLES[role]}: {family}" if role in ("block", "masked", "merge", "fusion", "graft") else TITLES[role]
        parts += [f"## {title}", *([] if role in AROUND else [overview(found)]), *(entry(op) for op in found)]
    return page("Catalogue", *parts)


def overview(found: list[Op]) -> str:
    rows = [row(f"[`{op.name}`](#{op.name})", *costs(op), "yes" if op.twin else "", timm_class(op)) for op in found]
    return table(("op", "degree", "params", "MACs", "products", "twin", "timm"), rows)


def costs(op: Op) -> tuple[str, ...]:
    """Degree, parameters, MACs and products of the default options; a nominal degree in parentheses."""
    sizes = {"C": DIM, "H": SIDE, "W": SIDE, "N": SIDE**2, "M": SIDE**2, "classes": CLASSES}
    names = {**defaults(op), **sizes, **dict.fromkeys(("dim", "in_dim", "left_dim", "right_dim"), DIM)}
    stated = lines(op.cls)
    number, nominal = degree(stated["Degree"], names)
    counts = (f"{compute(stated[key], names):,.0f}" for key in ("Params", "MACs", "Products"))
    return f"({number})" if nominal else str(number), *counts


def timm_class(op: Op) -> str:
    path = lines(op.cls).get("timm", "")
    return f"`{path.rpartition('.')[2]}`" if path else ""


def entry(op: Op) -> str:
    """An op's docstring in Markdown: the formula as code, an equation a line, and arXiv numbers as links."""
    summary, formula, *symbols = (inspect.getdoc(op.cls) or "").partition("\n\nShapes:")[0].split("\n\n")
    stated = lines(op.cls)
    facts = []
    for key in LINES:
        if key in stated:
            formula_of = key in ("Degree", "Params", "MACs", "Products", "timm") and not AROUND & {*op.roles}
            facts.append(f"- {key}: " + (f"`{stated[key]}`" if formula_of else linked(escaped(stated[key]))))
        if key == "Products" and op.twin:
            facts.append(f"- Additive twin: `{op.twin[0]}={json.dumps(op.twin[2])}`")
    equations = re.sub(r"(?<=[;,])  +", "\n", formula)
    text = [summary, f"```text\n{equations}\n```", *(escaped(" ".join(part.split("\n"))) for part in symbols)]
    return "\n\n".join([f"### {op.name}", *text, "\n".join(facts)])


def escaped(text: str) -> str:
    """Text in which Markdown takes no `*` for emphasis, outside of code."""
    return re.sub(r"(`[^`]*`)|\*", lambda found: found[1] or r"\*", text)


def linked(text: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def figures() -> str:
    """Every figure with its unit, its direction if it may be an objective, and its definition."""
    rows = [row(f"`{f.name}`", f.unit, f.direction or "", f.about) for f in TABLE.values()]
    return page(
        "Figures",
        "Costs are of one example (an image, or both inputs), latencies of one forward pass at batch 1. A network with "
        "an operation of unknown cost is refused. Metrics (`val/...`) are of the validation examples after the last "
        "epoch; the test split stays closed. Every objective except the metrics may be a constraint: in a study, or as "
        "`--max-macs 50M`, `--max-latency 5ms` and so on.",
        table(("figure", "unit", "objective", "definition"), rows),
        "Runs in MLflow have more:",
        "- `families` and `merges`: blocks and merges of each family, as `H0 A2 C1 T0`: hadamard, additive, "
        "convolution, attention. The family of a network is that of most of its blocks, `mixed` in a tie; "
        "one without blocks counts its convolutions.\n"
        "- `latency_ms.compile`, `latency_ratio.compile` and so on: the same on another backend, of the Pareto front "
        "and the baselines.\n"
        "- `test/accuracy` (or another metric), `test/low`, `test/high`: only from `hadnas finals`, the mean over "
        "fresh seeds on the test split and its 95 % interval over seeds and examples, for shares on the logit scale.\n"
        "- `stress/noise/0.1` and so on: only from `hadnas finals --under noise:0.1`, the same metric on the "
        "test split [under that stress](searching.md#under-stress-and-pruned).",
        "See also [latency by backend](searching.md#latency-by-backend).",
    )


def search_spaces() -> str:
    """Search spaces and studies with the first line of their docstrings."""
    spaces, studies = [], []
    for name in shipped("search_spaces"):
        count = size(load(f"search_spaces/{name}"))
        spaces.append(row(f"`{name}`", f"{count:.3g}", first_line(f"hadnas.search_spaces.{name}")))
    for name in shipped("studies"):
        study = load(f"studies/{name}")
        studies.append(row(f"`{name}`", study.data.source, str(study.trials), first_line(f"hadnas.studies.{name}")))
    return page(
        "Search spaces and studies",
        "`hadnas show NAME` prints one, `hadnas search NAME` runs it, `hadnas copy NAME` copies its file into this "
        "folder, to edit. A search space defines choices; a study adds data, objectives, a budget and baselines.",
        table(("search space", "assignments", "question"), spaces),
        table(("study", "data", "trials", "experiment"), studies),
    )


def first_line(module: str) -> str:
    return (inspect.getdoc(import_module(module)) or "").partition("\n")[0]


IMAGENET = hadnas.Task.image(3, 224, 224, classes=1000)
OTHER_TASKS = {"cpolynext_lowres": hadnas.Task.image(3, 32, 32, classes=10)}
"""Published network -> its task, where this is not ImageNet's."""


def published_task(name: str) -> hadnas.Task:
    """The task for which a published network was published."""
    return OTHER_TASKS.get(name, IMAGENET)


def published() -> str:
    """Published networks with their cost for the tasks that they were published for."""
    rows = []
    for name in shipped("published"):
        task = published_task(name)
        network = hadnas.build(hadnas.load(name), task, device="meta")
        rows.append(published_row(name, hadnas.cost(network, task.shape)))
    return published_page(rows)


def published_row(name: str, cost: Cost) -> str:
    """One row of the page; test_published counts every network and looks for its row."""
    task = published_task(name)
    shape = " x ".join(map(str, task.shape))
    return row(
        f"`{name}`", f"{shape}, {task.outputs:,} classes", f"{cost.params:,}", f"{cost.macs:,}", f"{cost.products:,}"
    )


def published_page(rows: list[str]) -> str:
    return page(
        "Published networks",
        "Architectures in the grammar of search spaces, for `hadnas show starnet_s1`, `hadnas measure starnet_s1`, "
        '`hadnas.load("starnet_s1")` or as a baseline of a study. Cost is for the input and the classes named.',
        table(("network", "for", "parameters", "MACs", "element-wise products"), rows),
    )


def commands() -> str:
    """Every command with its arguments and options, from click."""
    parent = click.Context(main, info_name="hadnas", **main.context_settings)
    return page(
        "Commands",
        "`hadnas COMMAND --help` prints the same. Exit status: 0 done, 2 after an error, 130 after Ctrl-C.",
        *(command(click.Context(found, parent, name)) for name, found in main.commands.items()),
    )


def command(context: click.Context) -> str:
    found = context.command
    usage = " ".join(["hadnas", str(found.name), *found.collect_usage_pieces(context)])
    parts = [f"## {found.name}", f"```text\n{usage}\n```", inspect.cleandoc(found.help or "")]
    options = [option for option in found.params if isinstance(option, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context)) is not None]
    if records:
        parts.append(table(("option", "meaning"), [row(f"`{names}`", meaning) for names, meaning in records]))
    return "\n\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "catalogue.md": catalogue,
    "commands.md": commands,
    "figures.md": figures,
    "published.md": published,
    "search_spaces.md": search_spaces,
}

if __name__ == "__main__":
    for name, written in PAGES.items():
        (DOCS / name).write_text(written(), encoding="utf-8")
