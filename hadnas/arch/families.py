"""How often each family of interactions occurs in an architecture: in its blocks and, apart, in its merges.

A block computes what a merge then joins with the skip, so one residual node holds one of each, and they are never added
up. The family of a network is that of most of its blocks.
"""

from functools import cache
from typing import Any

import timm
from torch import nn

from hadnas.arch.node import Arch, nodes
from hadnas.blocks.registry import FAMILIES, ops

LEGEND = (
    "H hadamard, A additive, C convolution, T attention: blocks, and apart merges; a network without blocks counts its "
    "convolutions; -: not known"
)
"""What `families_text` shows, for below a table."""

MIXED = "mixed"


def family_of(node: dict[str, Any]) -> str | None:
    """The family of a node: that of its op, but additive where a Hadamard op is its additive twin.

    None of an op without a family, and of a user-defined one whose file was not read.
    """
    if (op := ops().get(node["op"])) is None:
        return None
    return "additive" if op.family == "hadamard" and op.multiplies(node) is False else op.family


def family_counts(arch: Arch) -> dict[str, int]:
    """Blocks of each family, in the order of FAMILIES.

    A network without blocks counts its convolutions: a pyramid its stem and the steps between stages, one of timm its
    convolution layers and nothing else. Empty for one of timm with linear layers before its classifier, as these may be
    of any family, and where no block is of an op that is known.
    """
    counts = _counts(arch.node, "block")
    if any(counts.values()):
        return counts
    if any(node["op"] not in ops() for node in nodes(arch.node)):
        return {}
    if "stages" in arch.node:
        return counts | {"convolution": sum(_is(node, "stem") or _is(node, "down") for node in nodes(arch.node))}
    layers = _convolutions(arch.node["model"]) if arch.node["op"] == "timm" else None
    return {} if layers is None else {"convolution": layers}


def merge_counts(arch: Arch) -> dict[str, int]:
    """Merges of each family, in the order of FAMILIES; `add`, the sum of every common residual, is an additive one.

    Empty for a network of timm, whose own are not known.
    """
    return _counts(arch.node, "merge") if "stages" in arch.node else {}


def stage_counts(arch: Arch) -> list[dict[str, int]]:
    """Of each stage its blocks by family and its merges by `<family> merge`; empty for a host without stages."""
    return [
        _counts(stage, "block") | {f"{family} merge": n for family, n in _counts(stage, "merge").items()}
        for stage in arch.node.get("stages", [])
    ]


def _counts(part: Any, role: str) -> dict[str, int]:
    found = [family_of(node) for node in nodes(part) if _is(node, role)]
    return {family: found.count(family) for family in FAMILIES}


def _is(node: dict[str, Any], role: str) -> bool:
    return (op := ops().get(node["op"])) is not None and role in op.roles


@cache
def _convolutions(model: str) -> int | None:
    """Convolution layers of a timm network; None where it has linear ones before its classifier, or is not built."""
    if not timm.is_model(model):
        return None
    try:
        network = timm.create_model(model, num_classes=0, device="meta")
    except Exception:  # whatever a constructor of timm raises: it is refused where it is measured, with the reason
        return None
    layers = list(network.modules())
    return None if any(isinstance(m, nn.Linear) for m in layers) else sum(isinstance(m, nn.Conv2d) for m in layers)


def families_text(counts: dict[str, int]) -> str:
    """The counts in short: `H3 A1 C2 T0` for hadamard, additive, convolution and attention (T); `-` without any."""
    letters = dict(zip(FAMILIES, "HACT", strict=True))
    return " ".join(f"{letters[family]}{count}" for family, count in counts.items()) or "-"


def families_texts(arch: Arch | None) -> tuple[str, str]:
    """Blocks and merges of an architecture in short, as columns of a table; empty without one."""
    return ("", "") if arch is None else (families_text(family_counts(arch)), families_text(merge_counts(arch)))


def main_family(counts: dict[str, int]) -> str | None:
    """The family that is counted most often, MIXED where another is as often; None where nothing is counted."""
    most = max(counts.values(), default=0)
    first = [family for family, count in counts.items() if count == most]
    return None if not most else first[0] if len(first) == 1 else MIXED
