"""What the shell prints: the shelf, one item of it, and what a study found."""

import inspect
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from torch import nn

from hadnas.blocks.registry import FAMILIES, Op, ops
from hadnas.effects import product_effects
from hadnas.errors import UnknownName, unknown
from hadnas.library import load, shipped
from hadnas.measure.cost import cost
from hadnas.measure.latency import latency
from hadnas.models.arch import Arch
from hadnas.models.families import families_text, family_counts
from hadnas.rankings import show_backends
from hadnas.search import listing
from hadnas.search.crossed import FEWEST_PAIRS
from hadnas.search.database import shown
from hadnas.search.finals import Final
from hadnas.search.front import standard_error
from hadnas.search.ledger import Ledger
from hadnas.search.results import Found, StudyResults
from hadnas.search.storage import Home
from hadnas.search.study import Study
from hadnas.space import size
from hadnas.space.data import as_data
from hadnas.train.data import load_data

console = Console()
if not console.is_terminal:
    console = Console(width=160)  # a pipe has no width: do not cut figures


HIDDEN = {
    "id", "arch", "versions", "recipe", "data", "code", "worker", "host", "pid", "heartbeat", "started", "finished",
    "created", "weights", "attempt", "protocol_json", "figures", "p90_ms", "min_ms", "iqr", "ratio_iqr",
}  # fmt: skip
"""Columns of the ledger that only its CSV shows."""


def show_shelf(what: str | None) -> None:
    """Blocks by family, search spaces with their sizes, studies and published networks."""
    if what in (None, "blocks"):
        table = Table("op", "role", "family", "what it is", title="Ops", title_justify="left", box=None)
        for op in sorted(ops().values(), key=_op_order):
            table.add_row(op.name, ", ".join(op.roles), op.family or "", op.summary)
        console.print(table)
    if what in (None, "spaces"):
        table = Table("search space", "assignments", "question", title="Search spaces", title_justify="left", box=None)
        for name in shipped("search_spaces"):
            space = load(f"search_spaces/{name}")
            table.add_row(name, f"{size(space):,}", _first_line(f"hadnas.search_spaces.{name}"))
        console.print(table)
        if shipped("published"):
            console.print("Published networks: " + ", ".join(shipped("published")))
    if what in (None, "studies"):
        table = Table("study", "data", "budget", "experiment", title="Studies", title_justify="left", box=None)
        for name in shipped("studies"):
            study = load(f"studies/{name}")
            table.add_row(name, study.data.source, str(study.trials), _first_line(f"hadnas.studies.{name}"))
        console.print(table)


def show_item(name: str) -> None:
    """A block with its options, a space with its choices, a study with its settings, or an architecture as a tree."""
    if name in ops():
        show_op(ops()[name])
        return
    try:
        found = load(name)
    except UnknownName as error:
        if name.endswith((".py", ".json")):
            raise
        known = [*ops(), *(item for kind in ("studies", "search_spaces", "published") for item in shipped(kind))]
        raise unknown("block, study, search space or architecture", name, dict.fromkeys(known)) from error
    if isinstance(found, Arch):
        console.print(found.tree(), highlight=False, markup=False)
        console.print(f"fingerprint {found.fingerprint}; {families_text(family_counts(found))}")
    elif isinstance(found, Study):
        data = json.loads(found.model_dump_json(exclude={"space", "baselines"}))
        console.print_json(json.dumps({**data, "baselines": list(found.baselines)}))
        _show_space(found.space)
    else:
        _show_space(found)


def show_op(op: Op) -> None:
    """An op's docstring and its slots with types and defaults."""
    console.print(f"{op.name} ({', '.join(op.roles)}{', ' + op.family if op.family else ''})", style="bold")
    console.print(inspect.getdoc(op.cls) or "", highlight=False, markup=False)
    table = Table("option", "type", "default", box=None)
    for slot in op.slots.values():
        kind = " or ".join(slot.roles) if slot.roles else inspect.formatannotation(slot.type).replace("typing.", "")
        default = "required" if slot.default is inspect.Parameter.empty else repr(slot.default)
        table.add_row(slot.name, kind, default)
    console.print(table)


def show_findings(name: str, findings: list[str]) -> None:
    """What the contract found at an op, a line each."""
    console.print(f"{name}: {'keeps the contract' if not findings else f'{len(findings)} findings'}", style="bold")
    for finding in findings:
        console.print(f"  {finding}", highlight=False, markup=False)


def show_top(name: str, home: Home, count: int) -> None:
    """Leaderboard, Pareto front, best of each family, baselines, and what was refused and why."""
    results = StudyResults(name, home)
    ranked = results.ranked
    front = {found.name for found in results.front}
    baselines = [found for found in results.baselines if found.feasible]
    if not ranked and not baselines:
        _show_refused(results)
        _ = results.best  # says that there is none
    n = (ranked or baselines)[0].notes["val_n"]
    title = f"{name}: {len(ranked)} architectures, validation accuracy on n = {n} (± one standard error)"
    table = _table(title)
    for found in ranked[:count]:
        _add(table, found, "front" if found.name in front else "")
    for found in baselines:
        _add(table, found, "baseline")
    console.print(table)
    if not ranked:
        _show_refused(results)
        return

    table = _table(f"Pareto front of {', '.join(results.study.objectives)}")
    for found in results.front:
        _add(table, found, "")
    console.print(table)

    table = _table("Best of each family (the family with the most blocks)")
    for family in FAMILIES:
        if best := next((found for found in ranked if found.family == family), None):
            _add(table, best, family)
    console.print(table)
    show_backends(console, results)
    trained = Counter(family for f in ranked if f.arch for family, k in family_counts(f.arch).items() if k)
    console.print("architectures with at least one of a family: " + ", ".join(f"{f} {trained[f]}" for f in FAMILIES))
    _show_refused(results)


def show_finals(study: str, finals: list[Final]) -> None:
    """Test accuracy of each network in the finals, and what the finalist it stands beside is ahead by."""
    some = next((final.accuracy for final in finals if final.accuracy is not None), None)
    title = f"{study}: finals, test accuracy with 95 % intervals"
    if some is not None:
        title += f" over {some.seeds} seeds and n = {some.n} images"
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for column in ("", "network", "MACs", "products", "test/accuracy", "interval", "seeds' std", "finalist ahead by"):
        table.add_column(column, no_wrap=column != "finalist ahead by")
    for final in finals:
        costs = ("", "") if final.costs is None else (short(final.costs.macs), short(final.costs.products))
        if final.accuracy is None:
            table.add_row(final.kind, final.name, *costs, "-", "", "", f"not trained: {final.reason}")
            continue
        found = final.accuracy
        spread = "" if found.seed_std is None else f"{found.seed_std:.4f}"
        interval = f"{found.low:.4f} to {found.high:.4f}"
        table.add_row(final.kind, final.name, *costs, f"{found.mean:.4f}", interval, spread, final.said)
    console.print(table)
    console.print(
        "intervals count the seeds and the images; differences are paired by both; a p-value needs "
        f"{FEWEST_PAIRS} seeds and is not corrected for the number of comparisons",
        highlight=False,
    )


def show_measured(
    name: str,
    network: nn.Module,
    shape: tuple[int, int, int],
    *,
    batches: Sequence[int],
    backends: Sequence[str],
    device: str,
    threads: int,
    dtype: str,
) -> None:
    """Costs of a network, and its latency per backend and batch beside the reference's."""
    found = cost(network, shape)
    table = Table(title=f"{name}: cost of one image {'x'.join(map(str, shape))}", title_justify="left", box=None)
    figures = {"params": found.params, "MACs": found.macs, "FLOPs": found.flops, "element-wise": found.elementwise}
    figures |= {"products": found.products, "activations": found.activations, "calls": found.calls}
    for column in [*figures, "peak activations"]:
        table.add_column(column, justify="right")
    table.add_row(*(f"{value:,}" for value in figures.values()), f"{found.peak_activation_bytes / 2**20:.1f} MiB")
    console.print(table)
    table = Table(title=f"latency on {device}, {threads} threads, {dtype}", title_justify="left", box=None)
    for column in ("backend", "batch", "median ms", "p90 ms", "min ms", "images/s", "ratio", "IQR of ratio", "n"):
        table.add_column(column, justify="left" if column == "backend" else "right")
    for backend, batch in itertools.product(backends, batches):
        taken = latency(
            network,
            shape,
            batch=batch,
            device=device,
            threads=threads,
            dtype=getattr(torch, dtype),
            backend=backend,
        )
        times = (f"{value:.4g}" for value in (taken.median_ms, taken.p90_ms, taken.min_ms))
        ratio = f"{'~' if taken.noisy else ''}{taken.ratio:.3f}"
        speed = f"{1000 * batch / taken.median_ms:.4g}"
        table.add_row(backend, str(batch), *times, speed, ratio, f"{taken.ratio_iqr:.1%}", str(taken.n))
    console.print(table)
    console.print("ratio: to a fixed reference network timed in turn; ~ where its interquartile range is above 5 %")


def show_effects(results: StudyResults, found: Found) -> None:
    """Every product of a trained candidate, on the study's validation images."""
    data = load_data(results.study.data)
    network = results.network(found)
    images, labels = next(data.val.batches(len(data.val), torch.device("cpu"), None))
    table = Table("product", "adds", "accuracy without", "lost", title=found.name, title_justify="left", box=None)
    effects = product_effects(network, images, labels)
    for effect in effects:
        name = f"{effect.path}{f' [{effect.index}]' if effect.index else ''}"
        table.add_row(name, f"{effect.ratio:.3f}", f"{effect.without:.4f}", f"{effect.lost:+.4f}")
    console.print(table)
    if effects:
        whole = f"accuracy with all: {effects[0].accuracy:.4f} on n = {effects[0].n} validation images"
        console.print(f"{whole}; adds: RMS of what the product adds, over RMS of the rest", highlight=False)


def show_ledger(ledger: Ledger, name: str | None, count: int) -> None:
    """The ledger's tables with their numbers of rows, or the last rows of one."""
    if name is None:
        console.print(f"ledger {shown(ledger.url)}", soft_wrap=True, highlight=False)
        table = Table("table", "rows", box=None)
        for known, number in listing.num_rows(ledger).items():
            table.add_row(known, f"{number:,}")
        console.print(table)
        return
    rows = [{**row, **(row.get("figures") or {})} for row in listing.rows(ledger, name)]
    columns = [key for key in (rows[0] if rows else {}) if key not in HIDDEN]
    console.print(f"{name}: the last {min(count, len(rows)):,} of {len(rows):,} rows; every column with --csv")
    table = Table(*columns, box=None)
    for row in rows[-count:]:
        table.add_row(*(f"{row[key]:.5g}" if isinstance(row[key], float) else str(row[key]) for key in columns))
    console.print(table)


def _show_refused(results: StudyResults) -> None:
    refused = [found for found in results.found if found.state == "pruned"]
    failed = [found for found in results.baselines if not found.feasible]
    if refused:
        reasons = Counter((found.reason or "no reason kept").partition(" = ")[0][:100] for found in refused)
        share = len(refused) / len(results.found)
        console.print(f"refused: {len(refused)} of {len(results.found)} draws ({share:.0%})")
        for reason, times in reasons.most_common():
            console.print(f"  {times} x {reason}", highlight=False, markup=False)
    for found in failed:
        console.print(f"baseline {found.name} failed: {found.reason}", highlight=False, markup=False)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("name", no_wrap=True)
    for column in ("val/accuracy", "MACs", "params", "latency ms", "ratio", "products"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("families", no_wrap=True)
    return table


def _add(table: Table, found: Found, label: str) -> None:
    figures = found.figures
    accuracy = figures["val/accuracy"]
    noisy = "~" if found.notes.get("latency_noisy") else ""
    latency = f"{figures['latency_ms']:.3f}" if "latency_ms" in figures else "-"
    ratio = f"{noisy}{figures['latency_ratio']:.3f}" if "latency_ratio" in figures else "-"
    table.add_row(
        label,
        found.name + (" (reused)" if found.notes.get("reused") else ""),
        f"{accuracy:.4f} ±{standard_error(accuracy, found.notes['val_n']):.4f}",
        short(figures["macs"]),
        short(figures["params"]),
        latency,
        ratio,
        short(figures["products"]),
        families_text(family_counts(found.arch)) if found.arch else "",
    )


def short(number: float) -> str:
    """1234567 as 1.23M."""
    for scale, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g}{suffix}"
    return f"{number:.0f}"


def _show_space(space: dict[str, Any]) -> None:
    console.print(f"search space of {size(space):,} assignments")
    console.print(Syntax(json.dumps(as_data(space), indent=1), "json", background_color="default", word_wrap=True))


def _first_line(module: str) -> str:
    import importlib

    return (inspect.getdoc(importlib.import_module(module)) or "").partition("\n")[0]


def _op_order(op: Op) -> tuple[int, str, str]:
    order = ("block", "merge", "residual", "stem", "down", "head", "host")
    return order.index(op.roles[0]) if op.roles[0] in order else len(order), op.family or "", op.name
