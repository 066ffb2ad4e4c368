"""The report of a study: one HTML page that loads nothing from a network, and its figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hadnas.errors import StudyError, check_kind, printable
from hadnas.inputs import shape_text
from hadnas.measure.figures import TABLE, VAL, metric_words
from hadnas.measure.metrics.metric import METRICS
from hadnas.paths import as_path
from hadnas.results import sections as of
from hadnas.results.candidate import Found
from hadnas.results.finals.finals import Final, SplitScores, openings, read_finals
from hadnas.results.finals.stress import stress_section
from hadnas.results.insight import insight
from hadnas.results.predictions import score_in
from hadnas.results.statistics import Estimate
from hadnas.results.table import StudyResults
from hadnas.track.failure import store_errors
from hadnas.track.runs import Tracker
from hadnas.train.data.spec import Data


def write_report(results: StudyResults, out: str | Path | None = None) -> Path:
    """Write the report of a study, by default to `<home>/<study>/report.html`, and log it and its figures to MLflow.

    Raises StudyError if the study has no finished trial, if `out` cannot be written or is another file than a report,
    or if MLflow cannot store it.
    """
    check_kind(results, StudyResults, "study", "a stored study: hadnas.open_study(name)")
    _ = results.best  # raises if there is none
    path = as_path(out) if out else results.home.path / results.name / "report.html"
    if path.exists() and not path.is_file():  # a pipe would wait for a reader
        raise StudyError(f"{path} is not a file; name one with --out")
    if path.is_file() and _MARK not in path.read_bytes()[:1000]:
        raise StudyError(f"{path} is not a report; move it, or name another file with --out")
    html, figures = _page(results, None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"{path.name}.part")
        half.unlink(missing_ok=True)
        half.write_text(html, encoding="utf-8")
        half.replace(path)  # a link is replaced, not followed
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror}") from error
    tracker = Tracker(results.home.tracking_uri, results.home.artifacts, results.name)
    try:
        with store_errors(results.home.tracking_uri):
            _log(tracker, html, figures)
    finally:
        tracker.leave()
    return path


_MARK = b"hadnas report</title>"


def log_report(results: StudyResults, tracker: Tracker, data: Data | None = None) -> None:
    """Log the report of a study and its figures to its parent run; `data` are its images, if they were read already.

    Raises StudyError if the study has no finished trial.
    """
    _log(tracker, *_page(results, data))


def _log(tracker: Tracker, html: str, figures: Mapping[str, str]) -> None:
    tracker.log_text(tracker.parent_run_id, html, "report.html")
    for name, svg in figures.items():
        tracker.log_text(tracker.parent_run_id, svg, f"figures/{name}.svg")


def _page(results: StudyResults, data: Data | None) -> tuple[str, dict[str, str]]:
    """The page, and its figures as SVG by name."""
    best, insights, finals = results.best, insight(results), read_finals(results)
    sections = [
        of.front(results),
        of.history(results),
        of.decisions(insights, metric_words(best.metric)),
        of.families(insights, finals, metric_words(best.metric)),
        of.predicted(results, best),
        of.products(results, best, data),
        of.winner(results, best),
        of.finals(finals, results.name, openings(results)),
        stress_section(results),
        of.refused(results),
        of.machine(results, best),
    ]
    page = Environment(
        loader=PackageLoader("hadnas.results", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("report.html")
    first, summary = first_sentence(results), _summary(results, best)
    html = printable(page.render(study=results.study, first=first, summary=summary, sections=sections))
    parts = [part for section in sections for part in section.parts if part["kind"] == "figure"]
    return html, {part["name"]: part["svg"] for part in parts}


def first_sentence(results: StudyResults) -> str:
    """What won, by how much, whether that is more than noise, and what the products bought.

    From the finals if there are any, else from the validation images. Raises StudyError without a finished trial.
    """
    finals = read_finals(results)
    won = next((final for final in finals if final.kind == "finalist" and final.estimate is not None), None)
    return _of_search(results, results.best) if won is None else _of_finals(won, finals)


def _of_finals(won: Final, finals: Sequence[Final]) -> str:
    found = won.estimate
    assert found is not None
    seeds = f", mean of {found.seeds} seeds" if found.seeds > 1 else ""
    parts = [
        f"{won.name} won: test {won.metric.replace('_', ' ')} {won.text(found.mean)} (95 % interval {won.interval}) on "
        f"{found.n:,} images{seeds}"
    ]
    baselines = [(final.lead, final.name) for final in finals if final.kind == "baseline" and final.lead is not None]
    if baselines:
        lead, name = min(baselines, key=lambda pair: pair[0].mean)
        parts.append(_margin(won.metric, lead, f"the best baseline, {name}"))
    twin = next((f for f in finals if (f.kind, f.against) == ("additive twin", won.name) and f.lead is not None), None)
    if twin is not None and twin.lead is not None:
        bought = _margin(won.metric, twin.lead, "its additive twin, which has sums in their place")
        parts.append(f"with its products it is {bought}")
    else:
        parts.append("what its products bought is not known, as it has no additive twin")
    return "; ".join(parts) + "."


def _of_search(results: StudyResults, best: Found) -> str:
    metric = best.metric.removeprefix(VAL)
    parts = [
        f"{best.name} won: validation {metric_words(best.metric)} {METRICS[metric].text(best.value)} on "
        f"{best.notes['val_n']:,} images, on which it was selected"
    ]
    baselines = sorted((found for found in results.baselines if found.feasible), key=Found.rank)
    if baselines:
        parts.append(_lead(results, best, baselines[0], f"the best baseline, {baselines[0].name}"))
    multiplies = bool(best.figures["products"])
    others = [found for found in results.ranked if bool(found.figures["products"]) != multiplies]
    if others:
        kind = f"the best network {'without' if multiplies else 'with'} products, {others[0].name}"
        lead = _lead(results, best, others[0], kind)
        parts.append(f"with its products it is {lead}" if multiplies else f"it has no products and is {lead}")
    elif multiplies:
        parts.append(f"every network has products, so what they buy is not known before hadnas finals {results.name}")
    else:
        parts.append("no network has products")
    return "; ".join(parts) + "."


def _lead(results: StudyResults, best: Found, other: Found, name: str) -> str:
    """The lead of `best` on the validation images, paired by image, in words."""
    metric = best.metric.removeprefix(VAL)
    one, two = SplitScores(METRICS[metric]), SplitScores(METRICS[metric])
    for scores, found in ((one, best), (two, other)):
        if (score := score_in(results, found)) is None:  # of an earlier version, which stored no predictions
            return f"{METRICS[metric].text(best.goodness - other.goodness)} better than {name} (noise not known)"
        scores.add(score)
    return _margin(metric, one.lead(two), name)


def _margin(metric: str, lead: Estimate, name: str) -> str:
    """A lead over a network in words."""
    text = METRICS[metric].text
    low, high = (f"{'-' if value < 0 else '+'}{text(abs(value))}" for value in (lead.low, lead.high))
    size = f"{text(abs(lead.mean))} {'worse' if lead.mean < 0 else 'better'} than" if lead.mean else "as good as"
    return f"{size} {name} (95 % interval {low} to {high}: {'inside the noise' if lead.noise else 'more than noise'})"


def _summary(results: StudyResults, best: Found) -> str:
    study = results.study
    shape = " and ".join(map(shape_text, results.task().shapes))
    task, metric = results.task(), f"{metric_words(best.metric)} {results.text(best, TABLE[best.metric])}"
    goals = f"objectives {', '.join(study.objectives)}; {f'constraints {study.limits}; ' if study.limits else ''}"
    return (
        f"{len(results.distinct)} architectures on {study.data.source} ({shape}, {task.target_text}), each "
        f"trained for {study.recipe.epochs} epochs with seed {study.seed}; {goals}"
        f"sampler {study.sampler}. Best validation {metric} on "
        f"n = {best.notes['val_n']} images. It was selected on these images, so expect less on others."
    )
