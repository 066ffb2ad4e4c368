"""Tables of image files: their columns, splits and groups, and what is wrong with a row."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hadnas.errors import DataError
from hadnas.train.data.spec import Data, DataSpec, load_data
from tests.pictures import LABELS, PIXELS, png_folder

NAMES = [f"{number:03}.png" for number in range(120)]


def table(folder: Path, name: str = "labels.csv", **columns: Any) -> str:
    """A table of the digits, three of each in a row by one writer; `columns` replace, add or (None) leave out some."""
    for file, pixels in zip(NAMES, PIXELS, strict=True):
        if not (folder / file).exists():
            Image.fromarray(pixels).save(folder / file)
    whole = {"path": NAMES, "label": [f"digit {label}" for label in LABELS]} | columns
    cells = pd.DataFrame({key: column for key, column in whole.items() if column is not None})
    if name.endswith(".parquet"):
        cells.to_parquet(folder / name)
    else:
        cells.to_csv(folder / name, index=False, sep="\t" if name.endswith(".tsv") else ",")
    return str(folder / name)


def rows(data: Data) -> dict[str, set[int]]:
    """The places of the images of each split in NAMES."""
    parts = {"train": data.train, "val": data.val, "test": data.open_test()}
    return {part: {int(Path(str(name)).stem) for name in split.images.names} for part, split in parts.items()}


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("labels.csv", {}),
        ("labels.tsv", {}),
        ("labels.parquet", {"label": LABELS}),
        ("LABELS.CSV", {"label": None, "Class": LABELS, "path": None, "Filename": NAMES}),
        ("labels.csv", {"path": [name.removesuffix(".png") for name in NAMES]}),
    ],
)
def test_a_table_gives_what_a_folder_of_classes_gives(name: str, columns: dict[str, Any], tmp_path: Path) -> None:
    data = load_data(table(tmp_path, name, **columns))
    assert data.digest == load_data(str(png_folder(tmp_path / "folder"))).digest
    assert data.class_names[3] in ("3", "digit 3") and data.notes == ()


def test_columns_and_the_folder_of_images_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "images").mkdir()
    path = Path(table(tmp_path / "images", path=None, label=None, image_uri=NAMES, dx=LABELS % 2, site=LABELS))
    moved = path.rename(tmp_path / "lists" / "all.csv")
    named = {"source": str(moved), "images": str(tmp_path / "images"), "path_column": "image_uri"}
    assert load_data(DataSpec(**named, label_columns=["dx"])).class_names == ("0", "1")
    with pytest.raises(
        DataError, match=r"no column for the label, .* image_uri, dx, site; .*--label-column, several .* --value-column"
    ):
        load_data(DataSpec(**named))
    with pytest.raises(DataError, match=r"--label-column 'sites'; did you mean 'site'"):
        load_data(DataSpec(**named, label_columns=["sites"]))
    with pytest.raises(DataError) as found:
        load_data(DataSpec(**{**named, "path_column": "url"}, label_columns=["dx", "sex"], group="site_id"))
    assert [
        line.split("unknown column for ")[1].split(";")[0].split(" (")[0] for line in str(found.value).split("\n")
    ] == [
        "--path-column 'url'",
        "--label-column 'sex'",
        "--group 'site_id'",
    ]
    with pytest.raises(DataError, match=r"row 2: there is no file .*000\.png, nor one of any other row"):
        load_data(DataSpec(**{**named, "images": None}, label_columns=["dx"]))
    with pytest.raises(DataError, match=r"nowhere: not a folder; --images"):
        load_data(DataSpec(**{**named, "images": str(tmp_path / "nowhere")}, label_columns=["dx"]))


def test_a_column_of_splits_is_followed(tmp_path: Path) -> None:
    split = np.array(["Train", "valid", "TEST", "train"])[np.arange(120) % 4]
    data = load_data(table(tmp_path, subset=split))
    expected = {"train": {0, 3}, "val": {1}, "test": {2}}
    assert {part: {place % 4 for place in some} for part, some in rows(data).items()} == expected
    assert data.split == "the data's own"
    data = load_data(table(tmp_path, fold=np.arange(120) % 5))
    assert data.sizes == {"train": 76, "val": 20, "test": 24}
    assert data.notes == ("the column 'fold' is not used: its value '0' is not one of train, val, test",)
    with pytest.raises(DataError, match=r"row 2: the column 'fold' is '0'; allowed are train, val, test"):
        load_data(DataSpec(source=table(tmp_path, fold=np.arange(120) % 5), split_column="fold"))


@pytest.mark.parametrize("wrong", ["tset", ""])
def test_a_split_that_is_none_among_others_is_refused(wrong: str, tmp_path: Path) -> None:
    split = np.where(np.arange(120) % 4, "train", "test").tolist()
    with pytest.raises(DataError, match=rf"row 6: the column 'split' is '{wrong}'; allowed are train, val, test"):
        load_data(table(tmp_path, split=changed(split, 4, wrong)))


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (["{}", "{}.0", "{:03}", "{}e0"], None),
        (["{}"], tuple("0123456789")),
        (["{}.0"], tuple("0123456789")),
        (["{:03}"], tuple(f"{label:03}" for label in range(10))),
        (["{}e1"], tuple(f"{label}e1" for label in range(10))),
        (["900719925474099{}"], tuple(f"900719925474099{label}" for label in range(10))),
        (["1{}", "1_{}"], tuple(text for label in range(10) for text in (f"1_{label}", f"1{label}"))),
    ],
)
def test_class_labels_are_equal_only_as_text(form: list[str], names: tuple[str, ...] | None, tmp_path: Path) -> None:
    labels = [form[place // 3 % len(form)].format(label) for place, label in enumerate(LABELS)]
    data = load_data(DataSpec(source=table(tmp_path, label=labels), val_fraction=0.5, test_fraction=0.333))
    assert set(data.class_names) == set(labels) if names is None else sorted(data.class_names) == sorted(names)
    stored = {data.class_names[label] for label in data.train.labels.tolist()}
    assert stored == set(data.class_names)


def test_no_group_is_in_two_splits(tmp_path: Path) -> None:
    patient = np.array([f"patient {place % 12}" for place in range(120)])
    spec = DataSpec(source=table(tmp_path, patient=patient), group="patient")
    data = load_data(spec)
    seen = [{patient[place] for place in some} for some in rows(data).values()]
    assert sum(map(len, seen)) == len(set(patient)) == len(set.union(*seen))
    share = data.sizes["test"] / 120  # whole patients, not the fraction that was asked for
    assert data.split.startswith(f"{share:.3g} of the images drawn for test, ") and share != spec.test_fraction
    assert data.split.endswith("by class and without a common patient, seed 0")
    assert all(len(set(split.labels.tolist())) == 10 for split in (data.train, data.val, data.open_test()))
    assert load_data(spec).digest == data.digest != load_data(spec.model_copy(update={"split_seed": 1})).digest
    own = np.where(LABELS == 0, "test", "train")
    with pytest.raises(DataError, match=r"labels\.csv: class 'digit 0' has no image in train"):
        load_data(table(tmp_path, split=own))
    own = np.where(np.arange(120) % 5 == 0, "test", "train")
    with pytest.raises(DataError, match=r"the column 'patient', row 14: 'patient 0' is in train, but in test in row 2"):
        load_data(DataSpec(source=table(tmp_path, patient=patient, split=own), group="patient"))
    with pytest.raises(DataError, match=r"'digit 0' is in 1 of 10 groups .*test"):
        load_data(DataSpec(source=table(tmp_path), group="label"))


def test_groups_follow_images_that_are_left_out(tmp_path: Path) -> None:
    patient = np.arange(120) % 12
    source = table(tmp_path, patient=patient)
    for place in (0, 50, 51):
        (tmp_path / NAMES[place]).write_bytes(b"")
    data = load_data(DataSpec(source=source, group="patient", skip_bad=True))
    seen = [{patient[place] for place in some} for some in rows(data).values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) and sum(data.sizes.values()) == 117


def changed(column: list[Any], place: int, value: object) -> list[Any]:
    return [*column[:place], value, *column[place + 1 :]]


WORDS = [f"digit {label}" for label in LABELS]


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("l.csv", {"label": changed(WORDS, 7, np.nan)}, r"l\.csv, row 9: the column 'label' is ''; "),
        ("l.parquet", {"label": changed(WORDS, 7, None)}, r"l\.parquet, row 7: the column 'label' is ''; "),
        ("l.csv", {"label": [*WORDS[:100], *[""] * 20]}, r"row 102: .* is '', in 19 more rows, too"),
        ("l.csv", {"label": changed(WORDS, 7, 3)}, r"row 2: .* text, 'digit 0', but the number 3 in row 9"),
        ("l.csv", {"label": LABELS + 0.5}, r"row 2: the column 'label' is 0\.5; a class"),
        ("l.csv", {"label": changed(LABELS.tolist(), 7, "inf")}, r"row 9: the column 'label' is inf; a class"),
        ("l.csv", {"path": changed(NAMES, 7, "gone.png")}, r"/gone\.png: row 9: there is no such file; --skip-bad"),
        ("l.csv", {"path": changed(NAMES, 7, "005.png")}, r"row 9: names '005\.png', as does row 7"),
        (
            "l.csv",
            {"path": changed(NAMES, 7, "../" * 2 + "x" * 300)},
            r"row 9: the column 'path' is '.*xx\.\.\., which cannot",
        ),
        (
            "l.csv",
            {"path": changed(NAMES, 7, "x" * 252)},
            r"row 9: the column 'path' is 'x+\.*, which cannot be a file's",
        ),
        ("l.csv", {"path": changed(NAMES, 7, "sub/.././005.png")}, r"row 9: names 'sub.*png', as does row 7"),
        ("l.csv", {"split": ["val"] * 120}, r"no row is of the split train; found are val"),
        ("l.csv", {"label": ["x"] * 120}, r"only one class, 'x'"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(name: str, columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_data(table(tmp_path, name, **columns))


def test_tables_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    for content, message in (
        (b"", "not a readable table"),
        (b"path,label\n", "has no rows"),
        (b"path,label\n\xff\xfe,3\n", "not a readable table"),
        (b"path,label\na,b,c,d\ne,f\n", r"row 2: not a readable table \(4 cells, but 2 columns"),
        ("path,label\né.png,3\n".encode("latin-1"), "save it as UTF-8"),
        ("path,label\na.png,3\n".encode("utf-16"), "save it as UTF-8"),
        ("path,label\na.png,3\n".encode("utf-16-le"), "save it as UTF-8"),
        ("path,label\r\na.png,3\r\n".encode("utf-16-be"), "save it as UTF-8"),
        (b'path,label\n"a.png,3\n', "not a readable table"),
        (b"path,label,label\na.png,3,4\n", "two columns have the name 'label'"),
        (b"\npath,label\na.png,1\n\n\n,2\n", "row 6: the column 'path' is ''"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"labels\.csv.*({message})"):
            load_data(str(path))
    path.unlink()
    for label in ([[1, 2]] * 120, [{"a": 1}] * 120, [b"1"] * 120):
        with pytest.raises(DataError, match=r"row 0: the column 'label' is of type \w+; a cell is one text or number"):
            load_data(table(tmp_path, "lists.parquet", label=label))
    path.write_bytes(b"")
    path.with_suffix(".parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a readable table"):
        load_data(str(path.with_suffix(".parquet")))
    with pytest.raises(DataError, match=r"digits: `group` is not an option of this source; .* a table of image files"):
        load_data(DataSpec(source="digits", group="patient"))
    with pytest.raises(DataError, match=rf"one sub-folder per class; .* name it: {tmp_path}/labels\.csv"):
        load_data(str(tmp_path))


def test_several_label_columns_are_labels_and_value_columns_values(tmp_path: Path) -> None:
    yes = {
        "even": LABELS % 2 == 0,
        "large": (LABELS > 4).astype(float),
        "round": np.isin(LABELS, (0, 6, 8, 9)).astype(int),
    }
    numbers = {"height": LABELS * 1.5 - 3, "area": 10.0**LABELS}
    source = table(tmp_path, label=None, patient=np.arange(120) % 12, **yes, **numbers)
    labels = load_data(DataSpec(source=source, label_columns=list(yes), group="patient"))
    assert (labels.target, labels.class_names, labels.classes) == ("labels", tuple(yes), 3)
    values = load_data(DataSpec(source=source, value_columns=["height", "area"]))
    assert (values.target, values.class_names) == ("values", ("height", "area"))
    for data, columns in ((labels, yes), (values, numbers)):
        wanted = np.stack([*columns.values()], 1).astype(np.float32)
        for split in (data.train, data.val, data.open_test()):
            places = [int(Path(str(name)).stem) for name in split.images.names]
            assert np.array_equal(split.labels.numpy(), wanted[places])
    groups = [{place % 12 for place in some} for some in rows(labels).values()]
    assert sum(map(len, groups)) == 12 and labels.split.endswith("at random and without a common patient, seed 0")
    for columns, message in (
        ({"value_columns": ["height", "patience"]}, r"--value-column 'patience'; did you mean 'patient'"),
        ({"label_columns": ["even", "height"]}, r"row 2: the column 'height' is '-3\.0'; allowed are 0 and 1"),
        ({"value_columns": ["height", "path"]}, r"row 2: the column 'path' is '000\.png'; allowed are numbers"),
        ({"label_columns": ["even", "large", "even"]}, "column 'even' is given twice"),
        ({"value_columns": ["height", "height"]}, "column 'height' is given twice"),
        ({"label_columns": ["even", "large"], "value_columns": ["height"]}, "--label-column and --value-column"),
    ):
        with pytest.raises(DataError, match=message):
            load_data(DataSpec(source=source, **columns))
    with pytest.raises(DataError, match=r"row 9: the column 'height' is ''"):
        load_data(DataSpec(source=table(tmp_path, height=changed([1.5] * 120, 7, None)), value_columns=["height"]))
    with pytest.raises(DataError, match=r"'height' is 1\.5 for all"):
        load_data(DataSpec(source=table(tmp_path, height=[1.5] * 120), value_columns=["height"]))
    for height, message in (
        (changed([1.5] * 120, 7, 1e300), r"row 9: the column 'height' is 1e\+300; allowed are numbers from -3\.4e\+38"),
        (
            1.7e9 + np.arange(120.0),
            r"labels\.csv, row \d+: the column 'height' is 1700\d+, which float32 rounds .*table\['height'\] -= 17000",
        ),
    ):
        with pytest.raises(DataError, match=message):
            load_data(DataSpec(source=table(tmp_path, height=height), value_columns=["height"]))
    with pytest.raises(DataError, match=r"row 2: the column 'height' is 'inf'"):
        load_data(DataSpec(source=table(tmp_path, height=[np.inf] * 120), value_columns=["height"]))
    commas = [f"{number},5" for number in range(120)]
    with pytest.raises(DataError, match=r"row 2: the column 'height' is '0,5'; allowed are .* point, such as 1\.5"):
        load_data(DataSpec(source=table(tmp_path, height=commas), value_columns=["height"]))
    few = np.arange(120) % 2
    with pytest.raises(DataError, match=r"1 groups are too few to hold out 0\.2 of them for val"):
        load_data(DataSpec(source=table(tmp_path, few=few, **numbers), value_columns=["area"], group="few"))
