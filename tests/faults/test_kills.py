"""Campaigns of `tests.faults.kills` in short, as processes: a fork of pytest would share its threads."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("how", ["--phases", "--workers 2", "--after --trials 3"])
def test_nothing_is_lost_by_kills(how: str) -> None:
    command = [sys.executable, "-m", "tests.faults.kills", "--rounds", "4", "--trials", "8", *how.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
