"""Real digits read from every kind of source, split, normalised."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import hadnas.train.data.sources
from hadnas.errors import DataError
from hadnas.shipped import import_all
from hadnas.train.data import files, images, reader
from hadnas.train.data.sources import timm_data
from hadnas.train.data.spec import Data, DataSpec, load_data
from tests.pictures import LABELS, PIXELS, digits, npz, png_folder


def everything(data: Data) -> torch.Tensor:
    parts = (data.train, data.val, data.open_test())
    return torch.cat([batch for part in parts for (batch,), _ in part.batches(100)])


def test_digits_are_split_stratified_without_overlap() -> None:
    data = load_data("digits")
    assert (data.name, data.shape, data.classes) == ("digits", (1, 8, 8), 10)
    assert data.sizes == {"train": 1149, "val": 288, "test": 360}
    halves = "0.2 of the images drawn for test, 0.2 of the training images left drawn for validation"
    sizes = {"train": "1,149", "validation": "288", "test": "360"}
    assert data.parts == {**sizes, "split": f"{halves}, by class, seed 0"}
    assert data.class_names == tuple("0123456789") and data.notes == ()
    whole = np.bincount(load_digits().target) / 1797
    for part in (data.train, data.val, data.open_test()):
        share = torch.bincount(part.labels).numpy() / len(part)
        np.testing.assert_allclose(share, whole, atol=1.5 / len(part))
    raw = np.sort(load_digits().images.reshape(1797, -1).astype(np.float32), axis=0)
    again = everything(data) * data.std[0] + data.mean[0]
    np.testing.assert_allclose(np.sort(again.flatten(1).numpy() * 16, axis=0), raw, atol=1e-5)


def idx(folder: Path, train: int = 100) -> str:
    """The digits as torchvision's MNIST lies on a disk: what timm reads by name."""
    pixels, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, chosen in (("train", order[:train]), ("t10k", order[train:])):
        for kind, array in (("images-idx3", pixels[chosen]), ("labels-idx1", labels[chosen].astype(np.uint8))):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (raw / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return f"torch/mnist:{folder}"


def test_a_data_set_that_timm_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_data(DataSpec(source=idx(tmp_path), val_fraction=0.3))
    assert (data.name, data.shape, data.classes) == ("mnist", (1, 8, 8), 10)
    assert data.sizes == {"train": 70, "val": 30, "test": 20}
    pixels, _ = digits()
    again = (everything(data) * data.std[0] + data.mean[0]) * 255
    np.testing.assert_allclose(
        np.sort(again.flatten(1).numpy(), axis=0), np.sort(pixels.reshape(120, -1), axis=0), atol=0.01
    )
    assert load_data(DataSpec(source=f"torch/mnist:{tmp_path}", size=6)).shape == (1, 6, 6)
    for source, said in (
        ("hfds/cifar10", r"'hfds/cifar10'.* torch/NAME:DIR is allowed"),
        (f"torch/mnist:{tmp_path / 'nowhere'}", r"'torch/mnist' .*nowhere"),
        ("torch/minst:data", "Unknown torchvision dataset minst"),
        ("torch/mnist", "write torch/NAME:DIR"),
    ):
        with pytest.raises(DataError, match=said):
            load_data(source)
    monkeypatch.setattr(timm_data, "HELD_BYTES", 1000)
    with pytest.raises(DataError, match=r"train images .* 1,000 bytes"):
        load_data(f"torch/mnist:{tmp_path}")


def test_mean_and_std_come_from_the_training_split_alone() -> None:
    data = load_data("digits")
    train = torch.cat([batch for (batch,), _ in data.train.batches(100)])
    assert abs(train.mean().item()) < 1e-5
    assert abs(train.std(correction=0).item() - 1) < 1e-5
    assert abs(everything(data).mean().item()) > 1e-5


def test_the_digest_follows_content_and_split(tmp_path: Path) -> None:
    pixels, labels = digits()
    one_pixel = pixels.copy()
    one_pixel[0, 0, 0] ^= 1
    relabelled = labels.copy()
    relabelled[[0, 12]] = relabelled[[12, 0]]
    first = npz(tmp_path)
    seen = {load_data(first).digest, load_data(DataSpec(source=first, split_seed=1)).digest}
    seen |= {load_data(DataSpec(source=first, val_fraction=0.3)).digest}
    seen |= {load_data(DataSpec(source=first, test_fraction=0.3)).digest}
    same = load_data(first).digest
    seen |= {load_data(npz(tmp_path, train_images=one_pixel)).digest}
    seen |= {load_data(npz(tmp_path, train_labels=relabelled)).digest}
    assert len(seen) == 6
    (tmp_path / "moved").mkdir()
    assert load_data(npz(tmp_path / "moved")).digest == same


def test_the_digest_follows_every_array_of_splits_of_their_own(tmp_path: Path) -> None:
    pixels, labels = digits()
    own = {f"{part}_images": pixels[:40].copy() for part in ("val", "test")}
    own |= {f"{part}_labels": labels[:40].copy() for part in ("val", "test")}
    seen = {load_data(npz(tmp_path, **own)).digest}
    for name, array in own.items():
        changed = array.copy()
        changed.flat[0] = (changed.flat[0] + 1) % 10
        seen.add(load_data(npz(tmp_path, **{**own, name: changed})).digest)
    assert len(seen) == 1 + len(own)


def test_digests_are_those_of_earlier_studies(tmp_path: Path) -> None:
    """Of images that were read right all along, and classes whose order stayed: their studies go on."""
    assert load_data("digits").digest == "6bdfda8016800e49"
    assert load_data(npz(tmp_path)).digest == "444722a81b2e5e19"
    assert load_data(str(png_folder(tmp_path / "grey"))).digest == "444722a81b2e5e19"
    assert load_data(str(png_folder(tmp_path / "opaque", mode="RGBA"))).digest == "5645f0de7af619d4"


def test_npz_with_colour_test_split_and_names(tmp_path: Path) -> None:
    pixels, labels = digits()
    colour = np.stack([pixels, pixels // 2, np.zeros_like(pixels)], axis=-1)
    names = [f"digit {name}" for name in range(10)]
    test = {"test_images": colour[::5], "test_labels": labels[::5]}
    data = load_data(npz(tmp_path, train_images=colour, class_names=names, **test))
    assert data.shape == (3, 8, 8)
    assert data.sizes == {"train": 96, "val": 24, "test": 24}
    assert data.class_names == tuple(names)
    assert data.std[2] == 1.0  # the third channel never varies
    assert torch.equal(data.open_test().labels, torch.from_numpy(labels[::5]))
    (images_,), _ = next(data.open_test().batches(1))
    restored = images_[0, 0] * data.std[0] + data.mean[0]
    np.testing.assert_allclose(restored.numpy() * 255, colour[0, ..., 0], atol=1e-3)


def test_large_data_is_normalised_or_decoded_batch_by_batch_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(png_folder(tmp_path))
    held = load_data(folder)
    monkeypatch.setattr(images, "NORMALISED_BYTES", 0)
    as_bytes = load_data(folder)
    monkeypatch.setattr(files, "HELD_BYTES", 0)
    streamed = load_data(folder)
    assert (held.mean, held.std, held.sizes) == (streamed.mean, streamed.std, streamed.sizes)
    order = torch.randperm(len(held.train), generator=torch.Generator().manual_seed(0))
    for size, wanted in ((7, None), (1, order)):  # the second is long enough for a process that decodes
        expected = [list(data.train.batches(size, order=wanted)) for data in (held, as_bytes, streamed)]
        for one, two, three in zip(*expected, strict=True):
            assert torch.equal(one[0][0], two[0][0]) and torch.equal(one[0][0], three[0][0])
            assert torch.equal(one[1], two[1]) and torch.equal(one[1], three[1])


def test_an_image_that_a_process_cannot_decode_is_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = png_folder(tmp_path)
    victim = folder / "class_3" / "0040.png"
    monkeypatch.setattr(files, "HELD_BYTES", 0)
    monkeypatch.setattr(images, "WORKERS", 1)
    data = load_data(str(folder))
    victim.write_bytes(victim.read_bytes()[:-30])  # its head is whole
    broken = [split for split in (data.train, data.val, data.open_test()) if victim in split.images.files]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"^\S+0040.png: [^\n]*$"):
        for _ in broken[0].batches(1):
            pass


def test_a_folder_with_splits_of_its_own(tmp_path: Path) -> None:
    for part, per_class in (("train", 6), ("val", 2), ("test", 3)):
        png_folder(tmp_path / part, per_class, mode="RGB")
    data = load_data(DataSpec(source=str(tmp_path), size=6))
    assert data.sizes == {"train": 60, "val": 20, "test": 30}
    assert data.shape == (3, 6, 6)
    assert data.class_names[3] == "class_3"


def test_resizing_takes_the_shorter_side_then_the_centre(tmp_path: Path) -> None:
    for name, value in (("a", 0), ("b", 200)):
        (tmp_path / name).mkdir()
        for number in range(6):
            wide = np.full((4, 12 + number), 99, np.uint8)
            wide[:, 4:-4] = value
            Image.fromarray(wide).save(tmp_path / name / f"{number}.png")
    data = load_data(DataSpec(source=str(tmp_path), size=4))
    assert data.shape == (1, 4, 4)
    assert set((everything(data) * data.std[0] + data.mean[0]).mul(255).round().unique().tolist()) == {0.0, 200.0}


def test_the_parts_of_an_npz_file_stay_its_own(tmp_path: Path) -> None:
    parts = {"train": slice(0, None, 2), "val": slice(1, None, 4), "test": slice(3, None, 4)}
    arrays = {f"{part}_images": PIXELS[some] for part, some in parts.items()}
    data = load_data(npz(tmp_path, **arrays, **{f"{part}_labels": LABELS[some] for part, some in parts.items()}))
    assert data.sizes == {"train": 60, "val": 30, "test": 30}
    assert data.split == "the data's own"
    assert torch.equal(data.val.labels, torch.from_numpy(LABELS[parts["val"]]))


def test_names_of_classes_in_bytes_are_text(tmp_path: Path) -> None:
    names = [f"größe {label}".encode() for label in range(10)]
    assert load_data(npz(tmp_path, class_names=names)).class_names == tuple(f"größe {label}" for label in range(10))


def test_channels_come_last(tmp_path: Path) -> None:
    """As the shape shows, or as the file says."""
    for sides in ((8, 8, 13), (16, 12, 2), (9, 9, 200), (4, 4, 16), (30, 20, 13), (5, 5, 1), (1, 1, 1)):
        channels_last = np.zeros((120, *sides), np.uint8)
        assert load_data(npz(tmp_path, train_images=channels_last)).shape == (sides[2], *sides[:2])
    for sides in ((8, 8, 8), (13, 16, 16), (1, 1, 9)):
        assert (
            load_data(npz(tmp_path, train_images=np.zeros((120, *sides), np.uint8), layout="NHWC")).shape[0] == sides[2]
        )


ROWS = """
from pathlib import Path

import torch

from hadnas.train.data.images import HeldImages, Source
from hadnas.train.data.reader import reader


@reader("a .numbers file with a label and 64 pixels per row", takes=lambda source: Path(source).suffix == ".numbers")
def read_rows(source):
    rows = torch.tensor([[int(cell) for cell in line.split(",")] for line in Path(source).read_text().splitlines()])
    images = HeldImages(rows[:, 1:].to(torch.uint8).reshape(-1, 1, 8, 8), rows[:, 0])
    return Source(255.0, tuple("abcdefghij"), images)
"""


def test_one_file_is_enough_for_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found in the folder of readers, by the sources that it takes; without it, they are of no known kind."""
    rows = np.concatenate([LABELS[:, None], PIXELS.reshape(-1, 64)], 1)
    np.savetxt(tmp_path / "rows.numbers", rows, fmt="%d", delimiter=",")
    source = str(tmp_path / "rows.numbers")
    with pytest.raises(DataError, match=r"rows\.numbers' is of no known kind; allowed are .*'digits'; .*\.npz"):
        load_data(source)
    (tmp_path / "csv_rows.py").write_text(ROWS)
    monkeypatch.setattr(reader, "_READERS", dict(reader._READERS))
    folders = [*hadnas.train.data.sources.__path__, str(tmp_path)]
    monkeypatch.setattr(hadnas.train.data.sources, "__path__", folders)
    import_all.cache_clear()
    data = load_data(source)
    assert (data.name, data.shape, data.class_names) == ("rows", (1, 8, 8), tuple("abcdefghij"))
    assert everything(data).shape == PIXELS[:, None].shape
    with pytest.raises(DataError, match=r"rows\.numbers: `size`"):
        load_data(DataSpec(source=source, size=16))
    with pytest.raises(DataError, match=r"'nowhere' not found.* 'digits'.* \.numbers file with a label and 64 pixels"):
        load_data("nowhere")
