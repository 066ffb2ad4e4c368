"""Augmentation: timm's, of single PIL images (crop, mirroring, policy, erasing), and shifts of whole batches.

For timm's, the trainer draws one seed per image and epoch, which alone determines the augmented image. So a training is
the same to the last bit with images in memory or streamed, and with any number of decoding processes. Shifts are drawn
by a generator on the CPU: a seed gives the same ones on every device, and no step waits for random numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import NAME_TO_OP, posterize
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import to_pil_image

from hadnas.errors import DataError, SpecError
from hadnas.train.data.images import Batches, HeldImages, Split, StreamedImages, loaded
from hadnas.train.data.spec import Data
from hadnas.train.recipe import PLAIN, Policy, Recipe
from hadnas.train.seeds import seeded

CHANNELS = (1, 3)
"""Channels of images that PIL and timm's transforms support: grey and colour."""


def check_augment(data: Data, recipe: Recipe) -> None:
    """Raise SpecError if a recipe augments several inputs, DataError if timm cannot augment such images."""
    if not data.of_one_image:
        for name, plain in (("augment", "none"), ("mixup", 0.0)):
            if (found := getattr(recipe, name)) != plain:
                raise SpecError(
                    f"recipe: {name} = {found} is for data of one image; the inputs of {data.name} are "
                    f"{', '.join(one for one, _ in data.inputs)}, with which {name} = {plain} is allowed"
                )
    elif isinstance(recipe.augment, Policy) and data.shape[0] not in CHANNELS:
        raise DataError(
            f"{data.name}: images have {data.shape[0]} channels, and timm augments those of 1 or 3 only; allowed here "
            f"are the augmentations {', '.join(PLAIN)}"
        )


def _posterized(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """timm's, also for 0 bits, which Pillow refuses from version 13 on: a black image, as before."""
    found: Image.Image = posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)
    return found


POSTERIZED = {name: _posterized for name in NAME_TO_OP if name.startswith("Posterize")}


@contextmanager
def _mended() -> Iterator[None]:
    """timm's operations with `_posterized`; timm looks them up only while it makes a policy."""
    before = {name: NAME_TO_OP[name] for name in POSTERIZED}
    NAME_TO_OP.update(POSTERIZED)
    try:
        yield
    finally:
        NAME_TO_OP.update(before)


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """The images of a split, augmented by a policy and normalised; an item's key is (place, seed)."""

    def __init__(self, split: Split, policy: Policy) -> None:
        assert isinstance(split.images, HeldImages | StreamedImages) and split.normalise[0] is not None
        self.images, normalise = split.images, split.normalise[0]
        self.scale = normalise.scale
        with _mended():
            self.transform = create_transform(
                self.images.shape,
                is_training=True,
                mean=normalise.mean,
                std=normalise.std,
                **policy.model_dump(),
            )

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """A float32 image (C, H, W) and its target."""
        place, seed = item
        pixels, label = self.images[place]
        if self.scale != 255:
            pixels = (pixels * (255 / self.scale)).round().to(torch.uint8)
        with seeded(seed):
            image: Tensor = self.transform(to_pil_image(pixels))
        return image, label

    def batches(self, size: int, device: torch.device, order: Tensor, generator: torch.Generator) -> Batches:
        """The images of `order`, each augmented by a seed that `generator` draws: (B, C, H, W) with targets."""
        seeds = torch.randint(2**32, (len(order),), generator=generator)
        return loaded(self, list(zip(order.tolist(), seeds.tolist(), strict=True)), size, device)


def augmented(split: Split, recipe: Recipe, device: torch.device, order: Tensor, generator: torch.Generator) -> Batches:
    """The images of `order` in batches, augmented as a recipe says."""
    if isinstance(recipe.augment, Policy):
        yield from Augmented(split, recipe.augment).batches(recipe.batch, device, order, generator)
    elif recipe.augment == "none":
        yield from split.batches(recipe.batch, device, order)
    else:
        shifts = Shifts(recipe.augment, len(order), generator, device)
        for (images,), targets in split.batches(recipe.batch, device, order):
            yield (shifts(images),), targets


class Shifts:
    """One epoch of random shifts and mirrorings: draw once, then apply to each batch in turn.

    A shift moves an image by up to an eighth of its side (at least one pixel) and repeats its edge.
    """

    def __init__(
        self, kind: Literal["shift", "shift_flip"], images: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self._flips = kind == "shift_flip"
        self._draws = torch.rand(images, 3, generator=generator).to(device)
        self._used = 0

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        batch, channels, height, width = images.shape
        draws = self._draws[self._used : self._used + batch]
        self._used += batch
        rows = _shifted(draws[:, 0], height)
        columns = _shifted(draws[:, 1], width)
        if self._flips:
            columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
        image = torch.arange(batch, device=images.device)[:, None, None, None]
        channel = torch.arange(channels, device=images.device)[:, None, None]
        return images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _shifted(draws: Tensor, side: int) -> Tensor:
    """(B,) uniform draws -> (B, side) source positions."""
    reach = max(1, side // 8)
    offset = (draws * (2 * reach + 1)).long() - reach
    return (torch.arange(side, device=draws.device) + offset[:, None]).clamp(0, side - 1)
