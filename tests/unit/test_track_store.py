"""The file of MLflow's tables: whole or not there, and right where its home was moved."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.utils.file_utils import local_file_uri_to_path

from hadnas.store.home import Home
from hadnas.track.runs import Tracker
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


def test_the_files_of_a_moved_home_lie_where_it_is(tmp_path: Path) -> None:
    home = new_home(tmp_path / "before")
    tracker = Tracker(home.tracking_uri, home.artifacts, "s")
    run_id = tracker.start_trial(0, "trial", "trial-0000", {}, {})
    tracker.log_text(run_id, "class Model: ...", "model.py")
    shutil.move(tmp_path / "before", tmp_path / "after all")
    moved = Home(tmp_path / "after all")
    tracker = Tracker(moved.tracking_uri, moved.artifacts, "s")
    place = local_file_uri_to_path(tracker.client.get_run(run_id).info.artifact_uri)
    assert (Path(place) / "model.py").read_text() == "class Model: ..."
    other = tracker.start_trial(1, "trial", "trial-0001", {}, {})
    tracker.log_text(other, "class Model: ...", "model.py")
    assert (moved.artifacts / "s" / other / "artifacts" / "model.py").exists()
    assert not (tmp_path / "before").exists()
