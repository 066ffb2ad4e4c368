"""Pairs of scikit-learn's digits with a label of both: whether an interaction of two inputs is needed, by its rule."""

from collections.abc import Callable

import numpy as np
import torch

from hadnas.errors import DataError, unknown
from hadnas.train.data.columns import HeldInputs, InputColumn
from hadnas.train.data.images import Source
from hadnas.train.data.reader import reader

PAIRS_OF_DIGITS = "digit_pairs"

PAIR_COUNTS = {"train": 6000, "val": 2000, "test": 2000}
"""Pairs of each split. Its images, 60, 20 and 20 % of those of each digit, are in no other split."""

DIGITS = tuple(map(str, range(10)))

DIGIT_RULES: dict[str, tuple[tuple[str, ...], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "same": (("different", "same"), lambda a, b: a == b),
    "larger": (("right", "left"), lambda a, b: a > b),
    "sum": (DIGITS, lambda a, b: (a + b) % 10),
    "product": (DIGITS, lambda a, b: (a * b) % 10),
    "first": (DIGITS, lambda a, b: a),
}
"""Rule -> its classes, and the class of two digits. `first`, the left digit alone, is the control."""


@reader(
    f"'{PAIRS_OF_DIGITS}:RULE' with a rule of {', '.join(DIGIT_RULES)}",
    takes=lambda source: source.startswith(PAIRS_OF_DIGITS),
    named=True,
)
def read_digit_pairs(source: str) -> Source:
    """Two digits of 8x8 pixels, 0..16, with the label of the rule. Raises DataError for an unknown rule.

    same     whether both digits are equal, of as many equal as different pairs
    larger   which digit is larger, of unequal ones
    sum, product
             of both digits, modulo 10
    first    the left digit
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedShuffleSplit

    rule = source.removeprefix(PAIRS_OF_DIGITS).removeprefix(":")
    if rule not in DIGIT_RULES:
        raise DataError(str(unknown("rule of digit_pairs", rule, DIGIT_RULES)))
    classes, label = DIGIT_RULES[rule]
    digits = load_digits()
    pixels = torch.from_numpy(digits.images.astype(np.uint8)).unsqueeze(1)
    places = np.arange(len(pixels))
    parts = {}
    for seed, (part, count) in enumerate(PAIR_COUNTS.items()):
        if part == "test":
            chosen = places
        else:
            share = 0.6 if part == "train" else 0.5
            first, rest = next(
                StratifiedShuffleSplit(1, train_size=share, random_state=seed).split(places, digits.target[places])
            )
            chosen, places = places[first], places[rest]
        generator = np.random.default_rng(seed)
        pairs = _pairs(digits.target[chosen], rule, count, generator)
        columns = [
            InputColumn(name, pixels[chosen], torch.from_numpy(pairs[:, side]))
            for side, name in enumerate(("left", "right"))
        ]
        left, right = (digits.target[chosen][pairs[:, side]] for side in (0, 1))
        parts[part] = HeldInputs(columns, torch.from_numpy(label(left, right).astype(np.int64)))
    return Source(16.0, classes, parts["train"], parts["val"], parts["test"], name=f"{PAIRS_OF_DIGITS}:{rule}")


def _pairs(digits: np.ndarray, rule: str, count: int, generator: np.random.Generator) -> np.ndarray:
    """Places of two different images each, (count, 2)."""
    drawn: np.ndarray = generator.integers(len(digits), size=(40 * count, 2))
    drawn = drawn[drawn[:, 0] != drawn[:, 1]]
    equal = digits[drawn[:, 0]] == digits[drawn[:, 1]]
    if rule == "same":
        drawn = np.concatenate([drawn[equal][: count // 2], drawn[~equal][: count - count // 2]])
        drawn = drawn[generator.permutation(count)]
    elif rule == "larger":
        drawn = drawn[~equal]
    return drawn[:count]
