"""Prints the studies of a home."""

from contextlib import suppress

from hadnas.errors import StudyError
from hadnas.measure.figures import metric_words
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid
from hadnas.store.database import clear_errors
from hadnas.store.home import Home
from hadnas.store.study_store import stored_study, study_names


def read_names(home: str | None) -> list[str]:
    """The studies of a home; none if there is no home yet."""
    with suppress(StudyError):
        return study_names(Home(home, reading=True))
    return []


def show_studies(home: Home) -> None:
    """Name, finished trials, data and metric of each study of a home. Raises StudyError if it has none."""
    names, reasons = study_names(home), []
    if not names:
        raise StudyError(f"there is no study in {home.path}; `hadnas search digits` makes one")
    heads = Column("study", name=True), Column("trials", right=True), Column("data", name=True), Column("metric")
    grid = Grid(*heads, title="Your studies")
    for name in names:
        try:
            study, book = stored_study(name, home)
            with clear_errors(home.url, f"a trial of study {name!r}"):
                trials = book.get_trials(deepcopy=False)
        except StudyError as error:  # it is damaged, or never began; the others can be seen all the same
            grid.add(name, "-", "-", "-")
            reasons.append(str(error))
            continue
        finished = sum(trial.state.name == "COMPLETE" for trial in trials)
        grid.add(name, str(finished), study.data.source, metric_words(study.metric_figure))
    grid.print()
    for reason in reasons:
        console.print(reason)
