"""The data of a training: labelled images, split once into train, validation and test.

The test split is closed: training and search use `data.train` and `data.val`; only `data.open_test()` gives the rest.
Importing this file is cheap (no torch, no numpy): a study may name its data without loading it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hadnas.errors import DataError, SpecError
from hadnas.inputs import AllMoments, InputShape, Moments, inputs_text
from hadnas.limits import SIDE, SPLIT_SEED
from hadnas.plain import plain_fields
from hadnas.targets import TargetKind

if TYPE_CHECKING:
    from hadnas.train.data.images import Images, Split


TABLES = (".csv", ".tsv", ".parquet")
"""Endings of the names of tables of image files."""

READING = (
    "size", "skip_bad", "images", "path_column", "label_columns", "value_columns", "split_column", "group", "inputs"
)  # fmt: skip
"""Fields of a `DataSpec` that readers take as options."""

_COLUMN: Any = Field(default=None, exclude_if=lambda value: value is None)  # absent in studies made before
_COLUMNS: Any = Field(default=(), exclude_if=lambda value: not value)


class DataSpec(BaseModel):
    """The name of a data set and the rule that splits it.

    `source` is "digits" (scikit-learn's 1,797 8x8 digits, no download), data of two inputs made from them or by a
    formula ("digit_pairs:RULE", "registration", "beam", "in_context:LENGTH", see docs/two_inputs.md), the path of a
    `.npz` file, the path of an image folder, the path of a table of image files (`.csv`, `.tsv`, `.parquet`),
    `torch/NAME:DIR`, a data set of torchvision in the folder DIR, read by timm, "relations:RULE" or
    "relations:RULE:FILE.npz", images of symbols (see docs/searching.md), or "holes:SHARE:SOURCE", the images of another
    source with random holes (see docs/masks.md). The classes of a folder are in the order of timm's reader; its images
    are turned upright by their EXIF, transparent pixels become white, and of an animation the first frame is read. If
    the source has no test split, `test_fraction` of the images becomes one; then, if it has no validation split,
    `val_fraction` of the rest. Both splits are determined by `split_seed`, and stratified by class.

    `size` (pixels) resizes image files: shorter side, then centre crop. `skip_bad` leaves out unusable files.

    For a table: its paths start at the folder `images`, by default the table's own; `path_column`, `label_columns` and
    `split_column` name its columns, by default found by common names. One label column has classes, several are labels
    of 0 and 1; `value_columns` have numbers to predict. Images of one value of the column `group`, such as a patient,
    are never in two splits.

    `mean` and `std`, for each channel of pixels scaled to 0..1, normalise the images; by default those of the training
    split do. Images of another number of channels, such as grey ones, have the average of all in each. A study of
    networks that start from weights takes by default those of its weights, and for files their size of images.

    `inputs` name the arrays of a `.npz` file that a network of several inputs reads, in this order: "tokens" for
    train_tokens (see docs/two_inputs.md).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    _plain = model_validator(mode="before")(plain_fields)

    source: str
    val_fraction: float = Field(default=0.2, gt=0, lt=1)
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0, le=SPLIT_SEED)
    size: int | None = Field(default=None, ge=1, le=SIDE)
    skip_bad: bool = Field(default=False, exclude_if=lambda skip: not skip)
    images: str | None = _COLUMN
    path_column: str | None = _COLUMN
    label_columns: tuple[str, ...] = _COLUMNS
    value_columns: tuple[str, ...] = _COLUMNS
    split_column: str | None = _COLUMN
    group: str | None = _COLUMN
    mean: tuple[float, ...] = _COLUMNS
    std: tuple[float, ...] = _COLUMNS
    inputs: tuple[str, ...] = _COLUMNS

    @model_validator(mode="after")
    def _moments_together(self) -> Self:
        if len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise SpecError(
                f"mean = {self.mean} and std = {self.std} are not allowed; allowed are as many means as standard "
                "deviations above 0, or neither"
            )
        return self

    @property
    def reading(self) -> dict[str, Any]:
        """The fields that readers take as options."""
        return {name: getattr(self, name) for name in READING}


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, split and ready for training.

    `digest` identifies pixels, labels and split: equal digests mean the same images in the same splits; `split`
    describes in words how the splits were made. `inputs` are the names and shapes of the inputs, such as (("image",
    (channels, height, width)),). `target` is the kind of the targets, `classes` the number of classes, labels or
    values, and `class_names` are their names, in the order of the network's outputs. `moments_of_inputs` has mean and
    standard deviation of each input, from the training split only; they normalise the batches of all splits. Of tokens
    and masks it is None. `target_mean` and `target_std` are those of each value, () unless
    the target is values. `notes` are sentences on surprises: files that were not read, images in two splits.
    """

    name: str
    digest: str
    split: str
    inputs: tuple[tuple[str, InputShape], ...]
    classes: int
    class_names: tuple[str, ...]
    moments_of_inputs: tuple[Moments | None, ...]
    notes: tuple[str, ...]
    target: TargetKind
    target_mean: tuple[float, ...]
    target_std: tuple[float, ...]
    train: Split
    val: Split
    _test: Split = field(repr=False)

    @property
    def of_one_image(self) -> bool:
        """Whether the only input is an image, or a map of its shape."""
        return len(self.inputs) == 1 and len(self.inputs[0][1]) == 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the only input. Raises DataError if there is not exactly one image."""
        if not self.of_one_image:
            raise DataError(f"{self.name}: one image is needed here; the inputs are {inputs_text(self.inputs)}")
        channels, height, width = self.inputs[0][1]
        return channels, height, width

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each channel of the only input, of pixels scaled to 0..1."""
        return self._moments_of_image[0]

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of each channel of the only input, of pixels scaled to 0..1."""
        return self._moments_of_image[1]

    @property
    def _moments_of_image(self) -> Moments:
        found = self.moments_of_inputs[0]
        assert self.shape and found is not None
        return found

    @property
    def moments(self) -> AllMoments:
        """Mean and standard deviation of the only input, or those of several by name, for `hadnas.export`."""
        named = {name: found for (name, _), found in zip(self.inputs, self.moments_of_inputs, strict=True) if found}
        return self._moments_of_image if len(self.inputs) == 1 and named else named

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
    shapes or types, labels out of range, a single class, a class too small to split, files that are not images, NaN or
    constant targets.
    """
    from hadnas.train.data.images import Split
    from hadnas.train.data.normalise import Normalise
    from hadnas.train.data.reader import read_source
    from hadnas.train.data.split import held_out, repeated
    from hadnas.train.data.target import check_varied, target_moments

    if isinstance(spec, str):
        spec = DataSpec(source=spec)
    source = read_source(spec.source, spec.reading)
    inputs = source.train.inputs
    form = inputs if len(inputs) > 1 else inputs[0][1]
    digest = hashlib.sha256(repr((source.scale, form)).encode())
    train, groups = source.train, source.groups
    hashes = {"train": train.update(digest)}
    parts: dict[str, Images] = {}
    drawn: list[str] = []
    for part, own, fraction, words in (
        ("test", source.test, spec.test_fraction, "of the images drawn for test"),
        ("val", source.val, spec.val_fraction, "of the training images{} drawn for validation"),
    ):
        if own is not None:
            parts[part], hashes[part] = own, own.update(digest)
            continue
        labels, names = train.labels.numpy(), source.class_names if source.target == "classes" else ()
        rest, out = held_out(labels, names, part, fraction, groups=groups, seed=spec.split_seed, where=spec.source)
        digest.update(rest.tobytes())
        share = fraction if groups is None else len(out) / len(labels)  # whole groups, as near as they allow
        drawn.append(f"{share:.3g} {words.format(' left' if drawn else '')}")
        train, parts[part] = train.subset(rest), train.subset(out)
        hashes |= {"train": hashes["train"][rest], part: hashes["train"][out]}
        groups = None if groups is None else groups[rest]
    val, test = parts["val"], parts["test"]
    shared = repeated(
        [("train", train, hashes["train"]), ("validation", val, hashes["val"]), ("test", test, hashes["test"])]
    )

    check_varied(train, source, spec.source)
    normalise, given = train.normalisers(source.scale), ""
    if spec.mean:
        if len(inputs) > 1 or normalise[0] is None:
            raise DataError(f"{spec.source}: `mean` is for data of one image; the inputs are {inputs_text(inputs)}")
        values = [_for_channels(one, len(normalise[0].mean)) for one in (spec.mean, spec.std)]
        normalise = (Normalise(values[0], values[1], source.scale),)
        mean, std = map(_listed, values)
        given = f"images are normalised by mean {mean} and standard deviation {std}, not those of the training split"
        digest.update(repr((spec.mean, spec.std)).encode())
    target_mean, target_std = target_moments(train, source)
    how = "by class" if source.target == "classes" else "at random"
    how += "" if source.groups is None else f" and without a common {source.grouped_by or spec.group}"
    return Data(
        name=source.name or Path(spec.source).expanduser().stem,
        digest=digest.hexdigest()[:16],
        split=f"{', '.join(drawn)}, {how}, seed {spec.split_seed}" if drawn else "the data's own",
        inputs=inputs,
        classes=len(source.class_names),
        class_names=source.class_names,
        moments_of_inputs=tuple(None if how is None else (how.mean, how.std) for how in normalise),
        notes=(*source.notes, *(note for note in (shared, given) if note)),
        target=source.target,
        target_mean=target_mean,
        target_std=target_std,
        train=Split(train, normalise),
        val=Split(val, normalise),
        _test=Split(test, normalise),
    )


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A value of every channel; the average of all, if there are more or fewer channels than values."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
