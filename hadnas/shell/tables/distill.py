"""Prints the scores of options at the sites of a network, and the best combinations of them."""

from shlex import quote

from hadnas.measure.figures import TABLE, Figure
from hadnas.search.distill.distill import Combination, Distilled
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid


def show_distilled(found: Distilled) -> None:
    """The score of each option at each site, and the best combination within each limit."""
    figure = TABLE[found.figure]
    title = f"{found.study}: divergence of the classes from those of the network, of {found.n} validation images"
    grid = Grid(
        Column("site"),
        Column("option", wraps=True),
        Column("KL", right=True),
        Column("±", right=True, spare=2),
        Column("loss", right=True, spare=3),
        Column(f"change of {figure.label}", right=True),
        title=title,
    )
    last, replacing = "", [one for one in found.options if one.option.replaced]
    for one in replacing:
        site = "" if one.choice.name == last else one.choice.name
        loss = "" if one.divergence.loss is None else f"{one.divergence.loss:.3f}"
        score = f"{one.divergence.mean:.4f}", f"{one.divergence.error:.4f}"
        grid.add(site, one.option.label, *score, loss, _change(figure, one.change))
        last = one.choice.name
    grid.print()
    if others := sum(bool(one.option.sites) for one in found.options) - len(replacing):
        console.print(
            f"{others} options around modules (products, second order, gates) are for the fine-tuning to judge"
        )
    best = Grid(
        Column("enqueued", spare=1),
        Column(figure.label, right=True),
        Column("KL", right=True),
        Column("±", right=True, spare=2),
        Column("in place of the network's own", wraps=True),
        title=f"best combinations below the {figure.brief(found.parent)} {figure.label} of the network",
    )
    for combination in found.combinations:
        best.add(
            combination.name,
            figure.brief(combination.figure),
            f"{combination.score:.4f}",
            f"{combination.error:.4f}",
            _changes(combination),
        )
    best.print()
    if found.is_meaningless:
        console.print(
            f"warning: no option alone costs more than five standard errors of accuracy ({found.accuracy:.4f}), so the "
            "network does not need these modules and the scores rank nothing; train it longer, or choose other sites"
        )
    console.print(
        f"{len(found.combinations)} enqueued: hadnas search with the same study, data and sites, and --weights "
        f"{quote(str(found.start))}, trains them first, from their distilled weights",
        soft_wrap=True,
    )


def _change(figure: Figure, change: float) -> str:
    sign = "-" if change < 0 else "+" * (change > 0)
    return f"{sign}{figure.brief(abs(change))}"


def _changes(found: Combination) -> str:
    """Site and option of everything that changes."""
    changed = (one for one in found.options if one.option.sites)
    return ", ".join(f"{one.choice.name} {one.option.label}" for one in changed)
