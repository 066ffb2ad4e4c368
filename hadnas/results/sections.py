"""The sections of a study's report: what each says, in plain values that the page's template sets."""

import platform
from dataclasses import dataclass, field
from typing import Any

from hadnas.arch.diagram import diagram
from hadnas.arch.families import LEGEND, families_texts
from hadnas.errors import HadnasError
from hadnas.measure.figures import RATIO, shown_in
from hadnas.results import plots as figures
from hadnas.results.candidate import Found
from hadnas.results.comparison import comparison
from hadnas.results.finals import Final, lacking, opened_words
from hadnas.results.front import pareto_front
from hadnas.results.insight import FEWEST_IN_GROUP, Insight, effects
from hadnas.results.statistics import counted
from hadnas.results.table import StudyResults
from hadnas.source.module import plan_source

MOST = 20
"""Rows of a table or bars of a figure; what is left out is said."""


@dataclass
class Section:
    """A heading and what stands below it, in order: plain values that the page's template sets."""

    id: str
    title: str
    parts: list[dict[str, Any]] = field(default_factory=list)

    def text(self, text: str, *, note: bool = False) -> None:
        self.parts.append({"kind": "text", "text": text, "note": note})

    def figure(self, svg: str, name: str, *, wide: bool = False) -> None:
        self.parts.append({"kind": "figure", "svg": svg, "name": name, "wide": wide})

    def table(self, columns: list[str], rows: list[list[str]], numbers: set[int]) -> None:
        self.parts.append({"kind": "table", "columns": columns, "rows": rows, "numbers": numbers})

    def code(self, text: str) -> None:
        self.parts.append({"kind": "code", "text": text})


def front(results: StudyResults) -> Section:
    section = Section("front", "Accuracy and cost")
    trained = [found for found in (*results.distinct, *results.baselines) if found.feasible]
    columns = shown_in("report")

    def figures_text(found: Found) -> str:
        return ", ".join(f"{results.text(found, figure)} {figure.label}" for figure in columns)

    def points(costs: dict[str, float]) -> list[figures.Point]:
        rows = [found for found in results.distinct if found.name in costs]
        values = [(found.accuracy, costs[found.name]) for found in rows]
        front = {rows[index].name for index in pareto_front(values, ("maximize", "minimize"))}
        return [
            figures.Point(
                name=found.name,
                x=costs[found.name],
                accuracy=found.accuracy,
                error=found.standard_error,
                kind="baseline" if found.number is None else "front" if found.name in front else "candidate",
                text=f"{found.name}: {figures_text(found)}\n{found.arch}",
            )
            for found in trained
            if found.name in costs
        ]

    macs = points({found.name: found.figures["macs"] for found in trained})
    section.figure(figures.front(macs, "MACs of one image", log=True), "front")
    backend = results.study.latency
    known = {found.name: results.comparable(found, RATIO) for found in trained}
    timed = {name: value for name, value in known.items() if value is not None}
    axis = "latency ratio to the reference network ({}, batch 1)"
    if timed:
        section.figure(figures.front(points(timed), axis.format(backend), log=False), f"latency-{backend}")
    compared = comparison(results)
    for other in compared.backends:
        ratios = {name: row[other]["ratio"] for name, row in compared.rows.items() if "ratio" in row.get(other, {})}
        if other != backend and ratios:
            section.figure(figures.front(points(ratios), axis.format(other), log=False), f"latency-{other}")
    ranked = [*results.front, *(found for found in results.baselines if found.feasible)]
    section.table(
        ["", "network", *(figure.label for figure in columns), "blocks", "merges"],
        [
            [
                "baseline" if found.number is None else "front",
                found.name,
                *(results.text(found, figure) for figure in columns),
                *families_texts(found.arch),
            ]
            for found in ranked
        ],
        set(range(2, 2 + len(columns))),
    )
    if results.timed_otherwise:
        section.text(f"{results.timed_otherwise[0].upper()}{results.timed_otherwise[1:]}.", note=True)
    section.text("~: the interquartile range of the ratio stayed above 5 %.", note=True)
    section.text(f"{LEGEND}.", note=True)
    if results.unknown_blocks:
        section.text(f"No family counts some of them: {results.unknown_blocks}.", note=True)
    return section


def history(results: StudyResults) -> Section:
    section = Section("history", "History")
    seen = [(found.number or 0, found.accuracy) for found in results.found if found.feasible]
    lines = [(found.name, found.accuracy) for found in results.baselines if found.feasible]
    section.figure(figures.history(seen, lines), "history")
    return section


def decisions(found: Insight) -> Section:
    section = Section("decisions", "Which decisions mattered")
    if found.missing:
        section.text(found.missing)
        return section
    top = found.importances[:MOST]
    label = "importance for high validation accuracy (PED-ANOVA; 0: none)"
    section.figure(
        figures.bars([f"{i.decision} (n = {i.n})" for i in top], [i.value for i in top], label), "importances"
    )
    section.table(
        ["decision", "importance", "trials", "best option", "its mean accuracy", "trials with it"],
        [[i.decision, f"{i.value:.4f}", str(i.n), i.best, f"{i.mean:.4f}", str(i.times)] for i in top],
        {1, 2, 4, 5},
    )
    if len(found.importances) > MOST:
        section.text(f"{len(found.importances) - MOST} decisions of less importance are left out.", note=True)
    return section


def families(found: Insight, finals: list[Final]) -> Section:
    title = "Association of each family with" if found.adaptive else "Effect of each family on"
    section = Section("families", f"{title} accuracy, by stage")
    if found.adaptive:
        section.text(
            "The sampler chose trials by what it had seen, so these are associations, not effects: what stands "
            "beside a family in the trials that hold it is not left to chance.",
            note=True,
        )
    if found.differences:
        names = [f"stage {d.stage}: {d.family} ({d.n_with} with, {d.n_without} without)" for d in found.differences]
        values = [(d.mean, d.low, d.high) for d in found.differences]
        label = "difference of mean validation accuracy, 95 % interval (Welch)"
        section.figure(figures.intervals(names, values, label), "families")
        section.text("Compared are trials with equally many blocks in the stage: a longer one holds more.", note=True)
    else:
        section.text(
            found.missing
            or f"No family was both in and out of a stage in {FEWEST_IN_GROUP} trials each: nothing to compare."
        )
    twins = [final for final in finals if final.kind == "additive twin" and final.lead is not None]
    if twins:
        section.text(
            "Twin by twin, everything else equal: what the products of each finalist that have a sum in their place "
            "bring on the test split."
        )
        values = [(final.lead.mean, final.lead.low, final.lead.high) for final in twins if final.lead is not None]
        label = "test accuracy of the network minus that of its additive twin, 95 % interval"
        section.figure(figures.intervals([str(final.against) for final in twins], values, label), "twins")
    return section


def products(results: StudyResults, best: Found) -> Section:
    section = Section("products", "What each product does in the winner")
    try:
        found = effects(results, best)
    except HadnasError as error:  # of data or weights that are gone; the rest of the page needs neither
        section.text(f"Not looked at: {error}")
        return section
    if not found:
        section.text("The winner holds no product of two activations.")
        return section
    section.table(
        ["product", "adds", "accuracy without", "lost"],
        [
            [f"{e.path}{f' [{e.index}]' if e.index else ''}", f"{e.ratio:.3f}", f"{e.without:.4f}", f"{e.lost:+.4f}"]
            for e in sorted(found, key=lambda e: -e.lost)[:MOST]
        ],
        {1, 2, 3},
    )
    section.text(
        f"With all products {found[0].accuracy:.4f} on n = {found[0].n} validation images. Adds: RMS of what the "
        "product adds over RMS of the rest. Lost: accuracy lost when this product is set to zero, all else as trained.",
        note=True,
    )
    if len(found) > MOST:
        section.text(f"{len(found) - MOST} products with less lost are left out.", note=True)
    return section


def winner(results: StudyResults, best: Found) -> Section:
    assert best.arch is not None
    section = Section("winner", f"The winner: {best.name}")
    section.figure(diagram(best.arch), "architecture", wide=True)
    if results.unknown_blocks:
        section.text(f"Its code is not shown: {results.unknown_blocks}.")
    else:
        section.code(source(results, best))
    return section


def source(results: StudyResults, found: Found) -> str:
    origin = {"study": results.name, "trial": found.name}
    return plan_source(results.plan(found), origin, results.moments(), results.class_names())


def finals(finals: list[Final], name: str, opened: int) -> Section:
    section = Section("finals", "Finals: the test split")
    if not finals:
        section.text(f"Not held yet: hadnas finals {name}")
        return section
    rows, costs = [], shown_in("finals")
    for final in finals:
        known = ["" if final.costs is None else figure.text(figure.of(final.costs)) for figure in costs]
        found = final.accuracy
        scores = (
            ["-", "", f"not trained: {final.reason}"]
            if found is None
            else [f"{found.mean:.4f}", f"{found.low:.4f} to {found.high:.4f}", final.said]
        )
        rows.append([final.kind, final.name, *known, *scores])
    labels = [figure.label for figure in costs]
    columns = ["", "network", *labels, "test/accuracy", "95 % interval", "the finalist is ahead by"]
    section.table(columns, rows, set(range(2, 3 + len(costs))))
    some = next((final.accuracy for final in finals if final.accuracy is not None), None)
    if some is not None:
        section.text(
            f"Fresh seeds: {some.seeds}; test images: {some.n}; {counted(some.seeds)}. Not corrected for the number of "
            f"comparisons. {opened_words(opened)}",
            note=True,
        )
    for said in lacking(finals):
        section.text(said, note=True)
    return section


def refused(results: StudyResults) -> Section:
    section = Section("refused", "Refused and failed")
    failed = [found for found in results.baselines if found.state == "pruned"]
    for found in results.damaged:
        section.text(f"{found.name} is damaged and left out: {found.reason}")
    if not results.refused and not failed:
        section.text("No draw was refused and no training failed.")
    if results.refused:
        section.text(f"{results.refused_share}.")
        section.table(["draws", "reason"], [[str(n), reason] for reason, n in results.reasons], {0})
    for found in failed:
        section.text(f"Baseline {found.name}: {found.reason}")
    return section


def machine(results: StudyResults, best: Found) -> Section:
    section = Section("machine", "Machine and versions")
    training = results.training(best)
    rows = [
        [
            "this report",
            f"{platform.node()}, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        ]
    ]
    if training is not None:
        versions = ", ".join(f"{name} {version}" for name, version in training.versions.items())
        rows.append(["the winner was trained on", f"{training.host.partition(' ')[0]}, {versions}"])
    latency = results.latency(best)
    if latency is not None:
        rows.append(["latency", ", ".join(f"{name} {value}" for name, value in latency.protocol.items())])
    rows.append(["recipe", ", ".join(f"{name} {value}" for name, value in results.study.recipe.model_dump().items())])
    rows += [["images", note] for note in results.stored.get("notes", [])]
    section.table(["", ""], rows, set())
    return section
