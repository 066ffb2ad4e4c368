"""Prints rankings: of latency by cost and prediction, of a study's metric by scores without training."""

from hadnas.measure.cost import Cost
from hadnas.measure.figures import metric_words
from hadnas.results.scores import score_study
from hadnas.results.table import StudyResults
from hadnas.search.latency.predictor import Predictor
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid


def show_predictor(study: str, found: Predictor) -> None:
    """Rank correlation of each cost and of the fitted predictor with measured latency; the predictor's terms."""
    backend, device = found.protocol["backend"], found.protocol["device"]
    columns = Column(f"{backend} on {device}, n = {found.n}"), Column("Spearman's rho (95 % interval)", right=True)
    grid = Grid(*columns, title=f"{study}: what ranks latency")
    for name, rank in found.costs.items():
        grid.add(name, str(rank) if rank.rho is not None else "- (constant)")
    grid.add("predictor, out of fold", str(found.rank), style="bold")
    grid.print()
    shares = " + ".join(f"{share:.3g} * {name}" for name, share in found.shares.items() if share)
    console.print(f"ratio = {shares}")
    console.print(f"{_errors(found)}; stored in the ledger")
    if found.failed:
        console.print(f"{found.failed} further candidates could not be built or timed")


def show_prediction(name: str, counted: Cost, found: Predictor) -> None:
    """The latency ratio that a stored predictor gives a network, with the predictor's error out of fold."""
    backend, device, reference = (found.protocol[key] for key in ("backend", "device", "reference"))
    console.print(
        f"{name}: predicted latency {found.predict(counted):.3f} times that of the reference network {reference}, "
        f"{backend} on {device}, batch 1\n{_errors(found)}, rank correlation {found.rank}, n = {found.n}",
        soft_wrap=True,
    )
    if beyond := found.beyond(counted):
        warning = f"{', '.join(beyond)}: more than in any candidate it was fitted to, so expect a larger error"
        console.print(warning, soft_wrap=True)


def _errors(found: Predictor) -> str:
    return f"relative error out of fold: median {found.error:.1%}, 90th percentile {found.p90_error:.1%}"


def show_scores(results: StudyResults) -> None:
    """Rank correlation of each score without training with the metric of the study's architectures."""
    found = score_study(results)
    some, words = found["macs"], metric_words(results.study.metric_figure)
    grid = Grid(
        Column("Spearman's rho (95 % interval)"),
        Column(f"all (n={some.overall.n})", right=True),
        Column(f"best quarter (n={some.quarter.n})", right=True),
        title=f"{results.name}: what ranks {words}",
    )
    for name, score in found.items():
        cells = ((score.overall, some.overall.n), (score.quarter, some.quarter.n))
        grid.add(name, *(f"{rank}{f', n = {rank.n}' if rank.n < n else ''}" for rank, n in cells))
    grid.print()
    if any(rank.rho is None for score in found.values() for rank in (score.overall, score.quarter)):
        console.print(f"-: fewer than two architectures, or a constant score or {words}")
    lacking = [f"{score.lacking} without {name}" for name, score in found.items() if score.lacking]
    if lacking:
        console.print(f"left out: {', '.join(lacking)}")
    console.print(
        f"one standard error of the best {words} is {results.best.standard_error:.4f}: the best quarter spans "
        f"{_span(results, some.quarter.n):.4f}",
    )


def _span(results: StudyResults, count: int) -> float:
    best = results.ranked[:count]
    return abs(best[0].value - best[-1].value)
