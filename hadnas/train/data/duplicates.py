"""Images that lie in two splits of one data set, of which an accuracy says too much."""

import hashlib
from collections.abc import Sequence

import numpy as np

from hadnas.train.data.images import Images


def repeated(parts: Sequence[tuple[str, Images, np.ndarray]]) -> str:
    """A sentence on images of a split that an earlier one has, too; empty if there are none.

    parts: name, images and the hashes of these, int64 (N,), of every split; equal hashes are followed by a look at the
    images, and only these are read
    """
    counts, first = [], ""
    for place, (name, images, hashes) in enumerate(parts):
        alike = np.flatnonzero(np.isin(hashes, np.concatenate([h for _, _, h in parts[:place]] or [hashes[:0]])))
        before = {
            _content(other, index): f"{other_name} image {str(other.names[index])!r}"
            for other_name, other, other_hashes in parts[:place]
            for index in np.flatnonzero(np.isin(other_hashes, hashes[alike])).tolist()
        }
        same = [index for index in alike.tolist() if _content(images, index) in before]
        if same:
            counts.append(f"{len(same):,} of {len(hashes):,} {name} images")
            pair = f"{name} image {str(images.names[same[0]])!r} is {before[_content(images, same[0])]}"
            first = first or pair
    if not counts:
        return ""
    return f"{' and '.join(counts)} are in an earlier split, too, so accuracy on them says too much: {first}"


def _content(images: Images, place: int) -> bytes:
    return hashlib.sha256(images.content(place)).digest()
