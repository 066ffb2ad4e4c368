"""Prints the finals of a study, and the products of a trained candidate."""

from hadnas.measure.figures import TABLE, metric_words, shown_in
from hadnas.results.candidate import Found
from hadnas.results.finals.finals import Final, lacking, opened_words
from hadnas.results.finals.stress import EXPLAINED, Stressed
from hadnas.results.insight import effects
from hadnas.results.statistics import MIN_SEED_PAIRS, interval_words
from hadnas.results.table import StudyResults
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid, print_left_out


def show_finals(study: str, finals: list[Final], opened: int) -> None:
    """The test metric of each network in the finals, and the lead of the finalist it is compared with."""
    some = next((final.estimate for final in finals if final.estimate is not None), None)
    metric = finals[0].metric if finals else "accuracy"
    title = f"{study}: finals, test {metric.replace('_', ' ')} with 95 % intervals"
    if some is not None:
        title += f" over {some.seeds} {'seed' if some.seeds == 1 else 'seeds'} and n = {some.n} images"
    costs = shown_in("finals")
    grid = Grid(
        Column(),
        Column("network", name=True),
        *(Column(figure.label, right=True, spare=3) for figure in costs),
        Column(f"test/{metric}", right=True),
        Column("interval", spare=1),
        Column("seeds' std", right=True, spare=2),
        Column("finalist ahead by", wraps=True),
        title=title,
    )
    for final in finals:
        known = ["" if final.costs is None else figure.brief(figure.of(final.costs)) for figure in costs]
        if final.estimate is None:
            grid.add(final.kind, final.name, *known, "-", "", "", f"not trained: {final.reason}")
            continue
        found = final.estimate
        deviation = "" if found.seed_std is None else final.text(found.seed_std)
        row = final.text(found.mean), final.interval, deviation, final.lead_text
        grid.add(final.kind, final.name, *known, *row)
    print_left_out(grid.print())
    note = "" if some is None else f"{interval_words(some.seeds)}; "
    console.print(f"{note}a p-value needs {MIN_SEED_PAIRS} seeds and is not corrected for the number of comparisons")
    for sentence in (*lacking(finals), opened_words(opened)):
        console.print(sentence)


def show_stressed(study: str, stressed: list[Stressed]) -> None:
    """The test metric of each network of the finals under each stress, what it lost, and the lead of the finalist."""
    if not stressed:
        return
    some, sizes = stressed[0], (TABLE["params"], TABLE["macs"])
    grid = Grid(
        Column("stress"),
        Column("network", name=True),
        *(Column(figure.label, right=True, spare=3) for figure in sizes),
        Column(f"test/{some.metric}", right=True),
        Column("interval", spare=1),
        Column("lost", wraps=True),
        Column("finalist ahead by", wraps=True),
        title=f"{study}: finals under stress, n = {some.estimate.n} images",
    )
    for found in stressed:
        grid.add(found.stress, found.name, *(figure.brief(figure.of(found)) for figure in sizes), *found.texts)
    print_left_out(grid.print())
    console.print(EXPLAINED)


def show_effects(results: StudyResults, found: Found) -> None:
    """Every product of a trained candidate, on the study's validation images."""
    numbers = (Column(head, right=True) for head in ("adds", f"{metric_words(found.metric)} without", "lost"))
    grid = Grid(Column("product", wraps=True), *numbers, title=found.name)
    all_effects = effects(results, found)
    for effect in all_effects:
        grid.add(effect.name, f"{effect.ratio:.3f}", f"{effect.without:.4f}", f"{effect.lost:+.4f}")
    if not all_effects:
        console.print(f"{found.name} has no product of two activations")
        return
    grid.print()
    first = all_effects[0]
    console.print(
        f"{metric_words(found.metric)} with all: {first.whole:.4f} on n = {first.n} validation images; adds: RMS of "
        "the product's contribution, divided by the RMS of the rest"
    )
