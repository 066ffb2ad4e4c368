"""What an export says and does where little is known, and where the user's own files lie about."""

import contextlib
from pathlib import Path

import torch

from hadnas.exporter.folder import export
from hadnas.models.build import build, save_weights
from hadnas.models.complete import complete
from hadnas.models.task import Task
from hadnas.space import op
from tests.networks import pyramid, residual

DIGITS = Task.image(1, 8, 8, classes=10)


def test_ones_own_files_are_not_run_and_an_unknown_normalisation_is_said(tmp_path: Path) -> None:
    arch = complete(pyramid((8, [residual(op("mlp"))])), DIGITS)
    torch.manual_seed(1)
    save_weights(build(arch, DIGITS), tmp_path / "mine.safetensors")
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the user ran')")
    with contextlib.chdir(tmp_path):
        export(arch, DIGITS, "best", "mine.safetensors")
    for name in ("model.py", "README.md"):
        text = (tmp_path / "best" / name).read_text()
        assert "How images are to be normalised is not known here" in text and "scaled to 0..1" not in text
