"""Counts of each family of interactions in an architecture: of its blocks and, separately, of its merges.

A residual node has one block and one merge, which joins the block's output with the skip; the two counts are never
added. The family of a network is that of most of its blocks.
"""

from typing import Any

from hadnas.arch.node import Arch, nodes
from hadnas.blocks.registry import FAMILIES, op_of

LEGEND = (
    "H hadamard, A additive, C convolution, T attention: blocks and, separately, merges; a network without blocks "
    "counts its convolutions; -: not known"
)
"""Explains `families_text` below a table."""

MIXED = "mixed"


def family_of(node: dict[str, Any]) -> str | None:
    """The family of a node: that of its op, but additive if a Hadamard op is its additive twin.

    None for an op without a family, and for a user-defined op whose file was not run.
    """
    if (op := op_of(node)) is None:
        return None
    return "additive" if op.family == "hadamard" and op.multiplies(node) is False else op.family


def family_counts(arch: Arch) -> dict[str, int]:
    """Blocks, layers of maps with holes, fusions and grafts of each family, in the order of FAMILIES.

    An identity, as of a dropped block, is of none.

    A network without blocks counts its host's layers (see `Host.layers`). Empty if the host does not know them, or if
    an op is not known: the counts without its blocks would give the network another family.
    """
    if not _known(arch.node):
        return {}
    counts = _counts(arch.node, "block", "masked", "fusion", "graft")
    return counts if any(counts.values()) else dict(arch.host.layers(arch.node))


def merge_counts(arch: Arch) -> dict[str, int]:
    """Merges of each family, in the order of FAMILIES; `add`, the sum of every common residual, is an additive one.

    Empty for a network without stages and merges, such as one of timm, with grafts or not, whose merges are not known.
    """
    found = _counts(arch.node, "merge")
    return found if arch.stages or any(found.values()) else {}


def stage_counts(arch: Arch) -> list[dict[str, int]]:
    """The blocks of each stage by family, its merges by `<family> merge`; empty for a host without stages.

    A stage with an op that is not known has no counts.
    """
    return [
        _counts(stage, "block", "masked") | {f"{family} merge": n for family, n in _counts(stage, "merge").items()}
        if _known(stage)
        else {}
        for stage in arch.stages
    ]


def _known(part: Any) -> bool:
    return all(op_of(node) is not None for node in nodes(part))


def _counts(part: Any, *roles: str) -> dict[str, int]:
    counted = (node for node in nodes(part) if node["op"] != "identity" and any(has_role(node, r) for r in roles))
    found = [family_of(node) for node in counted]
    return {family: found.count(family) for family in FAMILIES}


def has_role(node: dict[str, Any], role: str) -> bool:
    """Whether the op of a node is known and allowed in a role."""
    return (op := op_of(node)) is not None and role in op.roles


def families_text(counts: dict[str, int]) -> str:
    """The counts as `H3 A1 C2 T0` for hadamard, additive, convolution and attention (T); `-` if there are none."""
    letters = dict(zip(FAMILIES, "HACT", strict=True))
    return " ".join(f"{letters[family]}{count}" for family, count in counts.items()) or "-"


def families_texts(arch: Arch | None) -> tuple[str, str]:
    """The counts of blocks and of merges as text, for two columns of a table; empty texts without an architecture."""
    return ("", "") if arch is None else (families_text(family_counts(arch)), families_text(merge_counts(arch)))


def main_family(counts: dict[str, int]) -> str | None:
    """The most frequent family, MIXED if two tie, None if nothing is counted."""
    most = max(counts.values(), default=0)
    first = [family for family, count in counts.items() if count == most]
    return None if not most else first[0] if len(first) == 1 else MIXED
