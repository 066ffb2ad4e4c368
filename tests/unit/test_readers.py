"""Every reader of data reads or refuses: never anything but a HadnasError, or click's error of usage. By Hypothesis."""

import copy
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pydantic import ValidationError

import hadnas
from hadnas.arch.node import stored_arch
from hadnas.arch.task import Task
from hadnas.errors import HadnasError, printable
from hadnas.library import load_arch, load_function
from hadnas.plain import from_json
from hadnas.replay.replay import contender
from hadnas.shell.commands.overrides import sides, updated_study
from hadnas.store import records
from hadnas.store.study import one_sentence
from hadnas.train.checkpoint import load_checkpoint, save_checkpoint
from hadnas.train.data.spec import load_data
from hadnas.train.score import Score, load_score
from tests.homes import study
from tests.networks import TINY_SPACE
from tests.pictures import digits, npz

TASK = Task.image(1, 8, 8, classes=4)
ARCH = hadnas.sample(TINY_SPACE, TASK, seed=0)
GRAFT = {"format": 1, "op": "timm", "model": "test_resnet", "weights": None, "sites": {"layer1.*": {"op": "mlp"}}}
TINY = study()
KEY = records.TrainingKey("0" * 16, str(TASK), "d", "r", 1, 0, "c")
ODD = ["", "\0", "\ud800", "../x", "\x1b]0;x\x07", "<script>", "$\\frac{$", "9" * 5000, "nan", "²", "x" * 300, "a\nb"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(ODD)
JUNK = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3)
)
TEXTS = st.text(max_size=40) | st.sampled_from(ODD)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a tree with a key of it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """Plain data with one or two other values, or without them."""
    found = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        if not (known := places(found)):
            break
        inside, key = draw(st.sampled_from(known))
        if draw(st.booleans()) or isinstance(inside, list):
            inside[key] = draw(JUNK)
        else:
            del inside[key]
    return found


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some of them replaced, at their head more often, or the beginning of them only."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(len(found), 200) - 1) | st.integers(0, len(found) - 1))
        found[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(found[: draw(st.just(len(found)) | st.integers(0, len(found)))])


def written(extension: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def attempt(content: bytes, folder: Path) -> object:
        path = folder / f"file.{extension}"
        path.write_bytes(content)
        return read(path)

    return attempt


def picture(extension: str, **options: Any) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(out, extension, **options)
    return out.getvalue()


def read_study(fields: Any, _: Path) -> None:
    try:
        hadnas.Study.model_validate(fields)
    except ValidationError as error:
        raise one_sentence(error) from None


def read_arch(node: Any, _: Path) -> None:
    assert load_arch(text := load_arch(json.dumps(node)).json).json == text


def read_picture(content: bytes, folder: Path) -> None:
    path = folder / "images" / "b" / "x.png"  # read by its content
    if not path.exists():
        for place in range(12):
            (folder / "images" / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (place * 20, 0, 0)).save(folder / "images" / "ab"[place % 2] / f"{place}.png")
    path.write_bytes(content)
    for options in ({}, {"size": 4}, {"skip_bad": True}):
        load_data(hadnas.DataSpec(source=str(folder / "images"), **options))


def read_arrays(given: dict[str, Any], folder: Path) -> None:
    try:
        source = npz(folder, **given)
    except ValueError:  # NumPy itself cannot save them
        return
    load_data(source)


def read_options(texts: list[str], _: Path) -> None:
    one, *rest = texts
    names = ("data", "objectives", "augment", "sampler", "metric")
    for name, text in zip(names, rest, strict=False):
        try:
            updated_study(TINY, **{name: text})
        except HadnasError:
            continue
    for read in (sides, contender, load_function, from_json):
        try:
            read(one)
        except HadnasError:
            continue


ROW = {
    **{field: None for field in records.Training.__dataclass_fields__},
    "key": asdict(KEY),
    "study": "tiny",
    "state": "complete",
}
IMAGES = arrays(
    st.sampled_from(["u1", "i8", "f4", "f2", "b1", "U3", "S2", "c8", "M8[s]"]), array_shapes(min_dims=0, max_dims=5)
)
CSV = "path,label,split\na.png,x,train\nb.png,y,val\n"
READERS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any, Path], object]]] = {
    "json": (st.text(), lambda text, _: from_json(text)),
    "architecture": (changed(json.loads(ARCH.json)), read_arch),
    "graft": (changed(GRAFT), read_arch),
    "study": (changed(json.loads(TINY.model_dump_json())), read_study),
    "ledger's architecture": (JUNK, lambda text, _: stored_arch(text, "0" * 16)),
    "ledger's training": (changed(ROW), lambda row, _: records.record(records.Training, row)),
    "ledger's test": (changed({"hits": "01", "loss": 0.5}), lambda row, _: records.record(records.Test, row)),
    "arrays": (
        st.fixed_dictionaries({}, optional={"train_images": IMAGES, "train_labels": IMAGES, "class_names": IMAGES}),
        read_arrays,
    ),
    "text of a table": (damaged(CSV.encode()) | st.binary(), written("csv", lambda path: load_data(str(path)))),
    "options": (st.lists(TEXTS, min_size=6, max_size=6), read_options),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, Callable[[bytes, Path], object]]]:
    """A valid file of every kind, and its reader."""
    folder = tmp_path_factory.mktemp("files")
    save_checkpoint({"a": torch.zeros(2), "b": [1, "c"]}, folder / "x.pt")
    Score("classes", torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64), 0.5).save(folder / "x.safetensors")
    pixels, labels = digits(6)
    np.savez_compressed(content := io.BytesIO(), train_images=pixels // 64, train_labels=labels)
    kinds = {"PNG": {}, "GIF": {}, "BMP": {}, "PPM": {}, "TIFF": {"compression": "tiff_lzw"}, "JPEG": {}, "WEBP": {}}
    return {
        "npz": (content.getvalue(), written("npz", lambda path: load_data(str(path)))),
        "checkpoint": ((folder / "x.pt").read_bytes(), written("pt", load_checkpoint)),
        "score": ((folder / "x.safetensors").read_bytes(), written("safetensors", load_score)),
        **{kind: (picture(kind, **options), read_picture) for kind, options in kinds.items()},
    }


def attempts(strategy: st.SearchStrategy[Any], read: Callable[[Any, Path], object], folder: Path, count: int) -> None:
    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}

    @settings(max_examples=count, derandomize=True, **quiet)
    @given(strategy)
    def attempt(value: Any) -> None:
        try:
            read(value, folder)
        except (HadnasError, click.UsageError) as error:
            assert len(str(error)) < 5000
            printable(str(error)).encode()

    attempt()


FEW_OR_MANY = pytest.mark.parametrize("count", [15, pytest.param(1000, marks=pytest.mark.slow)])


@FEW_OR_MANY
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_reads_or_refuses(reader: str, count: int, tmp_path: Path) -> None:
    attempts(*READERS[reader], tmp_path, count)


@FEW_OR_MANY
@pytest.mark.parametrize("kind", ["npz", "checkpoint", "score", "PNG", "GIF", "BMP", "PPM", "TIFF", "JPEG", "WEBP"])
def test_a_damaged_file_is_read_or_refused(kind: str, count: int, tmp_path: Path, files: Any) -> None:
    content, read = files[kind]
    attempts(damaged(content), read, tmp_path, count)
