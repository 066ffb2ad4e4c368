"""Images that are in two splits of one data set, which make an accuracy too optimistic."""

import hashlib
from collections.abc import Sequence

import numpy as np

from hadnas.train.data.images import Images


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
