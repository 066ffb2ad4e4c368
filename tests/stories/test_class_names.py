"""The classes of a network in the order of its logits: the same for hadnas, for timm, and in everything exported."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from timm.data import create_dataset, create_transform, resolve_model_data_config
from timm.data.readers.class_map import load_class_map

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import SpecError, StudyError
from hadnas.exporter.deliver import facts
from hadnas.exporter.folder import export
from hadnas.hosts.host import make_plan
from hadnas.library import load_architecture
from hadnas.opened import open_study
from hadnas.results.sections import machine
from hadnas.retraining import Retrained, retrain
from hadnas.search.run import run_study
from hadnas.shell.progress import SearchDisplay
from hadnas.source.module import plan_source
from hadnas.space import op
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from hadnas.train.score import score_module
from tests.homes import new_home, study
from tests.networks import pyramid, residual
from tests.pictures import LABELS, PIXELS, npz
from tests.stories.test_export_timm import imported

TASK = Task.image(3, 16, 16, classes=14)
NAMES = [*(str(number) for number in range(12)), "naïve", "|B|"]
ARCH = complete(pyramid((8, [residual(op("star", expand=2, kernel=3))])), TASK)
THREE = Task.image(1, 8, 8, classes=3)
SMALL = complete(pyramid((4, [])), THREE)
RESNET = complete({"op": "timm", "model": "test_resnet"}, THREE)


def bars(root: Path, each: int = 30) -> Path:
    """A bright bar on noise, for every class at its own place and in one of three colours: easy to learn."""
    random = np.random.default_rng(0)
    for place, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for number in range(each):
            image = random.integers(0, 60, (16, 16, 3), dtype=np.uint8)
            image[place : place + 3, :, place % 3] = 230
            Image.fromarray(image).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Retrained, Path]]:
    """A folder of images, a network trained on it, and the folder of its export, whose code is imported."""
    folder = tmp_path_factory.mktemp("trained")
    network = retrain(ARCH, str(bars(folder / "images")), Recipe(epochs=8, batch=32, lr=0.02), device="cpu")
    out = network.export(folder / "out")
    with imported(out / "model.py"):
        yield folder / "images", network, out


def test_a_network_scores_alike_by_hadnas_and_by_timm(trained: tuple[Path, Retrained, Path]) -> None:
    """Through timm's reader, with its own order and with the class map, and timm's transform."""
    root, result, out = trained
    right = int(torch.cat([score_module(result.module, result.data, split).hits for split in ("val", "test")]).sum())
    for (images,), labels in result.data.train.batches(100):
        right += int((result.module(images).argmax(1) == labels).sum())
    network = timm.create_model(f"hadnas_{result.arch.fingerprint}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(network))
    for class_map in ("", str(out / "class_map.txt")):
        reader = create_dataset("", root, class_map=class_map).reader
        assert list(reader.class_to_idx) == list(result.data.class_names)
        paths, targets = zip(*reader.samples, strict=True)
        with torch.inference_mode():
            found = network(torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])).argmax(1)
        assert int((found == torch.tensor(targets)).sum()) == right
    assert right > 0.5 * len(NAMES) * 30


def test_an_export_names_its_classes_everywhere(trained: tuple[Path, Retrained, Path], tmp_path: Path) -> None:
    _, result, out = trained
    assert json.loads((out / "arch.json").read_text())["class_names"] == NAMES
    assert load_architecture(out) == result.arch and load_architecture(out).fingerprint == result.arch.fingerprint
    with safe_open(out / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["class_names"]) == NAMES
    assert load_class_map(str(out / "class_map.txt")) == {name: label for label, name in enumerate(NAMES)}
    assert list(timm.create_model(f"hadnas_{result.arch.fingerprint}").pretrained_cfg["label_names"]) == NAMES
    card = (out / "README.md").read_text()
    assert "| class names, in the order of the logits | 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, naïve, \\|B\\| |" in card
    assert "in the order of the logits: `class_map.txt`, `network.pretrained_cfg[" in card
    assert "--class-map class_map.txt" in card
    (tmp_path / "timm.py").write_text(plan_source(make_plan(RESNET, THREE), {}, class_names=NAMES[-3:]))
    with imported(tmp_path / "timm.py") as module:
        assert list(module.build_model().pretrained_cfg["label_names"]) == NAMES[-3:]


@pytest.mark.slow
def test_a_class_map_is_there_only_where_timm_reads_it_back(tmp_path: Path) -> None:
    out = export(SMALL, THREE, tmp_path / "out", class_names="abc")
    assert (out / "class_map.txt").read_text() == "a\nb\nc\n"
    (out / "class_map.txt").write_text("mine\n")
    with pytest.raises(StudyError, match=r"class_map\.txt"):
        export(SMALL, THREE, out, class_names="abc", force=True)
    (out / "class_map.txt").write_text("a\nb\nc\n")
    for names in (("crane", "crane", "b"), (" a", "b", "c")):
        export(SMALL, THREE, out, class_names=names, force=True)
        assert not (out / "class_map.txt").exists()
        assert "class_map" not in (out / "README.md").read_text()
    with pytest.raises(SpecError, match=r"class_names has 2 names; .* 3 classes"):
        export(SMALL, THREE, tmp_path / "other", class_names="ab")


def test_a_study_begun_in_another_order_is_told_so(tmp_path: Path) -> None:
    """As its home was written by a hadnas that sorted classes by their characters, and kept their names in a line."""
    root, home = bars(tmp_path / "images", 10), new_home(tmp_path / "home")
    wanted = study(name="bars", data=str(root), trials=1, recipe=Recipe(epochs=1, batch=32))
    run_study(wanted, home, device="cpu")
    book = open_study("bars", home.path).book
    stored = {key: value for key, value in book.user_attrs["study"].items() if key not in ("class_names", "notes")}
    before = ["0", "1", "10", "11", *"23456789", "naïve", "|B|"]
    line = {"class names, in the order of the logits": ", ".join(before)}
    book.set_user_attr("study", {**stored, "digest": "0" * 16, "parts": {**line, **stored["parts"]}})
    said = r"timm's reader \(class 2 is '2', was '10'\)"
    with pytest.raises(StudyError, match=rf"^study 'bars' .*{said}\); .* --name$"):
        run_study(wanted, home, device="cpu")
    results = open_study("bars", home.path)
    with pytest.raises(StudyError, match=rf"{said}$"):
        results.data()
    assert results.class_names() == tuple(before)  # of its weights, as they were trained


def test_notes_on_the_images_reach_whoever_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = np.arange(120) % 2 == 0, np.arange(120) % 2 == 1
    images = PIXELS.copy()
    images[1] = images[0]
    parts = {"train_images": images[train], "train_labels": LABELS[train]}
    source = npz(tmp_path, **parts, test_images=images[test], test_labels=LABELS[test])
    (note,) = load_data(source).notes
    assert note.startswith("1 of 60 test images are in an earlier split, too")
    home, wanted = (
        new_home(tmp_path / "home"),
        study(name="noted", data=source, trials=1, recipe=Recipe(epochs=1, batch=16)),
    )
    shown = SearchDisplay()
    run_study(wanted, home, device="cpu", watch=shown)
    assert "note     1 of 60 test images are in an earlier split, too" in capsys.readouterr().err
    results = open_study("noted", home.path)
    assert f"{note}." in facts(results, results.best).limits
    assert ["images", note] in machine(results, results.best).parts[0]["rows"]
