"""`hadnas retrain`: an architecture trained on other data, from scratch or from weights, scored and exported."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import DataError, SpecError, markdown
from hadnas.hosts.build import build
from hadnas.library import load_architecture, load_network, load_ops
from hadnas.retraining import LONG_RECIPE, retrain, updated_recipe
from hadnas.space import op
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Policy
from hadnas.train.score import score_module
from tests.networks import block_file, pyramid, residual
from tests.pictures import digits, npz, png_folder
from tests.shell import hadnas

DIGITS = Task.image(1, 8, 8, classes=10)
ARCH = complete(pyramid((8, [residual(op("star", expand=2, kernel=3))])), Task.image(3, 16, 16, classes=7))
TWO = np.stack([digits()[0]] * 2, 3)
QUICK = LONG_RECIPE.model_copy(update={"epochs": 1, "batch": 128, "augment": "shift"})


@pytest.mark.slow
def test_what_was_searched_for_other_images_is_trained_scored_and_exported(tmp_path: Path) -> None:
    (tmp_path / "arch.json").write_text(ARCH.json)
    out = tmp_path / "out"
    settings = ("--epochs", 2, "--batch", 128, "--augment", "shift", "--seed", 3)
    done = hadnas("retrain", tmp_path / "arch.json", "--data", "digits", *settings, "--out", out)
    assert done.exit_code == 0, done.output
    assert "epoch 2/2: train/loss" in done.output and "(n = 288)" in done.output
    data, network = load_data("digits"), load_network(str(out / "model.py"), DIGITS)
    val, test = score_module(network, data, "val"), score_module(network, data, "test")
    assert f"validation: accuracy {val.accuracy:.4f} ±{val.standard_error():.4f} (n = 288)" in done.output
    assert f"opened now, once): accuracy {test.accuracy:.4f} ±{test.standard_error():.4f} (n = 360)" in done.output
    card = (out / "README.md").read_text()
    for said in (
        f"| validation accuracy | {val.accuracy:.4f} ± {val.standard_error():.4f} (one standard error, n = 288) |",
        f"| test accuracy | {test.accuracy:.4f} ± {test.standard_error():.4f} (one standard error, n = 360) |",
        *("| seed | 3 |", "| mixup | 0.2 |", "| ema | 0.995 |", "| trained by | hadnas retrain |", "| test | 360 |"),
    ):
        assert said in card, said
    assert load_architecture(out) == complete(ARCH.node, DIGITS)
    again = hadnas("retrain", out, "--data", "digits", "--out", out)
    assert again.exit_code == 2 and "already has files" in again.output


def test_seed_and_weights_decide_where_it_starts(tmp_path: Path) -> None:
    data = load_data("digits")
    first, same, other = (retrain(ARCH, data, QUICK, seed=seed, device="cpu") for seed in (0, 0, 1))
    assert first.fit.curve[0].train_loss == same.fit.curve[0].train_loss != other.fit.curve[0].train_loss
    save_file(first.module.state_dict(), tmp_path / "first.safetensors")
    further = retrain(ARCH, data, QUICK, weights=tmp_path / "first.safetensors", device="cpu")
    assert further.fit.curve[0].train_loss < first.fit.curve[0].train_loss
    assert further.validation.accuracy > first.validation.accuracy


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "--data", "digits"), "unknown study, search space or architecture 'nowhere'"),
        (("four_families", "--data", "digits"), "four_families is not an architecture"),
        (("{arch}", "--data", "nowhere.npz"), "nowhere.npz"),
        (("{arch}", "--data", "digits", "--lr", "-1"), "error: lr = -1.0 is not allowed"),
        (("{arch}", "--data", "digits", "--batch", "5000"), "batch 5000 is larger than the training split"),
        (("{arch}", "--data", "digits", "--weights", "none.safetensors"), "there is no file none.safetensors"),
        (("{deep}", "--data", "digits"), "to 0 x 0"),
        (("{own}", "--data", "digits"), "with --blocks"),
        (("{own}", "--data", "digits", "--blocks", "nowhere.py"), "there is no file nowhere.py"),
        (("{own}", "--data", "digits", "--blocks", "{empty}"), "unknown op 'of_another_file'"),
        (("{own}", "--data", "digits", "--blocks", "{other}"), "unknown op 'of_another_file'"),
        (("{arch}", "--data", "digits", "--augment", "rnd-m9"), "augment = 'rnd-m9' is not allowed; allowed are none"),
        (("{arch}", "--data", "digits", "--hflip", "2"), "augment.timm.hflip = 2.0 is not allowed"),
        (("{arch}", "--data", "digits", "--augment", "shift", "--reprob", "0.1"), "re_prob is allowed with timm's"),
        (("{arch}", "--data", "{two}", "--batch", "8"), "have 2 channels, and timm augments those of 1 or 3 only"),
    ],
)
def test_bad_input_gets_one_sentence_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    deep = {**ARCH.node, "stem": {**ARCH.node["stem"], "kernel": 16, "stride": 16, "padding": 0}}
    own = json.loads(ARCH.json.replace('"star"', '"of_another_file"'))
    for name, text in (("arch", ARCH.json), ("deep", Arch(deep).json), ("own", json.dumps(own))):
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "other.py").write_text(block_file("Halved"))
    places = {path.stem: str(path) for path in tmp_path.iterdir()} | {"two": npz(tmp_path, train_images=TWO)}
    done = hadnas("retrain", *(argument.format(**places) for argument in arguments), "--out", tmp_path / "out")
    assert done.exit_code == 2 and said in done.output, done.output
    assert "Traceback" not in done.output and not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["val", "test"])
def test_labels_that_do_not_define_the_metric_are_refused_before_the_training(part: str, tmp_path: Path) -> None:
    images, labels = digits()[0][:90], (np.arange(90)[:, None] >> np.arange(3)) & 1
    arrays = {f"{split}_{kind}": array for split in ("train", "val", "test") for kind, array in
              (("images", images), ("labels", labels))}  # fmt: skip
    arrays[f"{part}_labels"] = labels * (1, 0, 1)
    np.savez(tmp_path / "labels.npz", class_names=["a", "b", "c"], **arrays)
    with pytest.raises(DataError, match=rf"label 'b' is the same for all images in the {part} split"):
        retrain(ARCH, str(tmp_path / "labels.npz"), QUICK, device="cpu")


@pytest.mark.slow
def test_a_network_of_two_inputs_is_trained_longer_without_augmentation(tmp_path: Path) -> None:
    encoder = {key: value for key, value in pyramid((8, []), norm=None).items() if key != "head"}
    node = op("pair", left=encoder, right=None, fusion=op("mlb", dim=8, hidden=4), head=op("pooled_linear"))
    task = Task({"left": (1, 8, 8), "right": (1, 8, 8)}, 10)
    (tmp_path / "arch.json").write_text(complete(node, task).json)
    given = ("retrain", tmp_path / "arch.json", "--data", "digit_pairs:first", "--epochs", 1, "--out", tmp_path / "out")
    done = hadnas(*given)
    assert done.exit_code == 0 and "(n = 2000)" in done.output, done.output
    assert "| augment | none |" in (tmp_path / "out" / "README.md").read_text()
    asked = hadnas(*given, "--force", "--mixup", 0.2)
    assert asked.exit_code == 2 and "mixup = 0.2 is for data of one image; the inputs" in asked.output, asked.output


@pytest.mark.slow
def test_an_exported_folder_with_a_block_of_ones_own_is_trained_again(tmp_path: Path) -> None:
    """On PNG files, with timm's augmentation, from its weights, and the block named by its file."""
    (tmp_path / "mine.py").write_text(block_file("Doubled"))
    load_ops(tmp_path / "mine.py")
    arch = complete(pyramid((8, [residual(op("doubled"))])), DIGITS)
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "arch.json").write_text(arch.json)
    save_file(build(arch, DIGITS).state_dict(), tmp_path / "best" / "model.safetensors")
    images = png_folder(tmp_path / "images")
    settings = ("--epochs", 1, "--batch", 16, "--augment", "rand-m5-mstd0.5", "--hflip", 0, "--scale", 0.7, 1)
    own = ("--weights", tmp_path / "best" / "model.safetensors", "--blocks", tmp_path / "mine.py")
    done = hadnas("retrain", tmp_path / "best", "--data", images, *settings, *own, "--out", tmp_path / "final")
    assert done.exit_code == 0, done.output
    assert "class Doubled(nn.Module):" in (tmp_path / "final" / "model.py").read_text()
    said = "auto_augment rand-m5-mstd0.5, scale (0.7, 1.0), hflip 0.0, color_jitter 0.4, re_prob 0.0"
    assert f"| augment | {markdown(said)} |" in (tmp_path / "final" / "README.md").read_text()


def test_settings_of_the_augmentation() -> None:
    fuller = LONG_RECIPE.augment
    assert isinstance(fuller, Policy) and fuller.auto_augment == "rand-m9-mstd0.5-inc1"
    assert updated_recipe(LONG_RECIPE, {"hflip": 0.0}).augment == fuller.model_copy(update={"hflip": 0.0})
    assert updated_recipe(LONG_RECIPE, {"augment": "timm", "scale": (0.1, 1.0)}).augment == Policy(scale=(0.1, 1.0))
    assert updated_recipe(LONG_RECIPE, {"augment": "shift"}).augment == "shift"


def test_weights_for_other_classes_are_named(tmp_path: Path) -> None:
    save_file(build(ARCH, Task.image(1, 8, 8, classes=9)).state_dict(), tmp_path / "nine.safetensors")
    with pytest.raises(SpecError, match=r"in 2 of \d+ tensors: head\.fc\.weight is \(9, 8\); allowed is \(10, 8\)"):
        retrain(ARCH, "digits", QUICK, weights=tmp_path / "nine.safetensors", device="cpu")
    with pytest.raises(SpecError, match=r"^ema = 2"):
        updated_recipe(LONG_RECIPE, {"ema": 2})
