"""Prints the finals of a study, and the products of a trained candidate."""

from rich.table import Table

from hadnas.measure.figures import metric_words, shown_in
from hadnas.results.candidate import Found
from hadnas.results.finals import Final, lacking, opened_words
from hadnas.results.insight import effects
from hadnas.results.statistics import MIN_SEED_PAIRS, interval_words
from hadnas.results.table import StudyResults
from hadnas.shell.tables import console


def show_finals(study: str, finals: list[Final], opened: int) -> None:
    """The test metric of each network in the finals, and the lead of the finalist it is compared with."""
    some = next((final.estimate for final in finals if final.estimate is not None), None)
    metric = finals[0].metric if finals else "accuracy"
    title = f"{study}: finals, test {metric.replace('_', ' ')} with 95 % intervals"
    if some is not None:
        title += f" over {some.seeds} {'seed' if some.seeds == 1 else 'seeds'} and n = {some.n} images"
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    costs = shown_in("finals")
    scores = (f"test/{metric}", "interval", "seeds' std", "finalist ahead by")
    for column in ("", "network", *(figure.label for figure in costs), *scores):
        table.add_column(column, no_wrap=column != "finalist ahead by")
    for final in finals:
        known = ["" if final.costs is None else figure.brief(figure.of(final.costs)) for figure in costs]
        if final.estimate is None:
            table.add_row(final.kind, final.name, *known, "-", "", "", f"not trained: {final.reason}")
            continue
        found = final.estimate
        deviation = "" if found.seed_std is None else final.text(found.seed_std)
        row = final.text(found.mean), final.interval, deviation, final.lead_text
        table.add_row(final.kind, final.name, *known, *row)
    console.print(table)
    note = "" if some is None else f"{interval_words(some.seeds)}; "
    console.print(f"{note}a p-value needs {MIN_SEED_PAIRS} seeds and is not corrected for the number of comparisons")
    for sentence in (*lacking(finals), opened_words(opened)):
        console.print(sentence)


def show_effects(results: StudyResults, found: Found) -> None:
    """Every product of a trained candidate, on the study's validation images."""
    table = Table(
        "product",
        "adds",
        f"{metric_words(found.metric)} without",
        "lost",
        title=found.name,
        title_justify="left",
        box=None,
    )
    all_effects = effects(results, found)
    for effect in all_effects:
        table.add_row(effect.name, f"{effect.ratio:.3f}", f"{effect.without:.4f}", f"{effect.lost:+.4f}")
    if not all_effects:
        console.print(f"{found.name} has no product of two activations")
        return
    console.print(table)
    first = all_effects[0]
    console.print(
        f"{metric_words(found.metric)} with all: {first.whole:.4f} on n = {first.n} validation images; adds: RMS of "
        "the product's contribution, divided by the RMS of the rest"
    )
