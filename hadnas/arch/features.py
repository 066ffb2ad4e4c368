"""Features of an architecture for a surrogate, from its data alone: counts, widths, path lengths, logarithms of costs.

Source: Kadlecova et al., "Surprisingly strong performance prediction with neural graph features", 2024,
    arXiv 2404.16551, section 3: operation counts and path lengths. Here counts are taken by stage and by family, too;
    degrees are left out, since the role of a node determines its number of inputs.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from hadnas.arch.families import family_of, has_role
from hadnas.arch.node import Arch, nodes


def features(arch: Arch, costs: Mapping[str, float]) -> dict[str, float]:
    """Numbers of an architecture by name; a missing name means 0. Equal fingerprints have equal features.

    ops.<op>               nodes of an op, merges included
    families.<family>      blocks of a family
    stages.<i>.<...>       of a stage: width, depth (blocks in sequence), ops.<op>, families.<family>
    path.longest           blocks in sequence from the image to the head
    path.shortest          of these, the blocks outside residual nodes
    log10.<cost>           log10(1 + cost) of each of `costs`
    """
    found = {**_counts(arch.node), "path.longest": _depth(arch.node), "path.shortest": len([*_bare(arch.node)])}
    for index, stage in enumerate(arch.stages):
        own = {"depth": _depth(stage), **_counts(stage)}
        if "dim" in stage:
            own["width"] = stage["dim"]
        found |= {f"stages.{index}.{name}": number for name, number in own.items()}
    found |= {f"log10.{name}": math.log10(1 + number) for name, number in costs.items()}
    return {name: float(number) for name, number in found.items()}


def _counts(part: Any) -> dict[str, float]:
    ops = Counter(f"ops.{node['op']}" for node in nodes(part))
    return {**ops, **Counter(f"families.{family_of(node)}" for node in nodes(part) if _is_block(node))}


def _depth(part: Any) -> float:
    return sum(map(_is_block, nodes(part)))


def _bare(part: Any) -> Iterator[dict[str, Any]]:
    """The blocks outside every residual node."""
    if isinstance(part, dict):
        if "op" in part and has_role(part, "residual"):
            return
        if "op" in part and _is_block(part):
            yield part
        for item in part.values():
            yield from _bare(item)
    elif isinstance(part, list):
        for item in part:
            yield from _bare(item)


def _is_block(node: dict[str, Any]) -> bool:
    """Whether it has a family: a sequence of blocks has none of its own."""
    return has_role(node, "block") and family_of(node) is not None
