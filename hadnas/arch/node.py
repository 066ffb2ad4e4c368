"""An architecture: plain, complete, canonical data and its fingerprint."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from hadnas.blocks.registry import op_of
from hadnas.errors import SpecError, at, cut
from hadnas.plain import from_json

FORMAT = 1
"""The version of the grammar that this hadnas writes; it reads this and every earlier version."""

BESIDE = ("format", "class_names")
"""Keys of an arch.json that are not part of the node: an export stores the class names there, too."""


@dataclass(frozen=True, repr=False)
class Arch:
    """A canonical node (see `complete`); equal fingerprints mean the same function for mapped weights.

    `node` must not be changed, as the fingerprint is computed once: `complete` makes another architecture of a copy.
    """

    node: dict[str, Any]

    @cached_property
    def json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps({"format": FORMAT, **self.node}, sort_keys=True, separators=(",", ":"))

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:16]

    @property
    def host(self) -> Any:
        """The `hadnas.hosts.host.Host` of its op; None if the file that defines the op was not run."""
        op = op_of(self.node)
        return None if op is None else op.host

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Its stages in order, each with its `blocks`; none for an unknown host or a host without stages."""
        return [] if self.host is None else list(self.host.stages(self.node))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def ops(self) -> list[str]:
        """The op of every node, in the order of the tree, with repetition."""
        return [node["op"] for node in nodes(self.node)]

    def tree(self) -> str:
        """The architecture as an indented tree for people; a run of equal nodes is one entry with its indices."""
        return "\n".join(_lines(self.node, ""))

    def __repr__(self) -> str:
        stages = f", {len(self.stages)} stages" if self.stages else ""
        return f"Arch({self.fingerprint}: {self.node['op']}{stages}, {len(self.ops())} nodes)"

    def __str__(self) -> str:
        return self.tree()


def stored_arch(text: str, fingerprint: str) -> Arch:
    """The architecture that `Arch.json` wrote; its ops need not be known here.

    Raises SpecError if the text does not match the fingerprint it was stored under, or is of a later format.
    """
    with at(f"architecture {fingerprint}"):
        if not isinstance(text, str) or hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16] != fingerprint:
            raise SpecError("its text is damaged: it does not match its fingerprint")
        node = unversioned(from_json(text))
        if not all(isinstance(inner.get("op"), str) for inner in (node, *nodes(node))):
            raise SpecError("its text is not an architecture")
    return Arch(in_order(node))


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


def unversioned(draw: Any) -> dict[str, Any]:
    """A node without the keys in BESIDE. Raises SpecError for a value that is not a node, or of a later format."""
    if not isinstance(draw, dict):
        raise SpecError(f"found {cut(draw)}; allowed is a node {{'op': name, ...}}")
    version = draw.get("format", FORMAT)
    if type(version) is not int or version < 1:
        raise SpecError(f"format = {cut(version)} is not allowed; allowed is an integer from 1 to {FORMAT}")
    if version > FORMAT:
        raise SpecError(f"format {version} is later than {FORMAT}, the latest this hadnas reads; upgrade hadnas")
    return {key: value for key, value in draw.items() if key not in BESIDE}


def in_order(value: Any) -> Any:
    """`value` with the keys of every node in the order of its op's constructor; canonical JSON sorts them by name."""
    if isinstance(value, list):
        return [in_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    op = op_of(value)
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
