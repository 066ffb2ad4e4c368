"""The file of MLflow's tables: whole or not there, and right where its home was moved."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hadnas.store.home import Home
from hadnas.track.runs import Tracker
from hadnas.track.store import is_elsewhere, place
from tests.homes import new_home

MAKE = "import sys; from pathlib import Path; from hadnas.track.store import make; make(sys.argv[1], Path(sys.argv[2]))"


@pytest.mark.slow
def test_a_file_whose_making_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    home = Home(tmp_path / "a?b #1")
    uri, file, new = home.tracking_uri, home.path / "mlflow.db", home.path / "mlflow.db.new"
    maker = subprocess.Popen([sys.executable, "-c", MAKE, uri, str(home.artifacts)])
    while maker.poll() is None and not (new.exists() and new.stat().st_size > 100_000):  # in the midst of its tables
        time.sleep(0.005)
    maker.kill()
    maker.wait()
    assert new.exists() and not file.exists()
    tracker = Tracker(uri, home.artifacts, "s")
    assert tracker.run_ids() == {tracker.parent_run_id}
    assert file.exists() and not new.exists() and list(tmp_path.iterdir()) == [home.path]


def test_a_home_with_two_paths_was_not_moved(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    before = Tracker(home.tracking_uri, home.artifacts, "s")
    location = place(home.artifacts, "s")
    (tmp_path / "link").symlink_to(home.path)
    linked = Home(tmp_path / "link")
    assert Tracker(linked.tracking_uri, linked.artifacts, "s").parent_run_id == before.parent_run_id
    assert not is_elsewhere(home.tracking_uri, (linked.artifacts / "s").as_uri(), location)
    assert is_elsewhere(home.tracking_uri, (tmp_path / "gone" / "artifacts" / "s").as_uri(), location)
    assert not is_elsewhere("postgresql://db/x", (tmp_path / "gone" / "artifacts" / "s").as_uri(), location)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_study_of_a_moved_home_begins_another_experiment(tmp_path: Path, deleted: bool) -> None:
    """Twice, as the name of the one before must not be in its way; files of the parent run follow, others go."""
    home = new_home(tmp_path / "a")
    for there in ("after all", "a"):
        tracker = Tracker(home.tracking_uri, home.artifacts, "s")
        run_id = tracker.start_trial(0, "trial", "trial-0000", {}, {})
        tracker.log_text(run_id, "class Model: ...", "model.py")
        tracker.log_text(tracker.parent_run_id, "<p>", "report.html")
        tracker.set_whole()
        if deleted:
            tracker.client.delete_experiment(tracker.experiment_id)
        home.path.rename(tmp_path / there)
        home = Home(tmp_path / there)
        moved = Tracker(home.tracking_uri, home.artifacts, "s")
        assert moved.run_ids(deleted=True) == {moved.parent_run_id} and not moved.is_whole
        assert [found.name for found in moved.client.search_experiments(filter_string="name LIKE 'hadnas/%'")] == [
            "hadnas/s"
        ]
        files = [path.relative_to(home.artifacts / "s") for path in (home.artifacts / "s").rglob("*.*")]
        assert files == [Path(moved.parent_run_id) / "artifacts" / "report.html"]
        assert list(tmp_path.iterdir()) == [home.path]
