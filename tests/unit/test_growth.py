"""Reading a study of many trials: few queries, and nothing twice."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine, event

from hadnas.results.table import StudyResults
from hadnas.store.home import Home, optuna_storage
from tests.bench.growth import fill, noise, study_of


@contextmanager
def queries() -> Iterator[list[str]]:
    """What is asked of any database in the body."""
    found: list[str] = []

    def asked(*arguments: object) -> None:
        found.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", asked)
    yield found
    event.remove(Engine, "before_cursor_execute", asked)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Home]:
    place, found = tmp_path_factory.mktemp("growth"), {}
    for trials in (5, 40):
        found[trials] = Home(place / str(trials))
        fill(found[trials], study_of(trials, noise(place)), trials)
    return found


def test_the_number_of_queries_does_not_depend_on_the_number_of_trials(homes: dict[int, Home]) -> None:
    counts = {}
    for trials, home in homes.items():
        with queries() as asked:
            results = StudyResults("big", home)
            assert len(results.distinct) == trials and results.front[0].arch is not None
        counts[trials] = len(asked)
    assert counts[5] == counts[40]


def test_what_has_ended_is_read_once(homes: dict[int, Home]) -> None:
    home = homes[5]
    book = optuna.load_study(study_name="big", storage=optuna_storage(home))
    book.get_trials(deepcopy=False)
    with queries() as asked:
        results = StudyResults("big", home, book)
        before = results.found
    assert sum("FROM trial_params" in query for query in asked) == 0  # the open study has them
    with queries() as asked:
        results.refresh()
        assert all(now is found for now, found in zip(results.found, before, strict=True))
    assert sum("FROM hadnas_architecture" in query for query in asked) == 0


def test_an_architecture_that_cannot_be_read_costs_its_trial_alone(homes: dict[int, Home], tmp_path: Path) -> None:
    home = Home(tmp_path)
    copy = sqlite3.connect(home.path / "hadnas.db", isolation_level=None)
    with sqlite3.connect(homes[5].path / "hadnas.db") as kept:
        kept.backup(copy)
        (text,) = kept.execute("select arch from hadnas_architecture where rowid = 3").fetchone()
    copy.execute("update hadnas_architecture set arch = cast(x'ff' as text) where rowid = 3")
    results = StudyResults("big", home)
    assert [found.state for found in results.found].count("damaged") == 1
    copy.execute("update hadnas_architecture set arch = ? where rowid = 3", (text,))
    copy.close()
    results.refresh()
    assert [found.state for found in results.found].count("damaged") == 0
