"""Digits with a target of each kind, as files."""

from pathlib import Path

import numpy as np

from hadnas.train.data.spec import Data, load_data
from tests.pictures import LABELS, PIXELS, npz

TARGETS: dict[str, dict[str, np.ndarray]] = {
    "classes": {"class_names": np.array([f"digit {label}" for label in range(10)])},
    "labels": {
        "train_labels": np.stack([LABELS % 2, LABELS > 4, LABELS % 3 == 0], axis=1).astype(np.int64),
        "class_names": np.array(["odd", "large", "by three"]),
    },
    "values": {
        "train_labels": np.stack([LABELS * 1000.0 + 500, PIXELS.mean((1, 2)) / 50], axis=1),
        "class_names": np.array(["price", "ink"]),
    },
}


def target_file(folder: Path, kind: str) -> str:
    """A .npz of 120 digits with a target of that kind."""
    return npz(folder, **TARGETS[kind])


def target_data(folder: Path, kind: str) -> Data:
    return load_data(target_file(folder, kind))
