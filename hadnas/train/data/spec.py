"""The data of a training: labelled images, split once into train, validation and test.

The test split is closed: training and search use `data.train` and `data.val`; only `data.open_test()` gives the rest.
Importing this file is cheap (no torch, no numpy): a study may name its data without loading it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hadnas.errors import DataError
from hadnas.limits import SIDE, SPLIT_SEED
from hadnas.plain import plain_fields
from hadnas.targets import TargetKind

if TYPE_CHECKING:
    import numpy as np

    from hadnas.train.data.images import Source, Split


class DataSpec(BaseModel):
    """The name of a data set and the rule that splits it.

    `source` is "digits" (scikit-learn's 1,797 8x8 digits, no download), the path of a `.npz` file, the path of an
    image folder, or `torch/NAME:DIR`, a data set of torchvision in the folder DIR, read by timm. The classes of a
    folder are in the order of timm's reader; its images are turned upright by their EXIF, transparent pixels become
    white, and of an animation the first frame is read. If the source has no test split, `test_fraction` of the images
    becomes one; then, if it has no validation split, `val_fraction` of the rest. Both splits are determined by
    `split_seed`, and stratified by class. `size` (pixels) resizes the images of a folder: shorter side, then centre
    crop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    _plain = model_validator(mode="before")(plain_fields)

    source: str
    val_fraction: float = Field(default=0.2, gt=0, lt=1)
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0, le=SPLIT_SEED)
    size: int | None = Field(default=None, ge=1, le=SIDE)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, split and ready for training.

    `digest` identifies pixels, labels and split: equal digests mean the same images in the same splits; `split`
    describes in words how the splits were made. `shape` is (channels, height, width). `target` is the kind of the
    targets, `classes` the number of classes, labels or values, and `class_names` are their names, in the order of the
    network's outputs. `mean` and `std` have one value per channel, for pixels scaled to 0..1, from the training split
    only; they normalise the batches of all splits. `target_mean` and `target_std` are those of each value, () unless
    the target is values. `notes` are sentences on surprises: files that were not read, images in two splits.
    """

    name: str
    digest: str
    split: str
    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]
    target: TargetKind
    target_mean: tuple[float, ...]
    target_std: tuple[float, ...]
    train: Split
    val: Split
    _test: Split = field(repr=False)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images in each split."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self._test)}

    @property
    def parts(self) -> dict[str, str]:
        """The number of images in each split and how the splits were made, as text."""
        train, val, test = (f"{size:,}" for size in self.sizes.values())
        return {"train": train, "validation": val, "test": test, "split": self.split}

    def open_test(self) -> Split:
        """The test split: for the final figures of finished architectures, never to choose between them."""
        return self._test


def load_data(spec: DataSpec | str) -> Data:
    """Read, check and split a data set.

    Raises DataError if the source is missing, malformed or unsuitable: a file that is not a `.npz`, missing keys, wrong
    shapes or types, labels out of range, a single class, a class too small to split, NaN or constant
    targets.
    """
    from hadnas.train.data.duplicates import repeated
    from hadnas.train.data.images import Normalise, Split
    from hadnas.train.data.reader import read_source
    from hadnas.train.data.target import check_varied, target_moments

    if isinstance(spec, str):
        spec = DataSpec(source=spec)
    source = read_source(spec.source, spec.size)
    digest = hashlib.sha256(repr((source.scale, source.train.shape)).encode())
    hashes = {"train": source.train.update(digest)}

    drawn = []
    train, val, test = source.train, source.val, source.test
    if test is None:
        drawn.append(f"{spec.test_fraction:g} of the images drawn for test")
        rest, held_out = _drawn(train.labels.numpy(), spec.test_fraction, spec, source, "test")
        digest.update(rest.tobytes())
        train, test = train.subset(rest), train.subset(held_out)
        hashes = {"train": hashes["train"][rest], "test": hashes["train"][held_out]}
    else:
        hashes["test"] = test.update(digest)
    if val is None:
        drawn.append(f"{spec.val_fraction:g} of the training images{' left' if drawn else ''} drawn for validation")
        rest, held_out = _drawn(train.labels.numpy(), spec.val_fraction, spec, source, "val")
        digest.update(rest.tobytes())
        train, val = train.subset(rest), train.subset(held_out)
        hashes |= {"train": hashes["train"][rest], "val": hashes["train"][held_out]}
    else:
        hashes["val"] = val.update(digest)
    shared = repeated(
        [("train", train, hashes["train"]), ("validation", val, hashes["val"]), ("test", test, hashes["test"])]
    )

    check_varied(train, source, spec.source)
    mean, std = train.moments(source.scale)
    target_mean, target_std = target_moments(train, source)
    how = "by class" if source.target == "classes" else "at random"
    normalise = Normalise(mean, std, source.scale)
    return Data(
        name=source.name or Path(spec.source).expanduser().stem,
        digest=digest.hexdigest()[:16],
        split=f"{', '.join(drawn)}, {how}, seed {spec.split_seed}" if drawn else "the data's own",
        shape=train.shape,
        classes=len(source.class_names),
        class_names=source.class_names,
        mean=mean,
        std=std,
        notes=(*source.notes, *([shared] if shared else [])),
        target=source.target,
        target_mean=target_mean,
        target_std=target_std,
        train=Split(train, normalise),
        val=Split(val, normalise),
        _test=Split(test, normalise),
    )


def _drawn(
    labels: np.ndarray, fraction: float, spec: DataSpec, source: Source, part: str
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of the remaining and of the held-out images; every class is in both."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    if source.target != "classes":
        try:
            rest, held_out = train_test_split(np.arange(len(labels)), test_size=fraction, random_state=spec.split_seed)
        except ValueError:  # no image would be left in one of the two parts
            raise DataError(
                f"{spec.source}: {len(labels)} images are too few to hold out {fraction:g} of them for {part}; add "
                f"images or change `{part}_fraction`"
            ) from None
        return np.sort(rest), np.sort(held_out)
    classes = len(source.class_names)
    counts = np.bincount(labels, minlength=classes)
    smallest = int(counts.argmin())
    too_small = DataError(
        f"{spec.source}: class {source.class_names[smallest]!r} has {counts[smallest]} images left, too few to hold "
        f"out {fraction:g} of every class for {part}; add images or change `{part}_fraction`"
    )
    if counts[smallest] < 2:
        raise too_small
    try:
        rest, held_out = train_test_split(
            np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=spec.split_seed
        )
    except ValueError as error:  # fewer images in one of the two parts than classes
        raise too_small from error
    if min(len(np.unique(labels[rest])), len(np.unique(labels[held_out]))) < classes:
        raise too_small
    return np.sort(rest), np.sort(held_out)
