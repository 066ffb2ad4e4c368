"""The splits of a data set: their names, images drawn for one that the source lacks, and images that are in two."""

import hashlib
import warnings
from collections.abc import Sequence

import numpy as np

from hadnas.errors import DataError
from hadnas.train.data.images import Images

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Split -> its names in files, folders and tables, in lower case."""


def split_named(name: object) -> str | None:
    """The split with this name, "train", "val" or "test", in any case; None for another name."""
    text = str(name).strip().lower()
    return next((split for split, names in SPLITS.items() if text in names), None)


def check_groups(groups: np.ndarray, splits: np.ndarray, rows: Sequence[int], where: object) -> None:
    """Raise DataError if a group (N,) is in two splits (N,); `rows` are the numbers of the rows in messages."""
    seen: dict[str, tuple[str, int]] = {}
    for group, split, row in zip(groups, splits, rows, strict=True):
        other, first = seen.setdefault(group, (split, row))
        if other != split:
            raise DataError(
                f"{where}, row {row}: {group!r} is in {split}, but in {other} in row {first}; a group is in one split"
            )


def held_out(
    labels: np.ndarray,
    class_names: Sequence[str],
    part: str,
    fraction: float,
    *,
    groups: np.ndarray | None = None,
    seed: int,
    where: object,
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted places of the remaining and of the held-out images, every class in both.

    labels: int64 (N,), counting `class_names`; without class names, of any shape (N, ...), and the draw is at random
    groups: (N,), such as the patient of each image: no group is in both parts; with classes, the fraction is 1 / k for
        a whole k

    Raises DataError if a class has too few images, or is in too few groups.
    """
    places = np.arange(len(labels))
    if not class_names:
        return _at_random(places, groups, part, fraction, seed, where)
    counts = np.bincount(labels, minlength=len(class_names))
    if groups is None:
        smallest = int(counts.argmin())
        error = DataError(
            f"{where}: class {class_names[smallest]!r} has {counts[smallest]} images left, too few to hold out "
            f"{fraction:g} of every class for {part}; add images or change `{part}_fraction`"
        )
        found = _by_class(places, labels, fraction, seed) if counts[smallest] >= 2 else []
    else:
        spread = [len(np.unique(groups[labels == label])) for label in range(len(class_names))]
        fewest = int(np.argmin(spread))
        error = DataError(
            f"{where}: class {class_names[fewest]!r} is in {spread[fewest]} of {len(np.unique(groups))} groups "
            f"that are left, too few to hold out {fraction:g} of the groups for {part}, as every class must be "
            f"in both parts; add groups or change `{part}_fraction`"
        )
        found = _by_group(places, labels, groups, fraction, seed) if spread[fewest] >= 2 else []
    for rest, chosen in found:
        if min(len(np.unique(labels[rest])), len(np.unique(labels[chosen]))) == len(class_names):
            return np.sort(rest), np.sort(chosen)
    raise error


def _at_random(
    places: np.ndarray, groups: np.ndarray | None, part: str, fraction: float, seed: int, where: object
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    try:
        if groups is None:
            rest, chosen = train_test_split(places, test_size=fraction, random_state=seed)
        else:
            rest, chosen = next(GroupShuffleSplit(1, test_size=fraction, random_state=seed).split(places, None, groups))
    except ValueError:  # none would be left in one of the two parts
        items = f"{len(places)} images" if groups is None else f"{len(np.unique(groups))} groups"
        raise DataError(
            f"{where}: {items} are too few to hold out {fraction:g} of them for {part}; add some or change "
            f"`{part}_fraction`"
        ) from None
    return np.sort(rest), np.sort(chosen)


def _by_class(
    places: np.ndarray, labels: np.ndarray, fraction: float, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import train_test_split

    try:
        rest, chosen = train_test_split(places, test_size=fraction, stratify=labels, random_state=seed)
    except ValueError:  # fewer images in one of the two parts than classes
        return []
    return [(rest, chosen)]


def _by_group(
    places: np.ndarray, labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds of scikit-learn, that with the share of images closest to `fraction` first."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(max(2, round(1 / fraction)), len(np.unique(groups)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fewer images in a class than folds: checked by the caller
        found = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(places, labels, groups))
    return sorted(found, key=lambda pair: abs(len(pair[1]) / len(places) - fraction))


def repeated(parts: Sequence[tuple[str, Images, np.ndarray]]) -> str:
    """A sentence on images of a split that are also in an earlier one; empty if there are none.

    parts: name, images and their hashes, int64 (N,), of every split; only images of equal hashes are read and compared
    """
    counts, first = [], ""
    for place, (name, images, hashes) in enumerate(parts):
        suspects = np.flatnonzero(np.isin(hashes, np.concatenate([h for _, _, h in parts[:place]] or [hashes[:0]])))
        earlier = {
            _content(other, index): f"{other_name} image {str(other.names[index])!r}"
            for other_name, other, other_hashes in parts[:place]
            for index in np.flatnonzero(np.isin(other_hashes, hashes[suspects])).tolist()
        }
        same = [index for index in suspects.tolist() if _content(images, index) in earlier]
        if same:
            counts.append(f"{len(same):,} of {len(hashes):,} {name} images")
            pair = f"{name} image {str(images.names[same[0]])!r} is {earlier[_content(images, same[0])]}"
            first = first or pair
    if not counts:
        return ""
    return f"{' and '.join(counts)} are in an earlier split, too, so accuracy on them is too optimistic: {first}"


def _content(images: Images, place: int) -> bytes:
    return hashlib.sha256(images.content(place)).digest()
