"""Data of two inputs: arrays of a .npz file, pairs of digits, registration, a beam, regression in context; refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate

from hadnas.errors import DataError, SpecError
from hadnas.inputs import Tokens
from hadnas.train.data.columns import HeldInputs
from hadnas.train.data.sources.beam import LOAD, LOADED_POINTS, MATERIAL, PLACES, deflections
from hadnas.train.data.sources.digit_pairs import DIGIT_RULES
from hadnas.train.data.sources.in_context import NOISE_VARIANCE
from hadnas.train.data.sources.registration import PIXELS, moved_images
from hadnas.train.data.spec import Data, DataSpec, load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import Trainer

N = 30


def arrays(**changed: Any) -> dict[str, Any]:
    """Images shared by questions, with a vector; two classes."""
    generator = np.random.default_rng(0)
    found: dict[str, Any] = {"class_names": np.array(["no", "yes"]), "vocab": np.array(list("abcdef"))}
    for split, images in (("train", 10), ("test", 4)):
        found |= {
            f"{split}_images": generator.integers(0, 256, (images, 6, 5, 3), dtype=np.uint8),
            f"{split}_image_index": generator.permutation(np.arange(N) % images),
            f"{split}_words": generator.integers(0, 6, (N, 4)),
            f"{split}_sizes": generator.normal(5, 2, (N, 3)),
            f"{split}_labels": np.arange(N) % 2,
        }
    return {key: value for key, value in {**found, **changed}.items() if value is not None}


def file_of(folder: Path, **changed: Any) -> str:
    np.savez(folder / "pairs.npz", **arrays(**changed))
    return str(folder / "pairs.npz")


def read(folder: Path, *inputs: str, **changed: Any) -> Data:
    return load_data(DataSpec(source=file_of(folder, **changed), inputs=inputs or ("images", "words")))


def test_named_arrays_are_the_inputs_in_this_order(tmp_path: Path) -> None:
    data = read(tmp_path, "words", "images", "sizes")
    assert data.inputs == (("words", Tokens(4, 6)), ("images", (3, 6, 5)), ("sizes", (3,)))
    known = arrays()
    (words, images, sizes), labels = next(data.open_test().batches(N))
    assert words.dtype == torch.int64 and np.array_equal(words.numpy(), known["test_words"])
    pixels = known["test_images"][known["test_image_index"]].transpose(0, 3, 1, 2) / 255
    mean, std = (np.array(one) for one in data.moments["images"])  # type: ignore[call-overload]
    assert np.allclose(images.numpy(), (pixels - mean[:, None, None]) / std[:, None, None], atol=1e-5)
    mean, std = data.moments["sizes"]  # type: ignore[call-overload]
    assert np.allclose(sizes.numpy(), (known["test_sizes"] - mean) / std, atol=1e-5)
    assert "words" not in data.moments and labels.tolist() == known["test_labels"].tolist()


def test_moments_are_those_of_the_training_split(tmp_path: Path) -> None:
    data = read(tmp_path, "sizes", "images")
    (sizes, images), _ = next(data.train.batches(len(data.train)))
    assert sizes.mean(0).abs().max() < 1e-5 and (sizes.std(0, correction=0) - 1).abs().max() < 1e-5
    distinct = torch.unique(images, dim=0)
    assert distinct.mean((0, 2, 3)).abs().max() < 1e-5


def test_examples_of_one_image_are_in_one_split(tmp_path: Path) -> None:
    data = read(tmp_path)
    places = {}
    for part in ("train", "val"):
        images = getattr(data, part).images
        assert isinstance(images, HeldInputs)
        places[part] = set(images.columns[0].places.tolist())
    assert not places["train"] & places["val"] and "common value of images" in data.split


def test_pixels_tokens_index_and_labels_are_in_the_digest(tmp_path: Path) -> None:
    known, first = arrays(), read(tmp_path).digest
    assert read(tmp_path).digest == first
    for key in ("train_images", "train_words", "train_image_index", "train_labels"):
        assert read(tmp_path, **{key: np.roll(known[key], 1, axis=0)}).digest != first


TOKENS = arrays()["train_words"]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"train_words": TOKENS[:-1]}, r"train_words has 29 rows, train_labels 30: train_words\[29\] is missing"),
    ({"test_labels": np.arange(N - 1) % 2}, r"test_image_index has 30 rows, test_labels 29: test_labels\[29\]"),
    ({"train_words": None}, "no array 'train_words'"),
    ({"test_words": None}, "no array 'test_words'"),
    (
        {"test_words": TOKENS + 6 * (np.arange(N) == 7)[:, None]},
        r"test_words\[7, 0\] is \d+; allowed are 0 to 5, .*vocab",
    ),
    ({"train_words": -TOKENS}, r"train_words\[\d, \d\] is -\d; allowed are 0 to 5"),
    (
        {"train_image_index": np.arange(N)},
        r"train_image_index\[10\] is 10; allowed are 0 to 9, the places",
    ),
    ({"vocab": None, "train_words": TOKENS * 2**40}, r"train_words\[0, 0\] is \d+; allowed are 0 to 1048575"),
    ({"vocab": np.zeros((6, 2))}, r"vocab has shape \(6, 2\)"),
    ({"train_words": TOKENS[:, :0]}, r"train_words has shape \(30, 0\); .* none 0"),
    ({"train_sizes": np.zeros((0, 3))}, r"train_sizes has shape \(0, 3\); .* none 0"),
    ({"train_labels": np.array(1)}, "train_labels is one value"),
    ({"train_image_index": np.zeros((N, 1), int)}, r"train_image_index has shape \(30, 1\); allowed is \(N,\)"),
    ({"train_sizes": np.zeros(N)}, r"train_sizes is float64 of shape \(30,\); .* vectors \(N, K\)"),
    ({"val_words": TOKENS}, "no array 'val_labels'"),
    ({"train_image_index": np.zeros(N)}, "train_image_index is float64; integers"),
    ({"test_words": TOKENS[:, :3]}, r"test_words are int64 of shape \(3,\), train_words int64 of shape \(4,\)"),
    ({"train_words": TOKENS.astype(str)}, r"train_words is <U\d+ of shape \(30, 4\); allowed are integers"),
    (
        {"train_labels": np.full(N, np.nan), "test_labels": np.zeros(N), "class_names": None},
        r"'train_labels\[0\]': .* nan",
    ),
    (
        {"train_labels": np.arange(N) / 2, "test_labels": np.array([0.5, np.nan] * 15), "class_names": None},
        r"'test_labels\[1\]': .* is nan; allowed are finite numbers",
    ),
]


@pytest.mark.parametrize(("changed", "said"), REFUSED)
def test_what_does_not_fit_is_named_with_its_array_index_and_rule(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, *(("images", "sizes") if "train_sizes" in changed else ()), **changed)


def test_one_named_input_is_refused(tmp_path: Path) -> None:
    """Images alone have no names: their networks, augmentation and moments are those of one image."""
    with pytest.raises(DataError, match="the only input named is images; allowed are two or more"):
        read(tmp_path, "images")


def test_a_second_shared_input_is_noted_as_not_kept_apart(tmp_path: Path) -> None:
    shared = {"train_words": TOKENS[:10], "train_words_index": np.arange(N)[::-1] % 10}
    (note,) = read(tmp_path, **shared).notes
    assert note.startswith("values of words may be in two splits, as only those of images are kept apart")
    assert not read(tmp_path).notes


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    sizes = arrays()["train_sizes"]
    sizes[7, 1] = np.inf
    with pytest.raises(DataError, match=r"train_sizes\[7\] has the value inf; allowed are finite"):
        read(tmp_path, "images", "sizes", train_sizes=sizes)
    sizes[7, 1] = 1e39
    with pytest.raises(DataError, match=r"train_sizes\[7\] has the value 1e\+39; allowed .* up to 3.4e\+38"):
        read(tmp_path, "images", "sizes", train_sizes=sizes)
    sizes[:, 1] = 1e9 + np.arange(N)
    with pytest.raises(DataError, match=r"train_sizes\[:, 1\] is from 1e\+09 to 1.00000003e\+09, which float32 hardly"):
        read(tmp_path, "images", "sizes", train_sizes=sizes)
    sizes[:, 1] = 3  # a constant number is normalised to 0
    (_, vectors), _ = next(read(tmp_path, "images", "sizes", train_sizes=sizes).train.batches(N))
    assert not vectors[:, 1].any() and vectors[:, 0].std() > 0.5


def test_augmentation_and_mixup_are_for_one_image(tmp_path: Path) -> None:
    data = read(tmp_path)
    for field, value in (("augment", "shift"), ("mixup", 0.2)):
        with pytest.raises(SpecError, match=rf"{field} = {value} is for data of one image; .* images, words"):
            Trainer(torch.nn.Identity(), data, Recipe(batch=4, **{field: value}), seed=0)


@pytest.mark.parametrize("rule", DIGIT_RULES)
def test_pairs_of_digits_have_the_label_of_the_rule_and_no_image_in_two_splits(rule: str) -> None:
    data = load_data(f"digit_pairs:{rule}")
    assert data.inputs == (("left", (1, 8, 8)), ("right", (1, 8, 8))) and data.name == f"digit_pairs:{rule}"
    digits = load_data("digits")
    known = {
        image.numpy().tobytes(): int(label)
        for part in (digits.train, digits.val, digits.open_test())
        for image, label in zip(part.images.pixels, part.labels, strict=True)  # type: ignore[attr-defined]
    }
    names: Callable[[int, int], int | bool] = {
        "same": lambda a, b: a == b,
        "larger": lambda a, b: a > b,
        "sum": lambda a, b: (a + b) % 10,
        "product": lambda a, b: (a * b) % 10,
        "first": lambda a, b: a,
    }[rule]
    seen: list[set[bytes]] = []
    for part in (data.train, data.val, data.open_test()):
        columns = part.images.columns  # type: ignore[attr-defined]
        left, right = ([column.values[place].numpy().tobytes() for place in column.places] for column in columns)
        assert part.labels.tolist() == [int(names(known[a], known[b])) for a, b in zip(left, right, strict=True)]
        seen.append({*left, *right})
        if rule == "same":
            assert part.labels.float().mean() == 0.5
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"'sun'; did you mean 'sum'"):
        load_data("digit_pairs:sun")


def test_a_digit_is_shifted_and_turned_by_its_targets() -> None:
    """A blob off the centre: where it goes is known, and a turn is scipy's."""
    digit = np.zeros((1, 8, 8))
    digit[0, 2:4, 5:7] = 16
    plain = moved_images(digit, np.zeros((1, 3)))[0, 0].astype(float)
    shifted = moved_images(digit, np.array([[3.0, -2.0, 0.0]]))[0, 0]
    assert np.array_equal(shifted[:-2, 3:], plain[2:, :-3].astype(np.uint8))  # three right, two up
    turned = moved_images(digit, np.array([[0.0, 0.0, 30.0]]))[0, 0].astype(float)
    other = rotate(plain, 30.0, reshape=False, order=1)
    assert (
        np.abs(turned - other).mean() < 3 and np.abs(turned - rotate(plain, -30.0, reshape=False, order=1)).mean() > 5
    )
    assert plain.shape == (PIXELS, PIXELS)


def test_deflections_are_those_of_the_differential_equation() -> None:
    """E I w'''' = q by finite differences, with loads as narrow pressures, against the closed formula."""
    generator = np.random.default_rng(0)
    loads = generator.uniform(-LOAD, LOAD, (1, LOADED_POINTS))
    low, high = np.array(list(MATERIAL.values())).T
    material = generator.uniform(low, high, (1, 4))
    modulus, width, height, length = material[0]
    parts = 100 * LOADED_POINTS
    step = length / parts
    second = (np.eye(parts - 1, k=1) + np.eye(parts - 1, k=-1) - 2 * np.eye(parts - 1)) / step**2
    pressure = np.zeros(parts + 1)
    pressure[50::100][:LOADED_POINTS] = loads[0] / step
    bending = np.linalg.solve(second, pressure[1:-1])  # M'' = q, and M = w'' E I, both 0 at the supports
    curve = np.linalg.solve(second, bending) / (modulus * 1e6 * width * height**3 / 12)
    expected = [1000 * curve[round(place * parts) - 1] for place in PLACES]
    assert np.allclose(deflections(loads, material)[0], expected, rtol=1e-3)


def test_each_context_has_noisy_values_of_the_function_of_its_target() -> None:
    """Least squares on the context finds w: its residuals are the noise, and w . x is the target."""
    data = load_data("in_context:20")
    assert data.inputs == (("query", (5,)), ("context", (6, 1, 20))) and data.name == "in_context:20"
    assert data.sizes == {"train": 20_000, "val": 2000, "test": 2000} and data.target == "values"
    seen = set()
    for part in (data.train, data.val, data.open_test()):
        queries, contexts = (column.values.numpy() for column in part.images.columns)  # type: ignore[attr-defined]
        points, values = contexts[:2000, :5, 0], contexts[:2000, 5, 0]
        weights = np.einsum("ndl,nl->nd", np.linalg.pinv(points).mT, values)
        residuals = values - np.einsum("ndl,nd->nl", points, weights)
        assert (residuals**2).sum(1).mean() == pytest.approx((20 - 5) * NOISE_VARIANCE, rel=0.03)
        errors = (weights * queries[:2000]).sum(1) - part.labels[:2000, 0].numpy()
        # the mean trace of the inverse of a Wishart matrix is 5 / (20 - 5 - 1)
        assert (errors**2).mean() == pytest.approx(NOISE_VARIANCE * 5 / (20 - 5 - 1), rel=0.15)
        seen |= {query.tobytes() for query in queries}
    assert len(seen) == 24_000


@pytest.mark.parametrize("length", ["", "0", "1001", "-5", "2.5", "five", "\u00b2"])
def test_a_length_of_a_context_that_is_not_allowed_is_refused(length: str) -> None:
    with pytest.raises(DataError, match=rf"is '{length}'; allowed is an integer from 1 to 1000"):
        load_data(f"in_context:{length}")
