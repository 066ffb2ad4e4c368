"""The report of a study: one HTML page that loads nothing from a network, and its figures."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hadnas.errors import StudyError, check_kind, printable
from hadnas.measure.figures import TABLE, metric_words
from hadnas.paths import as_path
from hadnas.results import sections as of
from hadnas.results.candidate import Found
from hadnas.results.finals import openings, read_finals
from hadnas.results.insight import insight
from hadnas.results.table import StudyResults
from hadnas.track.runs import Tracker, store_errors


def write_report(results: StudyResults, out: str | Path | None = None) -> Path:
    """Write the report of a study, by default to `<home>/<study>/report.html`, and log it and its figures to MLflow.

    Raises StudyError if the study has no finished trial, if `out` cannot be written or is another file than a report,
    or if MLflow cannot store it.
    """
    check_kind(results, StudyResults, "study", "a stored study: hadnas.open_study(name)")
    best = results.best
    path = as_path(out) if out else results.home.path / results.name / "report.html"
    if path.exists() and not path.is_file():  # a pipe would wait for a reader
        raise StudyError(f"{path} is not a file; name one with --out")
    if path.is_file() and _MARK not in path.read_bytes()[:1000]:
        raise StudyError(f"{path} is not a report; move it, or name another file with --out")
    insights = insight(results)
    finals = read_finals(results)
    sections = [
        of.front(results),
        of.history(results),
        of.decisions(insights, metric_words(best.metric)),
        of.families(insights, finals, metric_words(best.metric)),
        of.predicted(results, best),
        of.products(results, best),
        of.winner(results, best),
        of.finals(finals, results.name, openings(results)),
        of.refused(results),
        of.machine(results, best),
    ]
    page = Environment(
        loader=PackageLoader("hadnas.results", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("report.html")
    html = printable(page.render(study=results.study, summary=_summary(results, best), sections=sections))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror}") from error
    tracker = Tracker(results.home.tracking_uri, results.home.artifacts, results.name)
    try:
        with store_errors(results.home.tracking_uri):
            tracker.log_text(tracker.parent_run_id, html, "report.html")
            for part in (part for section in sections for part in section.parts if part["kind"] == "figure"):
                tracker.log_text(tracker.parent_run_id, part["svg"], f"figures/{part['name']}.svg")
    finally:
        tracker.leave()
    return path


_MARK = b"hadnas report</title>"


def _summary(results: StudyResults, best: Found) -> str:
    study, facts = results.study, results.stored
    shape = "x".join(map(str, facts["shape"]))
    task, metric = results.task(), f"{metric_words(best.metric)} {results.text(best, TABLE[best.metric])}"
    goals = f"objectives {', '.join(study.objectives)}; {f'constraints {study.limits}; ' if study.limits else ''}"
    return (
        f"{len(results.distinct)} architectures on {study.data.source} ({shape}, {task.outputs} {task.target}), each "
        f"trained for {study.recipe.epochs} epochs with seed {study.seed}; {goals}"
        f"sampler {study.sampler}. Best validation {metric} on "
        f"n = {best.notes['val_n']} images. It was selected on these images, so expect less on others."
    )
