"""The code is formatted, without findings, and typed."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", "mypy"])
def test_nothing_is_found(command: str) -> None:
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-m", *command.split()], cwd=root, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
