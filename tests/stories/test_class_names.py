"""The classes of a network in the order of its logits: the same for hadnas, for timm, and in everything exported."""

import json
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
from hadnas.library import load_architecture
from hadnas.opened import open_study
from hadnas.results.sections import machine
from hadnas.retraining import retrain
from hadnas.search.run import run_study
from hadnas.shell.progress import Shown
from hadnas.source.module import model_source
from hadnas.space import op
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from hadnas.train.score import hits
from tests.homes import new_home, study
from tests.networks import pyramid, residual
from tests.pictures import LABELS, PIXELS, npz
from tests.stories.test_export_timm import imported

TASK = Task.image(3, 16, 16, classes=14)
NAMES = [*(str(number) for number in range(12)), "B", "a"]
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


def test_a_network_scores_alike_by_hadnas_and_by_timm(tmp_path: Path) -> None:
    """Trained by hadnas, exported, and scored through timm's reader, transform and class map."""
    root, out = bars(tmp_path / "images"), tmp_path / "out"
    recipe = Recipe(epochs=8, batch=32, augment="none", lr=0.02)
    trained = retrain(ARCH, str(root), recipe, device="cpu")
    trained.export(out)
    data = trained.data
    right = int(torch.cat([hits(trained.module, data, split)[0] for split in ("val", "test")]).sum())
    for images, labels in data.train.batches(100):
        right += int((trained.module(images).argmax(1) == labels).sum())
    with imported(out / "model.py"):
        network = timm.create_model(f"hadnas_{trained.arch.fingerprint}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(network))
    for class_map in ("", str(out / "class_map.txt")):
        reader = create_dataset("", root, class_map=class_map).reader
        assert list(reader.class_to_idx) == list(data.class_names)
        paths, targets = zip(*reader.samples, strict=True)
        with torch.inference_mode():
            found = network(torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])).argmax(1)
        assert int((found == torch.tensor(targets)).sum()) == right
    assert right > 0.5 * len(NAMES) * 30


def test_an_export_names_its_classes_everywhere(tmp_path: Path) -> None:
    names = ["naïve", "|two|", "3"]
    out = export(SMALL, THREE, tmp_path / "out", class_names=names)
    assert json.loads((out / "arch.json").read_text())["class_names"] == names
    assert load_architecture(out) == SMALL and load_architecture(out).fingerprint == SMALL.fingerprint
    with safe_open(out / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["class_names"]) == names
    assert load_class_map(str(out / "class_map.txt")) == {name: label for label, name in enumerate(names)}
    assert label_names(out / "model.py") == names
    card = (out / "README.md").read_text()
    assert "| class names, in the order of the logits | naïve, &#124;two&#124;, 3 |" in card
    assert "in the order of the logits: `class_map.txt`, `network.pretrained_cfg[" in card
    assert "--class-map class_map.txt" in card
    (tmp_path / "timm.py").write_text(model_source(RESNET, THREE, {}, class_names=names))
    assert label_names(tmp_path / "timm.py") == names


def label_names(path: Path) -> list[str]:
    """Those that timm knows of the network of an exported file."""
    with imported(path) as module:
        return list(module.build_model().pretrained_cfg["label_names"])


@pytest.mark.slow
def test_a_class_map_is_there_only_where_timm_reads_it_back(tmp_path: Path) -> None:
    out = export(SMALL, THREE, tmp_path / "out", class_names="abc")
    assert (out / "class_map.txt").read_text() == "a\nb\nc\n"
    (out / "class_map.txt").write_text("mine\n")
    with pytest.raises(StudyError, match=r"class_map\.txt is not of an earlier export; move it"):
        export(SMALL, THREE, out, class_names="abc", force=True)
    (out / "class_map.txt").write_text("a\nb\nc\n")
    for names in (("crane", "crane", "b"), (" a", "b", "c"), ()):
        export(SMALL, THREE, out, class_names="abc", force=True)
        export(SMALL, THREE, out, class_names=names, force=True)
        assert not (out / "class_map.txt").exists()
        assert "class_map" not in (out / "README.md").read_text()
    with pytest.raises(SpecError, match="class_names has 2 names; allowed is one for each of 3 classes"):
        export(SMALL, THREE, tmp_path / "other", class_names="ab")


def test_a_study_begun_in_another_order_is_told_so(tmp_path: Path) -> None:
    """As its home was written by a hadnas that sorted classes by their characters, and kept their names in a line."""
    root, home = bars(tmp_path / "images", 10), new_home(tmp_path / "home")
    wanted = study(name="bars", data=str(root), trials=1, recipe=Recipe(epochs=1, batch=32))
    run_study(wanted, home, device="cpu")
    book = open_study("bars", home.path).book
    stored = {key: value for key, value in book.user_attrs["study"].items() if key not in ("class_names", "notes")}
    before = ["0", "1", "10", "11", *"23456789", "B", "a"]
    line = {"class names, in the order of the logits": ", ".join(before)}
    book.set_user_attr("study", {**stored, "digest": "0" * 16, "parts": {**line, **stored["parts"]}})
    said = r"its classes are now in the order of timm's reader \(class 2 is '2', was '10'\)"
    with pytest.raises(StudyError, match=rf"^study 'bars' exists and differs .*{said}\); .* another name with --name$"):
        run_study(wanted, home, device="cpu")
    results = open_study("bars", home.path)
    with pytest.raises(StudyError, match=rf"have changed since it ran: {said}$"):
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
    shown = Shown(wanted)
    run_study(wanted, home, device="cpu", watch=shown)
    assert f"images: {note}\n" in capsys.readouterr().err
    results = open_study("noted", home.path)
    assert f"{note}." in facts(results, results.best).limits
    assert ["images", note] in machine(results, results.best).parts[0]["rows"]
