"""scikit-learn's 1,797 handwritten digits of 8x8 pixels, which come with it."""

import numpy as np
import torch

from hadnas.train.data.images import HeldImages, Source
from hadnas.train.data.reader import reader


@reader("'digits'", takes=lambda source: source == "digits", named=True)
def read_digits(source: str) -> Source:
    """Pixels 0..16, as one split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images.astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    return Source(16.0, tuple(str(name) for name in digits.target_names), HeldImages(pixels, labels))
