"""Real digits read from every kind of source, split, normalised; and every malformed source refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_digits

from hadnas.errors import DataError
from hadnas.train import images, sources
from hadnas.train.data import Data, DataSpec, load_data


def digits(per_class: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """The first digits of each class: uint8 (N, 8, 8) in 0..240, int64 (N,)."""
    pixels, labels = load_digits(return_X_y=True)
    chosen = np.concatenate([np.flatnonzero(labels == name)[:per_class] for name in range(10)])
    return (pixels[chosen].reshape(-1, 8, 8) * 15).astype(np.uint8), labels[chosen].astype(np.int64)


def npz(folder: Path, **arrays: object) -> str:
    """A valid .npz of digits in which `arrays` replace, add or (None) leave out arrays."""
    pixels, labels = digits()
    whole = {"train_images": pixels, "train_labels": labels} | arrays
    path = folder / "digits.npz"
    np.savez(path, **{key: np.asarray(array) for key, array in whole.items() if array is not None})
    return str(path)


def png_folder(folder: Path, per_class: int = 12, mode: str = "L") -> Path:
    pixels, labels = digits(per_class)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / f"class_{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).convert(mode).save(folder / f"class_{label}" / f"{number:04}.png")
    return folder


def everything(data: Data) -> torch.Tensor:
    parts = (data.train, data.val, data.open_test())
    return torch.cat([batch for part in parts for batch, _ in part.batches(100)])


def test_digits_are_split_stratified_without_overlap() -> None:
    data = load_data("digits")
    assert (data.name, data.shape, data.classes) == ("digits", (1, 8, 8), 10)
    assert data.sizes == {"train": 1149, "val": 288, "test": 360}
    halves = "0.2 of the images drawn for test, 0.2 of the training images left drawn for validation"
    names = {"class names, in the order of the logits": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"}
    sizes = {"train": "1,149", "validation": "288", "test": "360"}
    assert data.parts == {**names, **sizes, "split": f"{halves}, by class, seed 0"}
    assert data.class_names == [str(name) for name in range(10)]
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
        ("hfds/cifar10", r"of timm's readers torch/NAME:DIR is allowed"),
        (f"torch/mnist:{tmp_path / 'nowhere'}", r"timm cannot read 'torch/mnist' in the folder .*nowhere"),
        ("torch/minst:data", "Unknown torchvision dataset minst"),
        ("torch/mnist", "write torch/NAME:DIR"),
    ):
        with pytest.raises(DataError, match=said):
            load_data(source)
    monkeypatch.setattr(sources, "HELD_BYTES", 1000)
    with pytest.raises(DataError, match="train images take more than 1,000 bytes"):
        load_data(f"torch/mnist:{tmp_path}")


def test_mean_and_std_come_from_the_training_split_alone() -> None:
    data = load_data("digits")
    train = torch.cat([batch for batch, _ in data.train.batches(100)])
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


def test_npz_with_colour_test_split_and_names(tmp_path: Path) -> None:
    pixels, labels = digits()
    colour = np.stack([pixels, pixels // 2, np.zeros_like(pixels)], axis=-1)
    names = [f"digit {name}" for name in range(10)]
    test = {"test_images": colour[::5], "test_labels": labels[::5]}
    data = load_data(npz(tmp_path, train_images=colour, class_names=names, **test))
    assert data.shape == (3, 8, 8)
    assert data.sizes == {"train": 96, "val": 24, "test": 24}
    assert data.class_names == names
    assert data.std[2] == 1.0  # the third channel never varies
    assert torch.equal(data.open_test().labels, torch.from_numpy(labels[::5]))
    images_, _ = next(data.open_test().batches(1))
    restored = images_[0, 0] * data.std[0] + data.mean[0]
    np.testing.assert_allclose(restored.numpy() * 255, colour[0, ..., 0], atol=1e-3)


def test_large_data_is_normalised_or_decoded_batch_by_batch_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(png_folder(tmp_path))
    held = load_data(folder)
    monkeypatch.setattr(images, "NORMALISED_BYTES", 0)
    as_bytes = load_data(folder)
    monkeypatch.setattr(sources, "HELD_BYTES", 0)
    streamed = load_data(folder)
    assert (held.mean, held.std, held.sizes) == (streamed.mean, streamed.std, streamed.sizes)
    order = torch.randperm(len(held.train), generator=torch.Generator().manual_seed(0))
    for size, wanted in ((7, None), (1, order)):  # the second is long enough for a process that decodes
        expected = [list(data.train.batches(size, order=wanted)) for data in (held, as_bytes, streamed)]
        for one, two, three in zip(*expected, strict=True):
            assert torch.equal(one[0], two[0]) and torch.equal(one[0], three[0])
            assert torch.equal(one[1], two[1]) and torch.equal(one[1], three[1])


def test_an_image_that_a_process_cannot_decode_is_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = png_folder(tmp_path)
    victim = folder / "class_3" / "0040.png"
    monkeypatch.setattr(sources, "HELD_BYTES", 0)
    monkeypatch.setattr(images, "WORKERS", 1)
    data = load_data(str(folder))
    victim.write_bytes(victim.read_bytes()[:-30])  # its head is whole
    broken = [split for split in (data.train, data.val, data.open_test()) if victim in split.images.files]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"^\S+0040.png: image cannot be decoded [^\n]*$"):
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


PIXELS, LABELS = digits()


def test_the_parts_of_an_npz_file_stay_its_own(tmp_path: Path) -> None:
    parts = {"train": slice(0, None, 2), "val": slice(1, None, 4), "test": slice(3, None, 4)}
    arrays = {f"{part}_images": PIXELS[some] for part, some in parts.items()}
    data = load_data(npz(tmp_path, **arrays, **{f"{part}_labels": LABELS[some] for part, some in parts.items()}))
    assert data.sizes == {"train": 60, "val": 30, "test": 30}
    assert data.split == "the data's own"
    assert torch.equal(data.val.labels, torch.from_numpy(LABELS[parts["val"]]))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_labels": None}, "no array 'train_labels' \\(found: train_images\\)"),
        ({"test_images": PIXELS}, "no array 'test_labels'"),
        ({"train_images": PIXELS.astype(np.float32)}, "train_images is float32; uint8"),
        ({"train_images": PIXELS[0]}, "train_images has shape \\(8, 8\\)"),
        ({"train_images": PIXELS[:0], "train_labels": LABELS[:0]}, "has shape \\(0, 8, 8, 1\\)"),
        ({"train_images": np.stack([PIXELS] * 3, axis=1)}, "channels first"),
        ({"train_labels": LABELS.astype(float)}, "train_labels is float64; integers"),
        ({"train_labels": LABELS[:-1]}, "train_labels has shape \\(119,\\); \\(120,\\)"),
        ({"train_labels": LABELS - 1}, "train label -1 is out of range 0..8"),
        ({"train_labels": LABELS * 2}, "class '1' \\(label 1\\) has no training image"),
        ({"train_labels": LABELS + 10**12}, "train label 1000000000009 is out of range"),
        ({"class_names": list("abc")}, "train label 3 is out of range 0..2"),
        ({"class_names": [list("abcdefghij")]}, "class_names has shape \\(1, 10\\)"),
        ({"train_labels": LABELS * 0}, "only one class, '0'"),
        ({"train_labels": np.where(LABELS == 9, 8, LABELS) + (np.arange(120) == 119)}, "class '9' has 1 images left"),
        ({"test_images": PIXELS, "test_labels": LABELS + 1}, "test label 10 is out of range 0..9"),
        ({"test_images": PIXELS[:, :4], "test_labels": LABELS}, "test images are \\(1, 4, 8\\)"),
        ({"val_images": PIXELS[:, :4], "val_labels": LABELS}, "val images are \\(1, 4, 8\\)"),
        ({"val_images": PIXELS}, "no array 'val_labels'"),
        ({"train_images": PIXELS.reshape(120, 1, 4, 16)}, "channels first; \\(N, H, W, C\\) is needed"),
        ({"train_labels": np.array([{}] * 120)}, "'train_labels' cannot be read"),
    ],
)
def test_malformed_npz_files_are_refused(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(npz(tmp_path, **arrays))


def test_files_that_are_no_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'digit' not found in .*: it is neither 'digits' nor an existing"):
        load_data("digit")
    for content in (b"", b"not an archive", b"PK\x03\x04 cut"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataError, match="not a readable"):
            load_data(str(tmp_path / "bad.npz"))
    np.save(tmp_path / "bare.npy", PIXELS)
    with pytest.raises(DataError, match="one bare array"):
        load_data(str(tmp_path / "bare.npy"))
    whole = Path(npz(tmp_path))
    damaged = bytearray(whole.read_bytes())
    damaged[1000:1100] = bytes(100)
    whole.write_bytes(damaged)
    with pytest.raises(DataError, match="cannot be read"):
        load_data(str(whole))
    with pytest.raises(DataError, match="images of one size already"):
        load_data(DataSpec(source="digits", size=16))


def test_a_class_too_small_to_split_is_refused(tmp_path: Path) -> None:
    pixels, labels = digits(3)
    with pytest.raises(DataError, match=r"too few to hold out 0.1 of every class for test.*`test_fraction`"):
        load_data(DataSpec(source=npz(tmp_path, train_images=pixels, train_labels=labels), test_fraction=0.1))
    test = {"test_images": pixels, "test_labels": labels}
    with pytest.raises(DataError, match=r"for val.*`val_fraction`"):
        load_data(DataSpec(source=npz(tmp_path, train_images=pixels, train_labels=labels, **test), val_fraction=0.05))


def test_malformed_image_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one sub-folder per class"):
        load_data(str(tmp_path))
    folder = png_folder(tmp_path / "whole")
    victim = folder / "class_3" / "0040.png"
    good = victim.read_bytes()
    for content, message in ((b"text", "not an image"), (good[:-30], "cannot be decoded")):
        victim.write_bytes(content)
        with pytest.raises(DataError, match=f"0040.png: .*{message}"):
            load_data(str(folder))
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(victim)
    with pytest.raises(DataError, match=r"8x9 pixels, but .* has 8x8; give `size`"):
        load_data(str(folder))
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(victim)
    with pytest.raises(DataError, match="image mode 'I;16'"):
        load_data(str(folder))
    png_folder(tmp_path / "split" / "train")
    shutil.rmtree(png_folder(tmp_path / "split" / "test") / "class_9")
    with pytest.raises(DataError, match="classes of test"):
        load_data(str(tmp_path / "split"))
    png_folder(tmp_path / "robo" / "train")
    png_folder(tmp_path / "robo" / "valid")
    with pytest.raises(DataError, match="beside train there is 'valid'; allowed are val and test"):
        load_data(str(tmp_path / "robo"))
    (tmp_path / "robo" / "train").rename(tmp_path / "robo" / "Training")
    with pytest.raises(DataError, match=r"(Training|valid): holds no images but folders, such as 'class_\d'"):
        load_data(str(tmp_path / "robo"))


def test_a_spec_is_strict() -> None:
    for bad in ({"val_fraction": 0.0}, {"test_fraction": 1.0}, {"split_seed": -1}, {"size": 0}, {"seed": 0}):
        with pytest.raises(ValidationError):
            DataSpec.model_validate({"source": "digits"} | bad)
