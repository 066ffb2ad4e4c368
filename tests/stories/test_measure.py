"""`hadnas measure`: cost and latency of a model by name, file or folder; what is said where that cannot be."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.exporter.folder import export
from hadnas.inputs import Tokens
from hadnas.measure.latency.sweep import Sized, exponents
from hadnas.space import op
from tests.networks import block_file, pyramid, residual
from tests.shell import hadnas

QUICK = ("--seconds", 0.5)


def test_measure_shows_cost_and_latency(tmp_path: Path) -> None:
    shown = hadnas("measure", "starnet_s050", "--size", "3x32x32", "--batch", 1, "--batch", 2, *QUICK).output
    assert "542,728" in shown and shown.count("eager") == 2
    assert "bytes moved" in shown and "depend on how the module is written" in shown
    assert f"memory format contiguous, torch {torch.__version__}" in shown.replace("\n", " ")
    assert (
        "373,658" in hadnas("measure", "test_resnet", "--size", "3x32x32", "--classes", 10, "--batch", 1, *QUICK).output
    )
    for arguments, said in (
        (["measure", "resnet8000"], "unknown timm model 'resnet8000'"),
        (["measure", "resnet18", "--size", "3x32"], "--size '3x32' is not allowed"),
        (["measure", "resnet18", "--seconds", 0], "0.0 is not in the range 0<x<=86400"),
        (["measure", "resnet18", "--backend", "tvm"], "unknown backend 'tvm'"),
        (["measure", "resnet18", "--device", "cuda:9"], "device 'cuda:9' is not on this machine"),
        (["measure", tmp_path], "there is no file"),
        (["measure", tmp_path / "none.py"], "there is no file"),
    ):
        done = hadnas(*arguments)
        assert done.exit_code == 2 and said in done.output and "cost of" not in done.output, done.output


def test_measure_says_what_an_exported_file_lacks(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def build_model(pretrained):\n    open('no.safetensors')")
    done = hadnas("measure", tmp_path / "model.py")
    assert done.exit_code == 2 and "build_model(pretrained=True) fails with FileNotFoundError" in done.output
    near = hadnas("measure", "mobilnetv4_conv_small").output
    assert "did you mean 'mobilenetv4_conv_small'" in near and "names in all)" in near and len(near) < 1500


def test_an_exported_file_is_measured_as_what_it_is(tmp_path: Path) -> None:
    task = Task.image(3, 16, 16, classes=4)
    export(complete(pyramid((8, [])), task), task, tmp_path / "best")
    model = tmp_path / "best" / "model.py"
    for asked in ((), ("--size", "1x16x16", "--classes", 4), ("--size", "3x16x16")):
        done = hadnas("measure", model, *asked)
        assert done.exit_code == 2 and "--size 3x16x16 --classes 4" in done.output, done.output
    done = hadnas("measure", model, "--size", "3x16x16", "--classes", 4, "--batch", 1, *QUICK)
    assert "cost of one image 3x16x16, 4 classes, float32" in " ".join(done.output.split()), done.output


@pytest.mark.slow
def test_a_network_of_two_inputs_is_measured_with_both_sizes(tmp_path: Path) -> None:
    task = Task({"image": (3, 9, 8), "question": Tokens(5, 11)}, 4)
    words = pyramid((8, []), stem=op("token_embedding", dim=8), norm=None)
    image = pyramid((8, []), norm=None)
    sides = {side: {key: one[key] for key in one if key != "head"} for side, one in (("left", image), ("right", words))}
    node = op("pair", **sides, fusion=op("mlb", dim=8, hidden=4), head=op("pooled_linear"))
    export(complete(node, task), task, tmp_path / "best")
    given = "--size", "3x9x8", "--size", "5of11"
    for network in (tmp_path / "best", tmp_path / "best" / "model.py"):
        done = hadnas("measure", network, *given, "--classes", 4, "--batch", 1, *QUICK)
        assert "cost of one example 3x9x8 and 5 of 11, 4 classes" in " ".join(done.output.split()), done.output
    done = hadnas("measure", tmp_path / "best" / "model.py", *given[:2], "--size", "5of12", "--classes", 4)
    assert done.exit_code == 2 and "use --size 3x9x8 --size 5of11 --classes 4" in done.output
    done = hadnas("measure", tmp_path / "best", "--classes", 4)
    assert done.exit_code == 2 and "a pair reads two inputs; the task has image=3x224x224" in done.output
    done = hadnas("measure", tmp_path / "best", *given[:2], "--size", "5of")
    assert done.exit_code == 2 and "--size '5of' is not allowed" in done.output


def test_measure_takes_a_folder_and_ones_own_block(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(block_file("Halved"))
    (tmp_path / "arch.json").write_text(json.dumps(pyramid((8, [residual(op("halved"))]))))
    arguments = ("measure", tmp_path, "--size", "1x8x8", "--batch", 1, "--device", "auto", *QUICK)
    done = hadnas(*arguments)
    assert done.exit_code == 2 and "name that file with --blocks" in done.output, done.output
    done = hadnas(*arguments, "--blocks", tmp_path / "own.py")
    assert done.exit_code == 0 and "eager" in done.output, done.output


SWEEP = ("--size", "3x8x8", "--classes", 4, "--batch", 1, "--seconds", 0.1)


def test_a_sweep_prints_the_figures_and_exponents_and_writes_them(tmp_path: Path) -> None:
    task = Task.image(3, 8, 8, classes=4)
    for name, block in (("star", "star"), ("heads", "attention")):
        (tmp_path / f"{name}.json").write_text(complete(pyramid((8, [residual(op(block))])), task).json)
    networks = [tmp_path / "star.json", tmp_path / "heads.json"]
    files = ("--csv", tmp_path / "sweep.csv", "--out", tmp_path / "sweep.png")
    done = hadnas("measure", *networks, "--sweep", "32,8,16", *SWEEP, *files)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [(Path(row["network"]).stem, row["side"]) for row in rows] == [
        (name, side) for name in ("star", "heads") for side in ("8", "16", "32")
    ]
    products = [float(row["products"]) for row in rows[:3]]
    assert products[1] == 4 * products[0] > 0 and products[2] == 16 * products[0]
    assert all(float(row["eager_ms"]) > 0 for row in rows)
    assert "1.00 (1.00 to 1.00)" in done.output and (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    again = hadnas("measure", networks[0], "--sweep", "8,16", *SWEEP, *files)
    assert again.exit_code == 2 and "exists already" in again.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--sweep", "32,x"), "--sweep '32,x' is not allowed"),
        (("--sweep", "32"), r"sizes [32]: allowed are two or more different ones"),
        (("--sweep", "32,32"), r"sizes [32, 32]: allowed are two or more different ones"),
        (("--sweep", "16,33"), "test_vit on images of 33 x 33"),
        (("--sweep", "32,64", "--size", "3x8x8", "--size", "4"), "of networks with one image"),
        (("--csv", "a.csv"), "give --sweep"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_is_timed(
    given: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = hadnas("measure", "test_vit", *given, *(() if "--csv" in given else ("--out", "a.png")))
    assert not any(tmp_path.iterdir())
    assert done.exit_code == 2 and said in done.output and "eager" not in done.output, done.output


def test_exponents_are_those_of_the_power_and_zeros_have_none() -> None:
    points = [Sized("a", side, {"macs": 3.0 * side**3, "products": 0.0, "eager_ms": 5.0}) for side in (8, 16, 64)]
    found = exponents(points)
    assert found.keys() == {"macs", "eager_ms"}
    macs = found["macs"]
    assert [macs.value, macs.low, macs.high, macs.last] == pytest.approx([1.5] * 4) and macs.n == 3
    assert found["eager_ms"].value == pytest.approx(0.0)
    two = exponents(points[:2])["macs"]
    assert two.low is None and two.value == pytest.approx(1.5) and str(two) == "1.50"
    noisy = [
        Sized("a", side, {"macs": side**2 * factor}) for side, factor in ((8, 1.0), (16, 1.1), (32, 1.0), (64, 1.1))
    ]
    fit = exponents(noisy)["macs"]
    x = np.log([point.side**2 for point in noisy])
    expected = np.polyfit(x, np.log([point.figures["macs"] for point in noisy]), 1, cov=True)
    reach = 4.302653 * expected[1][0, 0] ** 0.5  # Student's t, 2 degrees of freedom
    assert (fit.value, fit.low) == pytest.approx((expected[0][0], expected[0][0] - reach), rel=1e-5)
