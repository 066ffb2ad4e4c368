"""How often each family of interactions occurs in an architecture: in its blocks and, apart, in its merges.

A block computes what a merge then joins with the skip, so one residual node holds one of each, and they are never added
up. The family of a network is that of most of its blocks.
"""

from typing import Any

from hadnas.arch.node import Arch, nodes
from hadnas.blocks.registry import FAMILIES, op_of

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
    if (op := op_of(node)) is None:
        return None
    return "additive" if op.family == "hadamard" and op.multiplies(node) is False else op.family


def family_counts(arch: Arch) -> dict[str, int]:
    """Blocks of each family, in the order of FAMILIES.

    A network without blocks counts what its host says of its layers (see `Host.layers`). Empty where the host does
    not know them, and where no block is of an op that is known.
    """
    counts = _counts(arch.node, "block")
    if any(counts.values()):
        return counts
    if any(op_of(node) is None for node in nodes(arch.node)):
        return {}
    return dict(arch.host.layers(arch.node))


def merge_counts(arch: Arch) -> dict[str, int]:
    """Merges of each family, in the order of FAMILIES; `add`, the sum of every common residual, is an additive one.

    Empty for an architecture of one node, as those of timm's networks: their own are not known.
    """
    return _counts(arch.node, "merge") if len(arch.ops()) > 1 else {}


def stage_counts(arch: Arch) -> list[dict[str, int]]:
    """Of each stage its blocks by family and its merges by `<family> merge`; empty for a host without stages."""
    return [
        _counts(stage, "block") | {f"{family} merge": n for family, n in _counts(stage, "merge").items()}
        for stage in arch.stages
    ]


def _counts(part: Any, role: str) -> dict[str, int]:
    found = [family_of(node) for node in nodes(part) if has_role(node, role)]
    return {family: found.count(family) for family in FAMILIES}


def has_role(node: dict[str, Any], role: str) -> bool:
    """Whether the op of a node is known and may stand in a role."""
    return (op := op_of(node)) is not None and role in op.roles


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
