"""Digits as files: small data sets that several tests share."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


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


PIXELS, LABELS = digits()
