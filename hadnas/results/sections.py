"""The sections of a study's report, as plain values that the page's template renders."""

import platform
from dataclasses import dataclass, field
from typing import Any

from hadnas.arch.diagram import diagram
from hadnas.arch.families import LEGEND, families_texts
from hadnas.errors import HadnasError
from hadnas.measure.figures import RATIO, metric_words, shown_in
from hadnas.results.candidate import Found
from hadnas.results.comparison import axis_label, comparison, front_points, ordinate_of
from hadnas.results.finals.finals import Final, lacking, opened_words
from hadnas.results.insight import MIN_GROUP, Insight, effects
from hadnas.results.plots import plot_bars, plot_front, plot_history, plot_intervals
from hadnas.results.predictions import draw_predictions, metrics_text, score_in, worst_first
from hadnas.results.statistics import interval_words
from hadnas.results.table import NOISY_RATIO, StudyResults
from hadnas.source.module import plan_source
from hadnas.train.data.spec import Data

MAX_ROWS = 20
"""The most rows of a table or bars of a figure; a note gives the number left out."""


@dataclass
class Section:
    """A heading and its parts in order, as plain values that the page's template renders."""

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
    metric = results.study.metric_figure
    section = Section("front", f"{metric_words(metric).capitalize()} and cost")
    trained = [found for found in (*results.distinct, *results.baselines) if found.feasible]
    ordinate = ordinate_of(results)
    macs = front_points(results, {found.name: found.figures["macs"] for found in trained})
    section.figure(plot_front(macs, axis_label("macs", None), ordinate, log=True), "front")
    backend = results.study.latency
    known = {found.name: results.comparable(found, RATIO) for found in trained}
    timed = {name: value for name, value in known.items() if value is not None}
    if timed:
        drawn = plot_front(front_points(results, timed), axis_label(RATIO, backend), ordinate, log=False)
        section.figure(drawn, f"latency-{backend}")
    compared = comparison(results)
    for other in compared.backends:
        ratios = {name: row[other]["ratio"] for name, row in compared.rows.items() if "ratio" in row.get(other, {})}
        if other != backend and ratios:
            drawn = plot_front(front_points(results, ratios), axis_label(RATIO, other), ordinate, log=False)
            section.figure(drawn, f"latency-{other}")
    heads, rows = front_table(results)
    section.table(heads, [cells for _, cells in rows], set(range(2, len(heads) - 2)))
    if results.timed_otherwise:
        section.text(f"{results.timed_otherwise[0].upper()}{results.timed_otherwise[1:]}.", note=True)
    section.text(f"{NOISY_RATIO}.", note=True)
    section.text(f"{LEGEND}.", note=True)
    if results.unknown_blocks:
        section.text(f"Families are not counted everywhere: {results.unknown_blocks}.", note=True)
    return section


def front_table(results: StudyResults) -> tuple[list[str], list[tuple[Found, list[str]]]]:
    """The front and the baselines: the heads of the columns, and each network with its cells."""
    figures = shown_in("report", metric=results.study.metric_figure)
    heads = ["", "network", *(figure.label for figure in figures), "blocks", "merges"]
    rows = []
    for found in (*results.front, *(found for found in results.baselines if found.feasible)):
        kind, words = "baseline" if found.number is None else "front", families_texts(found.arch)
        rows.append((found, [kind, found.name, *(results.text(found, figure) for figure in figures), *words]))
    return heads, rows


def history_values(results: StudyResults) -> tuple[list[tuple[int, float]], list[tuple[str, float]]]:
    """The metric of trials by number, and of baselines by name, for the figure of the history."""
    seen = [(found.number or 0, found.value) for found in results.found if found.feasible]
    return seen, [(found.name, found.value) for found in results.baselines if found.feasible]


def history(results: StudyResults) -> Section:
    section = Section("history", "History")
    section.figure(plot_history(*history_values(results), ordinate_of(results)), "history")
    return section


def bars(found: Insight, metric: str) -> tuple[list[str], list[float], str]:
    """The names, values and label of the figure of the most important decisions."""
    top = found.importances[:MAX_ROWS]
    label = f"importance for a good validation {metric} (PED-ANOVA; 0: none)"
    return [f"{i.decision} (n = {i.n})" for i in top], [i.value for i in top], label


def decisions(found: Insight, metric: str) -> Section:
    section = Section("decisions", "Which decisions mattered")
    if found.missing:
        section.text(found.missing)
        return section
    top = found.importances[:MAX_ROWS]
    section.figure(plot_bars(*bars(found, metric)), "importances")
    section.table(
        ["decision", "importance", "trials", "best option", f"its mean {metric}", "trials with it"],
        [[i.decision, f"{i.value:.4f}", str(i.n), i.best, f"{i.mean:.4f}", str(i.times)] for i in top],
        {1, 2, 4, 5},
    )
    if len(found.importances) > MAX_ROWS:
        section.text(f"{len(found.importances) - MAX_ROWS} decisions of less importance are left out.", note=True)
    return section


def families(found: Insight, finals: list[Final], metric: str) -> Section:
    title = "Association of each family with" if found.adaptive else "Effect of each family on"
    section = Section("families", f"{title} {metric}, by stage")
    if found.adaptive:
        section.text(
            "The sampler learned from earlier trials, so these are associations, not effects: the other decisions of "
            "trials with a family are not random.",
            note=True,
        )
    if found.differences:
        names = [f"stage {d.stage}: {d.family} ({d.n_with} with, {d.n_without} without)" for d in found.differences]
        values = [(d.mean, d.low, d.high) for d in found.differences]
        label = f"difference of mean validation {metric}, 95 % interval (Welch)"
        section.figure(plot_intervals(names, values, label), "families")
        section.text("Only trials with equally many blocks in the stage are compared.", note=True)
    else:
        section.text(
            found.missing
            or f"Nothing to compare: no stage has a family in {MIN_GROUP} trials and lacks it in {MIN_GROUP} others."
        )
    twins = [final for final in finals if final.kind == "additive twin" and final.lead is not None]
    if twins:
        section.text(
            "Each finalist against its additive twin, all else equal: the effect on the test split of the products "
            "that the twin replaces by sums."
        )
        values = [(final.lead.mean, final.lead.low, final.lead.high) for final in twins if final.lead is not None]
        label = f"test {metric}: lead of the network over its additive twin, 95 % interval"
        section.figure(plot_intervals([str(final.against) for final in twins], values, label), "twins")
    return section


def products(results: StudyResults, best: Found, data: Data | None) -> Section:
    section, words = Section("products", "Effect of each product in the winner"), metric_words(best.metric)
    try:
        found = effects(results, best, data)
    except HadnasError as error:  # data or weights are missing; the other sections need neither
        section.text(f"Not measured: {error}")
        return section
    if not found:
        section.text("The winner has no product of two activations.")
        return section
    section.table(
        ["product", "adds", f"{words} without", "lost"],
        [
            [e.name, f"{e.ratio:.3f}", f"{e.without:.4f}", f"{e.lost:+.4f}"]
            for e in sorted(found, key=lambda e: -e.lost)[:MAX_ROWS]
        ],
        {1, 2, 3},
    )
    section.text(
        f"With all products: {words} {found[0].whole:.4f} on n = {found[0].n} validation images. Adds: RMS of the "
        f"product's contribution, divided by the RMS of the rest. Lost: {words} lost when this product is set to "
        "zero, without further training.",
        note=True,
    )
    if len(found) > MAX_ROWS:
        section.text(f"{len(found) - MAX_ROWS} products with smaller losses are left out.", note=True)
    return section


def predicted(results: StudyResults, best: Found) -> Section:
    section = Section("predictions", "What the winner predicts")
    score = score_in(results, best)
    if score is None:
        section.text("Not known: it was trained by an earlier version, which did not store it.")
        return section
    names = results.class_names()
    if drawing := draw_predictions(score, names):
        section.figure(drawing, "predictions", wide=True)
    columns, rows = worst_first(score, names)
    if rows:
        section.table(columns, rows[:MAX_ROWS], set(range(1, len(columns))))
    if len(rows) > MAX_ROWS:
        section.text(f"{len(rows) - MAX_ROWS} of higher recall are left out.", note=True)
    section.text(f"On n = {score.n} validation images: {metrics_text(score)}.", note=True)
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
        section.text(f"Not run yet: hadnas finals {name}")
        return section
    rows, costs = [], shown_in("finals")
    for final in finals:
        known = ["" if final.costs is None else figure.text(figure.of(final.costs)) for figure in costs]
        found = final.estimate
        scores = (
            ["-", "", f"not trained: {final.reason}"]
            if found is None
            else [final.text(found.mean), final.interval, final.lead_text]
        )
        rows.append([final.kind, final.name, *known, *scores])
    labels = [figure.label for figure in costs]
    columns = ["", "network", *labels, f"test/{finals[0].metric}", "95 % interval", "the finalist is ahead by"]
    section.table(columns, rows, set(range(2, 3 + len(costs))))
    some = next((final.estimate for final in finals if final.estimate is not None), None)
    if some is not None:
        section.text(
            f"Fresh seeds: {some.seeds}; test images: {some.n}; {interval_words(some.seeds)}. Not corrected for the "
            f"number of comparisons. {opened_words(opened)}",
            note=True,
        )
    for sentence in lacking(finals):
        section.text(sentence, note=True)
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
    if results.stopped:
        section.text(f"{len(results.stopped)} architectures were stopped at a rung.")
        section.table(["trial", "reason"], [[found.name, found.reason or ""] for found in results.stopped], set())
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
    rows.append(["training", ", ".join(f"{name} {value}" for name, value in results.study.training.items())])
    rows += [["images", note] for note in results.stored.get("notes", [])]
    section.table(["", ""], rows, set())
    return section
