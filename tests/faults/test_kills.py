"""Campaigns of `tests.faults.kills` in short, as processes: a fork of pytest would share its threads."""

import subprocess
import sys

import pytest


@pytest.mark.faults
@pytest.mark.parametrize("how", [pytest.param("--phases", marks=pytest.mark.slow), "--workers 2", "--after"])
def test_nothing_is_lost_by_kills(how: str) -> None:
    command = [sys.executable, "-m", "tests.faults.kills", "--kills", "4", *how.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
