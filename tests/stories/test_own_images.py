"""One's own images as they are: a first search, and a folder of mixed files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from hadnas.errors import SpecError
from hadnas.library import load_architecture, load_study
from hadnas.opened import open_study
from hadnas.shell.commands.overrides import updated_study
from hadnas.store.study import Study
from hadnas.train.data.spec import DataSpec, load_data
from tests.pictures import digits, npz
from tests.shell import hadnas

SPACE = "star_or_sum_blocks"


def test_own_images_and_own_spaces_leave_the_baselines_open(tmp_path: Path) -> None:
    space, table = load_study(SPACE), str(tmp_path / "scans" / "labels.csv")
    assert space.baselines == {} and load_study("digits").baselines
    own = updated_study(space, data=table, size=16, skip_bad=True, group="patient")
    assert (
        own.baselines is None
        and own.name == "star_or_sum_blocks-scans-labels"
        and "batch" not in own.recipe.model_fields_set
    )
    wanted = DataSpec(source=table, size=16, skip_bad=True, group="patient")
    assert own.data == wanted and Study.model_validate_json(own.model_dump_json()) == own
    assert updated_study(load_study("digits"), data="photos/").baselines == load_study("digits").baselines
    assert updated_study(own, no_baselines=True).baselines == {}
    named = updated_study(own, baselines=["test_resnet", "starnet_s050"], batch=16)
    assert named.baselines and named.baselines["test_resnet"] == "test_resnet" and named.recipe.batch == 16
    assert named.baselines["starnet_s050"] == load_architecture("starnet_s050").node
    exported = tmp_path / "small.v2"
    exported.mkdir()
    (exported / "arch.json").write_text(load_architecture("starnet_s050").json)
    for name in (exported, exported / "arch.json"):
        assert updated_study(own, baselines=[str(name)]).baselines == {"small.v2": named.baselines["starnet_s050"]}
    with pytest.raises(SpecError, match="--no-baselines"):
        updated_study(own, baselines=["resnet18"], no_baselines=True)
    (tmp_path / "mine.py").write_text("from hadnas.search_spaces.star_or_sum_blocks import SPACE\n")
    assert load_study(tmp_path / "mine.py").baselines is None


def test_what_a_study_stored_before_lacks_is_not_written() -> None:
    assert set(DataSpec(source="digits").model_dump()) == {
        "source",
        "val_fraction",
        "test_fraction",
        "split_seed",
        "size",
    }


@pytest.mark.slow
def test_few_own_images_train_with_baselines_of_their_size(tmp_path: Path) -> None:
    pixels, labels = digits(30)
    few = np.isin(labels, (1, 5, 9))
    source = npz(tmp_path, train_images=pixels[few] / 255, train_labels=labels[few, None])
    arguments = ("--home", tmp_path / "runs", "--trials", 1, "--epochs", 1)
    done = hadnas("search", SPACE, "--data", source, *arguments)
    assert done.exit_code == 0, done.output
    assert "batch = 8 instead of 64, as the training split has 57 images" in done.output
    text = " ".join(done.output.split())
    assert "grey, 8x8 pixels" in text and "57 train, 15 validation, 18 test" in text
    assert "3, with training images: 1 19, 5 19, 9 19" in text
    assert "dummy: always '1', the most frequent class: accuracy 0.3333" in text
    results = open_study("star_or_sum_blocks-digits", tmp_path / "runs")
    assert results.study.recipe.batch == 8 and results.class_names() == ("1", "5", "9")
    assert len(results.baselines) == 3 and all(found.figures["val/accuracy"] > 0 for found in results.baselines)
    assert {"plain_conv", "test_resnet"} < {found.name for found in results.baselines}

    again = hadnas("search", SPACE, "--data", source, *arguments)  # the stored ones are found again
    assert again.exit_code == 0 and "near " not in again.output, again.output
    other = hadnas("search", SPACE, "--data", source, *arguments, "--baseline", "test_resnet")
    assert other.exit_code == 2 and "exists and differs (baselines" in other.output
    named = (*arguments, "--name", "named", "--baseline", "test_resnet", "--baseline", "starnet_s050")
    assert hadnas("search", SPACE, "--data", source, *named).exit_code == 0
    assert {found.name for found in open_study("named", tmp_path / "runs").baselines} == {"test_resnet", "starnet_s050"}
    none = hadnas("search", SPACE, "--data", source, *arguments, "--name", "none", "--no-baselines")
    assert none.exit_code == 0 and open_study("none", tmp_path / "runs").baselines == []
    wrong = hadnas("search", SPACE, "--data", source, *arguments, "--name", "wrong", "--baseline", "resnet19x")
    assert wrong.exit_code == 2 and "resnet19x" in wrong.output


def shapes(folder: Path, count: int) -> None:
    """Discs, squares and stripes in noise, in files of every kind; every 50th is truncated, every 100th a web page."""
    random = np.random.default_rng(0)
    for number in range(count):
        kind = ("disc", "disc", "square", "stripes", "disc")[number % 5]
        width, height = random.integers(40, 90, 2).tolist()
        image = Image.fromarray(random.integers(0, 90, (height, width, 3), dtype=np.uint8))
        left, top = random.integers(0, (width - 30, height - 30)).tolist()
        draw, colour = ImageDraw.Draw(image), tuple(random.integers(150, 256, 3).tolist())
        if kind == "disc":
            draw.ellipse((left, top, left + 28, top + 28), fill=colour)
        elif kind == "square":
            draw.rectangle((left, top, left + 26, top + 26), fill=colour)
        else:
            for line in range(0, 28, 7):
                draw.line((left, top + line, left + 28, top + line), fill=colour, width=3)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        path = folder / kind / f"{number:04}{FILES[number % 12]}"
        save(image, path, number % 12)
        if number % 50 == 7:
            path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
        if number % 100 == 33:
            path.write_bytes(b"<html>404</html>")
        if number % 60 == 0:
            (folder / kind / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "notes.txt").write_text("taken in 2019")


FILES = [".jpg", ".jpg", ".jpg", ".jpg", ".png", ".png", ".gif", ".JPG", ".webp", ".png", ".jpeg", ".bmp"]


def save(image: Image.Image, path: Path, kind: int) -> None:
    if path.suffix == ".JPG":  # held sideways
        exif = Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    elif kind == 5:  # 16 bits
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    elif kind == 9:
        image.putalpha(200)
        image.save(path)
    else:
        image.convert({".jpeg": "CMYK", ".bmp": "L"}.get(path.suffix, "RGB")).save(path)


@pytest.mark.slow
def test_a_folder_of_600_mixed_files_trains_after_one_message(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shapes(folder, 600)
    search = ("search", "four_families", "--data", folder, "--home", tmp_path / "runs", "--trials", 1, "--epochs", 2)
    refused = hadnas(*search)
    assert refused.exit_code == 2
    assert "18 of 600 images cannot be used; --skip-bad" in refused.output and "--size 64" in refused.output
    assert refused.output.count("image cannot be decoded") == 12 and refused.output.count("not an image") == 6
    done = hadnas(*search, "--skip-bad", "--size", 16)
    assert done.exit_code == 0, done.output
    results = open_study("four_families-photos", tmp_path / "runs")
    notes = results.stored["notes"]
    assert [note[:40] for note in notes] == [
        "1 file is not read, being outside of a c",
        "18 of 600 images cannot be used and are ",
        "46 images of 16 bits are read by their u",
    ]
    assert sum(results.data().sizes.values()) == 582
    assert results.best.figures["val/accuracy"] > 0.5 and len(results.baselines) == 3


@pytest.mark.slow
def test_a_table_names_its_study_and_splits_by_groups(tmp_path: Path) -> None:
    pixels, labels = digits()
    (tmp_path / "scans").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "scans" / f"{number}.png")
    rows = {"file": [f"{n}.png" for n in range(120)], "dx": labels % 2, "patient": [n % 12 for n in range(120)]}
    pd.DataFrame(rows).to_csv(tmp_path / "scans" / "labels.csv", index=False)
    table = tmp_path / "scans" / "labels.csv"
    options = ("--label-column", "dx", "--group", "patient", "--no-baselines", "--trials", 1, "--epochs", 1)
    done = hadnas("search", SPACE, "--data", table, *options, "--home", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    results = open_study("star_or_sum_blocks-scans-labels", tmp_path / "runs")
    assert results.study.data.group == "patient" and "without a common patient" in results.stored["parts"]["split"]
    assert results.data().digest == load_data(results.study.data).digest == results.stored["digest"]
