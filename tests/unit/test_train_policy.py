"""timm's augmentation of real digits: the same for the same seed, whatever holds or decodes the images."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hadnas.errors import DataError
from hadnas.train.augment import Augmented
from hadnas.train.data import files, images
from hadnas.train.data.images import HeldImages, Split, StreamedImages
from hadnas.train.data.normalise import Normalise
from hadnas.train.data.spec import Data, load_data
from hadnas.train.recipe import Policy, Recipe
from hadnas.train.trainer import fit
from tests.pictures import digits, npz, png_folder

CPU = torch.device("cpu")
STILL = Policy(scale=(1, 1), hflip=0, color_jitter=0)
POLICIES = (
    *("rand-m9-mstd0.5-inc1", "rand-m10-n9-inc1-tweights", "rand-m1-n5", "rand-t3a", "rand-n9-t3aw", "augmix-m5-w2"),
    *("v0", "v0r-mstd0.5", "original", "originalr", "3a", None),
)


def batch(data: Data, policy: Policy, seed: int = 0, count: int = 96) -> Tensor:
    """The first `count` training images in order, augmented."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([x for (x,), _ in Augmented(data.train, policy).batches(50, CPU, torch.arange(count), generator)])


def plain(data: Data, count: int = 96) -> Tensor:
    return next(data.train.batches(count))[0][0]


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits")


def test_nothing_asked_for_is_nothing_changed_but_for_eight_bits(data: Data) -> None:
    """Digits have 17 grey levels; PIL has 256, so each is off by at most half of one."""
    assert (batch(data, STILL) - plain(data)).abs().max() <= 0.5 / 255 / data.std[0] + 1e-6


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_gives_images_of_the_same_shape(name: str | None, channels: int) -> None:
    """Pillow refuses to keep 0 bits of a pixel, which timm asks for at the ends of its scale."""
    pixels, labels = digits()
    held = HeldImages(torch.from_numpy(pixels)[:, None, :, :6].expand(-1, channels, -1, -1), torch.from_numpy(labels))
    split = Split(held, (Normalise((0.3,) * channels, (0.2,) * channels, 255.0),))
    policy, order = Policy(auto_augment=name, re_prob=0.2), torch.arange(len(held.labels))
    found = list(Augmented(split, policy).batches(500, CPU, order, torch.Generator().manual_seed(1)))
    assert found[0][0][0].shape == (120, channels, 8, 6) and found[0][0][0].dtype == torch.float32
    assert found[0][0][0].isfinite().all() and torch.equal(found[0][1], held.labels)
    before = next(split.batches(500, order=order))[0][0]
    assert (found[0][0][0] != before).flatten(1).any(1).float().mean() > 0.5


def test_a_seed_decides_and_every_image_has_its_own(data: Data) -> None:
    policy = Policy(auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.3)
    first = batch(data, policy)
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert torch.equal(batch(data, policy), first) and not torch.equal(batch(data, policy, seed=1), first)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert before[:2] == after[:2] and torch.equal(before[2], after[2])
    generator = torch.Generator().manual_seed(0)
    same = next(Augmented(data.train, policy).batches(50, CPU, torch.zeros(50, dtype=torch.int64), generator))[0][0]
    assert len({tuple(image.flatten().tolist()) for image in same}) > 40


def test_processes_and_streaming_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.3)
    folder = str(png_folder(tmp_path / "digits", mode="RGB"))
    held = load_data(folder)
    expected = batch(held, policy, count=70)
    monkeypatch.setattr(files, "HELD_BYTES", 0)
    streamed = load_data(folder)
    assert isinstance(held.train.images, HeldImages) and isinstance(streamed.train.images, StreamedImages)
    assert torch.equal(batch(streamed, policy, count=70), expected)
    monkeypatch.setattr(images, "BATCHES_PER_WORKER", 1)
    monkeypatch.setattr(images, "WORKERS", 2)
    assert torch.equal(batch(streamed, policy, count=70), expected)
    assert torch.equal(batch(held, policy, count=70), expected)


def linear(data: Data) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(int(np.prod(data.shape)), data.classes))


@pytest.mark.slow
def test_a_training_with_all_of_it_repeats(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path))
    policy = Policy(auto_augment="rand-m9-mstd0.5-inc1", hflip=0, re_prob=0.1)
    recipe = Recipe(epochs=5, batch=16, augment=policy, mixup=0.2, label_smoothing=0.1, ema=0.9)
    curves = [
        [(epoch.train_loss, epoch.val_loss) for epoch in fit(linear(data), data, recipe, seed=seed).curve]
        for seed in (3, 3, 4)
    ]
    assert curves[0] == curves[1] != curves[2]
    assert curves[0][-1][1] < curves[0][0][1]


def test_images_that_pil_has_not_are_refused_before_any_work(tmp_path: Path) -> None:
    pixels, _ = digits()
    two = load_data(npz(tmp_path, train_images=np.stack([pixels, pixels], 3)))
    with pytest.raises(DataError, match=r"2 channels.* 1 or 3 .* none, shift"):
        fit(nn.Identity(), two, Recipe(batch=8, augment=STILL), seed=0)
