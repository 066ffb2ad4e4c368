"""How often each family of interactions occurs in an architecture."""

from typing import Any

from hadnas.blocks.registry import FAMILIES, ops
from hadnas.models.arch import Arch, nodes


def family_counts(arch: Arch) -> dict[str, int]:
    """Blocks and merges of each family, in the order of FAMILIES; the plain sum of a residual is not counted.

    An op of the Hadamard family counts as additive where it does not multiply: where it is its additive twin.
    """
    return _counts(arch.node)


def stage_counts(arch: Arch) -> list[dict[str, int]]:
    """`family_counts` of each stage; empty for a host without stages."""
    return [_counts(stage) for stage in arch.node.get("stages", [])]


def _counts(part: Any) -> dict[str, int]:
    counts: dict[str, int] = dict.fromkeys(FAMILIES, 0)
    known = ops()
    for node in nodes(part):
        op = known.get(node["op"])  # None of a user's block whose file was not named
        if op is not None and op.family is not None and op.name != "add":
            summed = op.family == "hadamard" and op.multiplies(node) is False
            counts["additive" if summed else op.family] += 1
    return counts


def families_text(counts: dict[str, int]) -> str:
    """The counts in short: `H3 A1 C2 T0` for hadamard, additive, convolution and attention (T)."""
    return " ".join(f"{letter}{counts[family]}" for letter, family in zip("HACT", FAMILIES, strict=True))


def main_family(counts: dict[str, int]) -> str | None:
    """The family with the most blocks, the first of equals; None where there is none."""
    family = max(counts, key=lambda name: counts[name])
    return family if counts[family] else None
