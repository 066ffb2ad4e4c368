"""Differences by family and stage: at equal numbers of blocks, as a longer stage holds more of each family."""

import numpy as np
import pytest

from hadnas.arch.read import complete
from hadnas.results.candidate import Found
from hadnas.results.insight import family_differences
from hadnas.space import op
from tests.networks import pyramid, residual


def trained(blocks: str, effect: float, noise: float = 0.0) -> Found:
    """A trial with stars (s) and MLPs (m) in its stage, whose accuracy comes of their number, and of a star."""
    ops = {"s": op("star"), "m": op("mlp")}
    arch = complete(pyramid((8, [residual(ops[letter]) for letter in blocks])))
    accuracy = 0.5 + 0.1 * len(blocks) + effect * ("s" in blocks) + noise
    return Found(0, blocks, "complete", arch, {"val/accuracy": accuracy}, {}, None, {}, {}, None, True, "val/accuracy")


@pytest.mark.parametrize("effect", [0.0, 0.05])
def test_longer_stages_are_no_effect_of_a_family(effect: float) -> None:
    found = [trained(blocks, effect) for blocks in ["m", "m", "m", "s", "s", "mm", "mm", "ss", "sm", "ms", "ss"]]
    (star,) = [each for each in family_differences(found) if each.family == "hadamard"]
    assert (star.mean, star.low, star.high) == pytest.approx((effect,) * 3, abs=1e-9)
    assert (star.n_with, star.n_without) == (6, 5)


def test_lengths_count_by_their_trials() -> None:
    """By hand: two lengths with 4 and 7 trials, each a Welch difference; shares of variances are squared."""
    from scipy import stats

    noise = {"s": [0.01, -0.02], "m": [0.02, -0.01], "ss": [0.03, 0.0, -0.04, 0.01], "mm": [0.0, 0.05, -0.02]}
    found = [trained(blocks, 0.05, each) for blocks, values in noise.items() for each in values]
    (star,) = [each for each in family_differences(found) if each.family == "hadamard"]
    shares = {1: 4 / 11, 2: 7 / 11}
    gaps = {1: np.mean(noise["s"]) - np.mean(noise["m"]), 2: np.mean(noise["ss"]) - np.mean(noise["mm"])}
    parts = [(shares[len(k)] ** 2 * np.var(v, ddof=1) / len(v), len(v) - 1) for k, v in noise.items()]
    total = sum(part for part, _ in parts)
    reach = stats.t.ppf(0.975, total**2 / sum(part**2 / df for part, df in parts)) * total**0.5
    mean = 0.05 + sum(shares[length] * gaps[length] for length in shares)
    assert (star.mean, star.low, star.high) == pytest.approx((mean, mean - reach, mean + reach))


def test_the_interval_is_welchs_of_each_length() -> None:
    """By hand for one length, where it is scipy's."""
    from scipy import stats

    noise = {"s": [0.01, -0.02, 0.03, 0.0], "m": [0.02, -0.01, -0.03]}
    found = [trained(letter, 0.05, each) for letter, values in noise.items() for each in values]
    (star,) = [each for each in family_differences(found) if each.family == "hadamard"]
    groups = [[each.figures["val/accuracy"] for each in found if each.name == letter] for letter in "sm"]
    expected = stats.ttest_ind(*groups, equal_var=False).confidence_interval()
    assert (star.low, star.high) == pytest.approx(tuple(expected))
