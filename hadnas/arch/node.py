"""An architecture: plain, complete, canonical data and its fingerprint."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hadnas.blocks.registry import ops
from hadnas.errors import SpecError, at
from hadnas.plain import from_json

FORMAT = 1
"""The version of the grammar that this hadnas writes; it reads this and every earlier one."""


@dataclass(frozen=True)
class Arch:
    """A canonical node (see `complete`); equal fingerprints mean the same function for mapped weights."""

    node: dict[str, Any]

    @property
    def json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps({"format": FORMAT, **self.node}, sort_keys=True, separators=(",", ":"))

    @property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def ops(self) -> list[str]:
        """The op of every node, in the order of the tree, with repetition."""
        return [node["op"] for node in nodes(self.node)]

    def tree(self) -> str:
        """The architecture as an indented tree for people; runs of equal nodes are written once with a count."""
        return "\n".join(_lines(self.node, ""))

    def __str__(self) -> str:
        return self.tree()


def stored_arch(text: str, fingerprint: str) -> Arch:
    """The architecture that `Arch.json` wrote, also of ops that are not known here.

    Raises SpecError where the text is not what was written, by the fingerprint that it was kept under.
    """
    with at(f"architecture {fingerprint}"):
        if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest()[:16] != fingerprint:
            raise SpecError("its text is damaged: it has another fingerprint")
        node = from_json(text)
        if not isinstance(node, dict) or not all(isinstance(inner.get("op"), str) for inner in (node, *nodes(node))):
            raise SpecError("its text is no architecture")
    return Arch(in_order({key: value for key, value in node.items() if key != "format"}))


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every node inside `value`, parents first."""
    if isinstance(value, dict):
        if "op" in value:
            yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def in_order(value: Any) -> Any:
    """`value` with the keys of every node in the order of its op's constructor, as canonical JSON has them sorted."""
    if isinstance(value, list):
        return [in_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    op = ops().get(value.get("op", ""))
    names = ("op", "dim", *(op.slots if op else ("down", "blocks")))
    return {name: in_order(value[name]) for name in dict.fromkeys((*names, *value)) if name in value}


def _lines(node: dict[str, Any], label: str) -> Iterator[str]:
    values = [f"{k}={v}" for k, v in node.items() if k not in ("op", "format") and not _holds_nodes(v)]
    yield " ".join([f"{label}{node.get('op', '')}".strip(), *values])
    for key, value in node.items():
        if isinstance(value, dict):
            yield from ("  " + line for line in _lines(value, f"{key}: "))
        elif _holds_nodes(value):
            index = 0
            for _, run in groupby(value, key=lambda item: json.dumps(item, sort_keys=True)):
                same = list(run)
                count = f"{index}" if len(same) == 1 else f"{index}-{index + len(same) - 1}"
                yield from ("  " + line for line in _lines(same[0], f"{key}.{count}: "))
                index += len(same)


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
