"""Image files with their labels, decoded into memory or streamed; all that cannot be used are found at once."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from hadnas.errors import DataError
from hadnas.train.data.decode import Header, decoded, decoder, headers, sides_text
from hadnas.train.data.images import HELD_BYTES, HeldImages, Images, StreamedImages

_LISTED = 20  # the most files that an error names
_TRIED = 8  # pixels: the size in which files of several sizes are decoded to find those that cannot be


def read_files(
    root: Path,
    parts: Mapping[str, tuple[Sequence[Path], Tensor]],
    size: int | None,
    skip_bad: bool,
    bad: Mapping[Path, str] | None = None,
) -> tuple[dict[str, Images], tuple[str, ...]]:
    """The images of every split, in memory if their pixels take at most HELD_BYTES, else streamed, and notes.

    parts: split -> files, and their labels (N, ...); no file occurs twice
    bad: files known to be unusable -> reason

    Raises DataError that lists the files that are not images or, if the images are in memory, cannot be decoded.
    `skip_bad` leaves these out; then streamed files are decoded once here to find them.
    """
    every = [path for files, _ in parts.values() for path in files]
    problems: dict[Path, str] = dict(bad or {})
    read: dict[Path, Header] = {}
    for path, head in zip(every, headers(every), strict=True):
        if isinstance(head, Header) and path not in problems:
            read[path] = head
        elif path not in problems:
            problems[path] = str(head)
    if not read:
        raise DataError(_listing(root, problems, len(every), skip_bad=True))
    first, other = next(iter(read)), None
    if size is None:
        other = next((path for path, head in read.items() if head.extent != read[first].extent), None)
    decode = decoder([*read.values()], size if other is None else _TRIED)
    held = len(read) * prod(decode.shape) <= HELD_BYTES
    pixels: dict[Path, Tensor] = {}
    if held or skip_bad:
        for path, image in zip(read, decoded([*read], decode), strict=True):
            if isinstance(image, DataError):
                problems[path] = str(image)
            elif held and other is None:
                pixels[path] = image
    wrong = [_listing(root, problems, len(every), skip_bad)] if problems and not skip_bad else []
    if other is not None:
        wrong.append(
            f"{other}: {sides_text(read[other].extent)} pixels, but {first} has {sides_text(read[first].extent)}; give "
            "`size` to resize them all, such as --size 64"
        )
    if wrong:
        raise DataError("\n".join(wrong))
    images: dict[str, Images] = {}
    for part, (files, labels) in parts.items():
        usable = [place for place, path in enumerate(files) if path not in problems]
        chosen = [files[place] for place in usable]
        if held and chosen:
            images[part] = HeldImages(torch.stack([pixels[path] for path in chosen]), labels[usable], chosen)
        elif chosen:
            images[part] = StreamedImages(chosen, labels[usable], decode.shape, decode, decode.rule)
        else:
            raise DataError(f"{root}: none of the {len(files):,} {part} images can be used")
    deep = sum(head.deep for path, head in read.items() if path not in problems)
    notes = [f"{deep:,} images of 16 bits are read by their upper 8 bits"] if deep else []
    if problems:
        path, reason = next(iter(problems.items()))
        named = f"{_short(path, root)}: {reason}{', ...' if len(problems) > 1 else ''}"
        notes.insert(0, f"{len(problems):,} of {len(every):,} images cannot be used and are left out: {named}")
    return images, tuple(notes)


def _listing(root: Path, problems: Mapping[Path, str], total: int, skip_bad: bool) -> str:
    """The problems of files, one a line; in one line if there is one."""
    without = "" if skip_bad else "; --skip-bad (`skip_bad`) goes on without"
    if len(problems) == 1:
        ((path, reason),) = problems.items()
        return f"{path}: {reason}{without and f'{without} it'}"
    lines = [f"{root}: {len(problems):,} of {total:,} images cannot be used{without and f'{without} them'}:"]
    lines += [f"  {_short(path, root)}: {reason}" for path, reason in [*problems.items()][:_LISTED]]
    return "\n".join(lines + ["  ..."] * (len(problems) > _LISTED))


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
