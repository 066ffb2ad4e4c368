"""What an export says and does where little is known, and where the user's own files lie about."""

import contextlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import BuildError
from hadnas.exporter.folder import export, verify
from hadnas.hosts.build import build, save_weights
from hadnas.hosts.host import make_plan
from hadnas.source.module import plan_source
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
        assert "normalisation of images is not known" in text and "scaled to 0..1" not in text


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [("a weight 1e-4 larger", "gives other logits than the network"), ("a renamed layer", "has other state-dict keys")],
)
def test_code_that_differs_in_its_logits_or_its_keys_alone_is_refused(spoiled: str, said: str, tmp_path: Path) -> None:
    arch = complete(pyramid((8, [residual(op("mlp"))])), DIGITS)
    network, code = build(arch, DIGITS).eval(), plan_source(make_plan(arch, DIGITS), {})
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    if spoiled == "a renamed layer":
        code, weights = code.replace("self.w1", "self.first"), {k.replace("w1", "first"): weights[k] for k in weights}
    else:
        weights["head.fc.bias"][0] += 1e-4
    (tmp_path / "model.py").write_text(code)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(BuildError, match=said):
        verify(tmp_path, network, DIGITS)
