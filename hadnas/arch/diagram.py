"""An architecture as a drawing: a column per stage, a box per node coloured by family, its right edge by the merge."""

import json
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from typing import Any, NamedTuple

from hadnas.arch.families import family_of
from hadnas.arch.node import Arch
from hadnas.blocks.registry import op_of

COLOURS = {
    "hadamard": "#E69F00",
    "additive": "#56B4E9",
    "convolution": "#009E73",
    "attention": "#CC79A7",
    None: "#DDDDDD",
}
BOX_WIDTH, BOX_HEIGHT, BOX_GAP, MARGIN = 190, 46, 14, 12


class Box(NamedTuple):
    """A drawn node. `merge` is the family of the merge after it, None for the plain sum."""

    title: str
    small: str = ""
    family: str | None = None
    merge: str | None = None


def diagram(arch: Arch) -> str:
    """SVG text: stem, stages with their blocks from top to bottom, norm and head, from left to right."""
    unknown = [(arch.node["op"], [Box(arch.node["op"])])]  # for a host whose file was not run
    columns = unknown if arch.host is None else arch.host.columns(arch.node)
    rows = max(len(boxes) for _, boxes in columns)
    width = MARGIN + len(columns) * (BOX_WIDTH + BOX_GAP)
    height = 30 + rows * (BOX_HEIGHT + BOX_GAP) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" role="img">',
        f"<title>{escape(arch.fingerprint)}</title>",
    ]
    for column, (name, boxes) in enumerate(columns):
        left = MARGIN + column * (BOX_WIDTH + BOX_GAP)
        parts.append(f'<text x="{left}" y="18" font-size="13" font-weight="bold">{escape(name)}</text>')
        for row, box in enumerate(boxes):
            parts += _drawn(box, left, 30 + row * (BOX_HEIGHT + BOX_GAP), last=row == len(boxes) - 1)
    for place, (family, colour) in enumerate((f, c) for f, c in COLOURS.items() if f):
        left = MARGIN + place * 120
        parts.append(f'<rect x="{left}" y="{height - 22}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 17}" y="{height - 12}" font-size="11">{family}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(box: Box, left: int, top: int, *, last: bool) -> Iterator[str]:
    title, small = box.title, box.small
    yield f"<g><title>{escape(f'{title} {small}')}</title>"
    place = f'x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5"'
    yield f'<rect {place} fill="{COLOURS[box.family]}" stroke="#555"/>'
    if box.merge is not None:
        edge = f'x="{left + BOX_WIDTH - 12}" y="{top + 1}" width="11" height="{BOX_HEIGHT - 2}"'
        yield f'<rect {edge} fill="{COLOURS[box.merge]}"/>'
    yield f'<text x="{left + 8}" y="{top + 18}" font-size="12">{escape(title)}</text>'
    shown = small if len(small) <= 36 else small[:35] + "\u2026"
    yield f'<text x="{left + 8}" y="{top + 35}" font-size="9.5" fill="#222">{escape(shown)}</text></g>'
    if not last:
        middle = left + BOX_WIDTH // 2
        yield f'<path d="M{middle} {top + BOX_HEIGHT} v{BOX_GAP}" stroke="#555"/>'


def boxes(nodes: Iterable[dict[str, Any]]) -> list[Box]:
    """Nodes as boxes; a run of equal nodes is one box with their number."""
    drawn = []
    for _, run in groupby(nodes, key=lambda node: json.dumps(node, sort_keys=True)):
        same = list(run)
        box = _box(same[0])
        drawn.append(box if len(same) == 1 else box._replace(title=f"{len(same)} \u00d7 {box.title}"))
    return drawn


def _box(node: dict[str, Any]) -> Box:
    """A node as a box; a residual shows its block, and its merge unless that is the plain sum."""
    if node["op"] != "residual":
        return Box(node["op"], values_text(node), family_of(node))
    block, merge = node["block"], node["merge"]
    if merge["op"] == "add":
        return Box(block["op"], values_text(block), family_of(block))
    small = "; ".join(part for part in (f"joined by {merge['op']}", values_text(block)) if part)
    return Box(block["op"], small, family_of(block), family_of(merge))


def values_text(node: dict[str, Any]) -> str:
    """The values of a node that differ from the defaults, as `key value, ...`."""
    op = op_of(node)
    slots = op.slots if op else {}
    chosen = {k: v for k, v in node.items() if k in slots and not slots[k].roles and v != slots[k].default}
    return ", ".join(f"{key} {value}" for key, value in chosen.items())
