"""Images of symbols in a 2 x 2 grid whose class is a relation of its cells, with other symbols in the test split."""

from itertools import permutations

import numpy as np
import torch

from hadnas.errors import DataError, unknown
from hadnas.paths import as_path
from hadnas.train.data.archive import image_array, open_archive
from hadnas.train.data.images import HELD_BYTES, HeldImages, Source
from hadnas.train.data.reader import reader

RELATIONS = "relations"

EMPTY = -1
"""A cell without a symbol."""

RELATION_RULES: dict[str, dict[str, list[tuple[int, ...]]]] = {
    "same": {
        "same": sorted(set(permutations((0, 0, EMPTY, EMPTY)))),
        "different": sorted(set(permutations((0, 1, EMPTY, EMPTY)))),
    },
    "identity": {
        "rows": [(0, 0, 1, 1)],
        "columns": [(0, 1, 0, 1)],
        "diagonals": [(0, 1, 1, 0)],
        "different": [(0, 1, 2, 3)],
    },
    "match": {"match": [(0, 0, 1, 1), (0, 1, 2, 3)], "no match": [(0, 0, 1, 2), (0, 1, 2, 2)]},
}
"""Rule -> class -> its grids, row by row: cells of one number have one symbol, cells of two numbers two."""

TRAINED_SYMBOLS = 20
"""The symbols of training and validation."""

FEWEST_SYMBOLS = 4
"""The fewest others, for the test split: the most that a grid has."""

GRID_COUNTS = {"train": 4000, "test": 2000}
"""Images of the training and validation splits together, and of the test split."""


@reader(
    f"'{RELATIONS}:RULE' or '{RELATIONS}:RULE:FILE.npz' with a rule of {', '.join(RELATION_RULES)}",
    takes=lambda source: source.partition(":")[0] == RELATIONS,
    named=True,
)
def read_relations(source: str) -> Source:
    """Images of 2 x 2 cells, each a symbol or empty, with as many images of each class of the rule.

    same      two symbols in two cells: equal, or different
    identity  four symbols: each row, each column or each diagonal has one symbol, or all four are different
    match     four symbols: the rows are alike in that each has one symbol, or two; or only one row has one symbol

    A symbol is one picture, always drawn alike. Training and validation have TRAINED_SYMBOLS, pictures of the digits 0
    to 4 of scikit-learn, the test split pictures of 5 to 9; or so many of the array `images` of a file, and the others.
    No image of training is in validation. Raises DataError for an unknown rule, and for a file whose images are too
    few, too large, not uint8 or blank.
    """
    _, _, given = source.partition(":")
    rule, own, file = given.partition(":")
    if rule not in RELATION_RULES:
        raise DataError(f"{source}: {unknown('rule of relations', rule, RELATION_RULES)}")
    scale, symbols = (255.0, _glyphs(file)) if own else (16.0, _digit_symbols())
    classes = RELATION_RULES[rule]
    empty, parts = _background(np.concatenate([*symbols.values()])), {}
    for seed, (part, count) in enumerate(GRID_COUNTS.items()):
        cells, labels = _grids(list(classes.values()), len(symbols[part]), count, np.random.default_rng(seed))
        parts[part] = HeldImages(_drawn(symbols[part], empty, cells), torch.from_numpy(labels))
        if part == "train":
            groups = np.unique(cells, axis=0, return_inverse=True)[1]
    return Source(
        scale,
        tuple(classes),
        parts["train"],
        test=parts["test"],
        notes=(
            f"the {len(symbols['test'])} symbols of the test split are in no training or validation image, which have "
            f"{len(symbols['train'])} others: test accuracy is out of distribution, validation accuracy is not",
        ),
        name=":".join([RELATIONS, rule, *([as_path(file).stem] if own else [])]),
        groups=groups,
        grouped_by="picture",
    )


def _digit_symbols() -> dict[str, np.ndarray]:
    """Pictures of digits (N, 8, 8, 1) for each part."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pictures = digits.images.astype(np.uint8)[..., None]
    small = np.random.default_rng(0).permutation(np.flatnonzero(digits.target < 5))
    return {"train": pictures[small[:TRAINED_SYMBOLS]], "test": pictures[digits.target >= 5]}


def _glyphs(file: str) -> dict[str, np.ndarray]:
    """The different images (N, H, W, C) of a file for each part, in random order."""
    path = as_path(file)
    with open_archive(path, "images") as archive:
        images = image_array(archive, "images", path)
    if images.dtype != np.uint8:
        raise DataError(f"{path}: images is {images.dtype}; allowed is uint8")
    found = np.unique(images, axis=0)
    if len(found) < TRAINED_SYMBOLS + FEWEST_SYMBOLS:
        raise DataError(
            f"{path}: images has {len(found)} different ones; allowed are {TRAINED_SYMBOLS + FEWEST_SYMBOLS} or more, "
            f"{TRAINED_SYMBOLS} for training and validation and at least {FEWEST_SYMBOLS} for the test split"
        )
    if 4 * sum(GRID_COUNTS.values()) * found[0].nbytes > HELD_BYTES:
        raise DataError(
            f"{path}: images has shape {images.shape}, of which {sum(GRID_COUNTS.values()):,} grids of four take more "
            f"than {HELD_BYTES:,} bytes; give smaller ones"
        )
    if (blank := np.flatnonzero((images == _background(images)).all((1, 2, 3)))).size:
        raise DataError(f"{path}: images[{blank[0]}] is blank, as an empty cell is; leave it out")
    order = np.random.default_rng(0).permutation(len(found))
    return {"train": found[order[:TRAINED_SYMBOLS]], "test": found[order[TRAINED_SYMBOLS:]]}


def _background(images: np.ndarray) -> int:
    return int(np.bincount(images.ravel()).argmax())


def _grids(
    classes: list[list[tuple[int, ...]]], symbols: int, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The symbol of each cell or EMPTY, (count, 4), and the classes, int64 (count,), as many of each."""
    labels = generator.permutation(np.arange(count) % len(classes))
    numbers = np.array([classes[label][generator.integers(len(classes[label]))] for label in labels])
    drawn = generator.random((count, symbols)).argsort(axis=1)[:, :4]  # four different symbols
    return np.where(numbers == EMPTY, EMPTY, np.take_along_axis(drawn, numbers, axis=1)), labels


def _drawn(symbols: np.ndarray, empty: int, cells: np.ndarray) -> torch.Tensor:
    """Images (N, C, 2 H, 2 W) of grids (N, 4) of symbols (M, H, W, C); cells without one have the value `empty`."""
    _, height, width, channels = symbols.shape
    grids = np.concatenate([symbols, np.full_like(symbols[:1], empty)])[cells].reshape(
        -1, 2, 2, height, width, channels
    )
    pixels = grids.transpose(0, 5, 1, 3, 2, 4).reshape(-1, channels, 2 * height, 2 * width)
    return torch.from_numpy(np.ascontiguousarray(pixels))
