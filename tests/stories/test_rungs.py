"""A study whose trainings are stopped at a rung, and what becomes of the stopped ones."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from hadnas.errors import Interrupted, StudyError
from hadnas.opened import open_study
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.search.evaluator import Evaluator
from hadnas.search.mirror.restore import restore
from hadnas.search.progress import Progress
from hadnas.search.run import run_study
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import Training
from hadnas.store.study import Study
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from tests.homes import Unseen, new_home, study
from tests.shell import hadnas


@pytest.fixture(scope="module", autouse=True)
def _strict() -> Any:
    """Every training stops if two have ended, one of them with as few MACs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hadnas.samplers.rungs.MIN_FINISHED", 2)
        patch.setattr("hadnas.samplers.rungs.OPTIMISM", -1e9)
        yield


def chosen(**changes: Any) -> Study:
    recipe = Recipe(epochs=3, batch=512)
    return study(**{"recipe": recipe, "rungs": (1,), "trials": 4, "sampler": "random", **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    found = new_home(tmp_path_factory.mktemp("rungs") / "home")
    progress = run_study(chosen(), found)
    stopped = len(open_study("tiny", found.path).stopped)
    assert (progress.done, progress.stopped, progress.refused) == (4, stopped, 0) and stopped == 2
    return found


def copied(home: Home, place: Path) -> Home:
    shutil.copytree(home.path, place)
    return Home(place)


def training(results: StudyResults, found: Found) -> Training:
    assert found.arch is not None
    (known,) = results.ledger.trainings(fingerprint=found.arch.fingerprint)
    return known


def run(home: Home, found: Found) -> tuple[Run, list[int]]:
    """The run of a trial and the epochs of its curve."""
    client = MlflowClient(home.tracking_uri)
    assert found.run_id is not None
    points = client.get_metric_history(found.run_id, "val/accuracy")
    return client.get_run(found.run_id), [point.step for point in points]


def checkpoints(home: Home) -> set[str]:
    return {path.name.partition("-")[0] for path in (home.path / "checkpoints").iterdir()}


def test_a_stopped_trial_is_pruned_with_its_rung_and_nothing_final(home: Home) -> None:
    results = open_study("tiny", home.path)
    assert checkpoints(home) == {found.arch.fingerprint for found in results.stopped if found.arch}
    for found in results.stopped:
        trial = results.book.trials[found.number or 0]
        assert trial.state.name == "PRUNED" and trial.user_attrs["rung"] == found.rung == 1
        assert max(trial.constraints.values()) <= 0 and "weights" not in found.notes
        assert "macs" in found.figures and not any(name.startswith("val/") for name in found.figures)
        assert found.reason is not None and "after epoch 1 of 3" in found.reason and "trial-000" in found.reason
        known = training(results, found)
        assert (known.state, known.reason, known.metrics) == ("stopped", found.reason, {})
        assert {point.epoch for point in known.curve} == {1}  # drawn again, it is asked again and not trained
        assert len({point.seconds for point in known.curve}) == 1
        shown, epochs = run(home, found)
        assert (shown.info.status, shown.data.tags["hadnas.rung"], epochs) == ("KILLED", "1", [1])
        assert shown.data.tags["hadnas.reason"] == found.reason
        with pytest.raises(StudyError, match=rf"{found.name} is stopped .*after epoch 1 of 3"):
            results.trial(found.number or 0)
    for found in results.distinct:
        assert "hadnas.rung" not in run(home, found)[0].data.tags


def test_stopped_trials_are_shown_apart_from_refused_ones(home: Home, tmp_path: Path) -> None:
    results = open_study("tiny", home.path)
    names = ", ".join(found.name for found in results.stopped)
    done = hadnas("top", "tiny", "--home", home.path)
    assert done.exit_code == 0 and f"after epoch 1 of 3: {names}" in done.output, done.output
    assert "refused" not in done.output and results.refused == [] and results.num_met == 4
    assert all(found.name not in done.output.partition("stopped")[0] for found in results.stopped)
    rows = results.trials_dataframe(full=True).set_index("name")
    assert [rows.state[found.name] for found in results.stopped] == ["stopped"] * len(results.stopped)
    assert [rows.rung[found.name] for found in results.stopped] == [1] * len(results.stopped)
    number = results.stopped[0].number
    done = hadnas("export", "tiny", "--home", home.path, "--trial", number, "--out", tmp_path / "out")
    assert done.exit_code == 2 and f"trial-000{number} is stopped" in done.output
    experiment = MlflowClient(home.tracking_uri).get_experiment_by_name("hadnas/tiny")
    assert experiment is not None and "tags.`hadnas.rung`" in experiment.tags["mlflow.sharedViewState.hadnas"]


def test_a_study_that_is_interrupted_at_a_rung_and_resumed_is_the_same(home: Home, tmp_path: Path) -> None:
    whole, cut = open_study("tiny", home.path), new_home(tmp_path)
    at = f"trial {whole.stopped[0].number}"

    def interrupt(progress: Progress) -> None:
        if (progress.label, progress.phase, progress.epoch) == (at, "train", 1):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run_study(chosen(), cut, watch=interrupt)
    progress = run_study(chosen(), cut)
    assert (progress.done, progress.stopped) == (4, len(whole.stopped))
    resumed = open_study("tiny", cut.path)
    told = [[(f.state, f.rung, f.params, f.figures, f.reason) for f in found.found] for found in (whole, resumed)]
    assert told[0] == told[1]
    known = training(resumed, resumed.stopped[0])
    first, second = known.curve
    assert (first.attempt, second.attempt) == (1, 2) and first.seconds == second.seconds  # trained once
    with pytest.raises(StudyError, match="rungs"):
        run_study(chosen(rungs=()), cut)


def test_a_study_without_rungs_continues_what_another_stopped(home: Home, tmp_path: Path) -> None:
    """And what is written to MLflow anew of the first is still what it was."""
    place = copied(home, tmp_path / "copy")
    before = open_study("tiny", place.path)
    progress = run_study(chosen(name="whole", rungs=()), place)
    assert (progress.done, progress.stopped) == (4, 0) and checkpoints(place) == set()
    results = open_study("whole", place.path)
    assert {found.state for found in results.found} == {"complete"}
    continued = {found.arch.fingerprint: found for found in results.distinct if found.arch}
    for found in before.stopped:
        assert found.arch is not None and not continued[found.arch.fingerprint].notes["reused"]
        known = training(results, found)
        assert known.state == "complete"
        last = [point for point in known.curve if point.attempt == known.attempt]
        assert [point.epoch for point in last] == [1, 2, 3] and last[0].seconds == known.curve[0].seconds
    assert [found.state for found in open_study("tiny", place.path).found] == [found.state for found in before.found]
    restore("tiny", place)  # a copy lacks the runs of what was copied
    for found in open_study("tiny", place.path).stopped:
        assert found.run_id not in {other.run_id for other in before.stopped}
        shown, epochs = run(place, found)
        assert (shown.info.status, shown.data.tags["hadnas.rung"], epochs) == ("KILLED", "1", [1])


def test_what_is_held_to_no_rule_is_trained_to_the_end(home: Home, tmp_path: Path) -> None:
    """As the finals and the baselines are, whatever the rungs of their study."""
    place = copied(home, tmp_path / "copy")
    results = open_study("tiny", place.path)
    plan, ledger = results.plan(results.stopped[0]), Ledger(place.url)
    evaluator = Evaluator(chosen(), load_data("digits"), place, ledger, "cpu")
    outcome = evaluator.evaluate(plan, Unseen(), held=True)
    assert outcome.rung is None and outcome.reason == "" and 0 < outcome.figures["val/accuracy"] < 1
    ledger.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": (2, 1)}, r"rungs = \[2, 1\] with epochs = 3"),
        ({"rungs": (3,)}, r"rungs = \[3\] with epochs = 3"),
        ({"objectives": ("macs", "params")}, r"rungs = \[1\].*val/accuracy"),
    ],
)
def test_rungs_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chosen(**changes)


def test_rungs_are_given_on_the_command_line(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from hadnas import Recipe, Study\nfrom tests.networks import TINY_SPACE\n"
        "STUDY = Study(name='tiny', space=TINY_SPACE, trials=4, latency=None, rungs=(2,), sampler='random',"
        " recipe=Recipe(epochs=3, batch=512))\n"
    )
    for rungs, message in (("1,x", "--rungs '1,x'"), ("", "--rungs ''"), ("2,1", "rungs = [2, 1] with epochs = 3")):
        done = hadnas("search", file, "--home", tmp_path / "no", "--rungs", rungs)
        assert done.exit_code == 2 and message in done.output and not (tmp_path / "no").exists(), done.output
    done = hadnas("search", file, "--home", home.path, "--rungs", "1")
    assert done.exit_code == 0 and "2 trainings were stopped at a rung" in done.output, done.output
    for rungs in ("none", "1,2"):
        done = hadnas("search", file, "--home", home.path, "--rungs", rungs)
        assert done.exit_code == 2 and "rungs" in done.output, done.output
