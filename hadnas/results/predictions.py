"""What a network predicts, as tables and drawings: recall and confusion of classes, labels one by one, values."""

from collections.abc import Sequence
from html import escape

import numpy as np

from hadnas.errors import printable
from hadnas.measure.front import Array
from hadnas.measure.metrics.metric import METRICS
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.store.home import score_of
from hadnas.train.data.images import evenly_spaced
from hadnas.train.score import Score, load_score

SHOWN_CLASSES = 30
"""The most classes in a drawing: those of the lowest recall."""

SHOWN_IMAGES = 2000
"""The most images in a drawing of values, evenly spaced."""

_BLUE, _GREY = (0, 114, 178), "#888888"


def score_in(results: StudyResults, found: Found) -> Score | None:
    """What a trained network predicts on the validation split; None if it was trained before this was stored."""
    training = results.training(found)
    place = None if training is None else score_of(training, results.home, "val")
    return load_score(place) if place is not None and place.exists() else None


def metrics_text(score: Score) -> str:
    """All metrics of a score, as "accuracy 0.9000, log loss 0.4"."""
    return ", ".join(f"{name.replace('_', ' ')} {METRICS[name].text(one)}" for name, one in score.metrics.items())


def worst_first(score: Score, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table of classes or labels by their recall, the lowest first; of values no rows."""
    tables = prediction_rows(score, names)
    found = tables.get("recall") or tables.get("labels") or []
    found = sorted(found, key=lambda row: row["recall"] if isinstance(row["recall"], float) else 2.0)
    rows = [[f"{one:.4f}" if isinstance(one, float) else str(one) for one in row.values()] for row in found]
    return [*found[0]] if found else [], rows


def confusion(score: Score) -> Array:
    """The number of images of each true class (row) that are predicted as each class (column): (N, N)."""
    count = score.outputs.shape[1]
    pairs = score.targets.numpy() * count + score.predicted.argmax(1)
    return np.bincount(pairs, minlength=count**2).reshape(count, count).astype(np.float64)


def prediction_rows(score: Score, names: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    """Tables by name, as rows: recall and confusion of classes, precision and recall of labels, values of images."""
    names = _named(score, names)
    if score.target == "classes":
        counts = confusion(score)
        sizes = counts.sum(1)
        recall: list[dict[str, object]] = [
            {"class": name, "images": int(sizes[k]), "recall": _share(counts[k, k], sizes[k])}
            for k, name in enumerate(names)
        ]
        pairs: list[dict[str, object]] = [
            {"true": names[row], "predicted": names[column], "images": int(counts[row, column])}
            for row, column in np.argwhere(counts > 0).tolist()
        ]
        return {"recall": recall, "confusion": pairs}
    if score.target == "labels":
        chosen, truth = score.predicted > 0.5, score.targets.numpy() > 0
        hits = (chosen & truth).sum(0)
        each: list[dict[str, object]] = [
            {
                "label": name,
                "images": int(truth[:, k].sum()),
                "recall": _share(hits[k], truth[:, k].sum()),
                "precision": _share(hits[k], chosen[:, k].sum()),
            }
            for k, name in enumerate(names)
        ]
        return {"labels": each}
    table: list[dict[str, object]] = []
    for truth, found in zip(score.targets.tolist(), score.predicted.tolist(), strict=True):
        row: dict[str, object] = {f"true {name}": one for name, one in zip(names, truth, strict=True)}
        table.append(row | {f"predicted {name}": one for name, one in zip(names, found, strict=True)})
    return {"values": table}


def _named(score: Score, names: Sequence[str]) -> Sequence[str]:
    """The names, or numbers for an early study, which stored none."""
    return names or [str(place) for place in range(score.outputs.shape[1])]


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def draw_predictions(score: Score, names: Sequence[str]) -> str:
    """SVG text: the confusion matrix of classes, predicted against true values; "" for labels, which have a table."""
    names = _named(score, names)
    if score.target == "classes":
        return _draw_confusion(confusion(score), names)
    return _draw_values(score, names) if score.target == "values" else ""


def _draw_confusion(counts: Array, names: Sequence[str]) -> str:
    """A cell is darker the larger its share of the true class; the last column is the recall."""
    sizes = counts.sum(1)
    recall = np.divide(np.diag(counts), sizes, out=np.ones(len(counts)), where=sizes > 0)
    places = np.sort(np.argsort(recall, kind="stable")[:SHOWN_CLASSES]).tolist()
    side, left, top = 30, 150, 110
    width, height = left + side * (len(places) + 2) + 40, top + side * len(places) + 40
    parts = []
    for y, row in enumerate(places):
        middle = top + side * y + side / 2 + 4
        parts.append(_text(left - 8, middle, _short(names[row]), "end"))
        for x, column in enumerate(places):
            share = counts[row, column] / sizes[row] if sizes[row] else 0.0
            cell = f"{names[row]} predicted as {names[column]}: {counts[row, column]:.0f} of {sizes[row]:.0f}"
            box = f'x="{left + side * x}" y="{top + side * y}" width="{side - 1}" height="{side - 1}"'
            parts.append(f'<g><title>{_escaped(cell)}</title><rect {box} fill="{_shade(share)}"/>')
            if counts[row, column]:
                fill = "#fff" if share > 0.5 else "#000"
                parts.append(_text(left + side * (x + 0.5) - 0.5, middle, f"{counts[row, column]:.0f}", "middle", fill))
            parts.append("</g>")
        parts.append(_text(left + side * (len(places) + 1.2), middle, f"{recall[row]:.2f}", "middle"))
    for x, column in enumerate(places):
        at = f"translate({left + side * (x + 0.5) + 3:g} {top - 8}) rotate(-60)"
        parts.append(f'<g transform="{at}">{_text(0, 0, _short(names[column]), "start")}</g>')
    parts.append(_text(left + side * (len(places) + 1.2), top - 8, "recall", "middle"))
    parts.append(_text(left - 8, top - 8, "true \u2193  predicted \u2192", "end"))
    if len(places) < len(counts):
        left_out = f"the {len(places)} of {len(counts)} classes with the lowest recall"
        parts.append(_text(left, height - 14, left_out, "start"))
    return _svg(width, height, parts)


def _draw_values(score: Score, names: Sequence[str]) -> str:
    """A panel for each value: a point per image, and the line on which both are equal."""
    some = evenly_spaced(SHOWN_IMAGES, score.n).numpy()
    side, left, top, gap = 260, 70, 34, 90
    parts: list[str] = []
    for k, name in enumerate(names):
        truth, found = score.targets.numpy()[some, k].astype(np.float64), score.predicted[some, k]
        low, high = float(min(truth.min(), found.min())), float(max(truth.max(), found.max()))
        span = (high - low) or 1.0
        x0 = left + k * (side + gap)
        parts.append(_text(x0 + side / 2, 20, _short(name), "middle"))
        parts.append(f'<rect x="{x0}" y="{top}" width="{side}" height="{side}" fill="none" stroke="{_GREY}"/>')
        parts.append(f'<path d="M{x0} {top + side} L{x0 + side} {top}" stroke="{_GREY}" stroke-dasharray="3 3"/>')
        for x, y in zip((truth - low) / span * side, (found - low) / span * side, strict=True):
            parts.append(
                f'<circle cx="{x0 + x:.1f}" cy="{top + side - y:.1f}" r="2.2" fill="rgb{_BLUE}" opacity="0.5"/>'
            )
        for end, value in ((0, low), (side, high)):
            parts.append(_text(x0 + end, top + side + 16, f"{value:.4g}", "middle"))
            parts.append(_text(x0 - 5, top + side - end + 4, f"{value:.4g}", "end"))
        parts.append(_text(x0 + side / 2, top + side + 16, "true", "middle"))
        at = f"translate({x0 - 12} {top + side / 2:g}) rotate(-90)"
        parts.append(f'<g transform="{at}">{_text(0, 0, "predicted", "middle")}</g>')
    return _svg(left + len(names) * (side + gap) - 40, top + side + 30, parts)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" font-family="sans-serif"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {head} role="img">', *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str, fill: str = "#000") -> str:
    place = f'x="{x:g}" y="{y:g}" font-size="11" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {place}>{_escaped(text)}</text>"


def _shade(share: float) -> str:
    """White for 0, blue for 1."""
    return f"rgb({', '.join(str(round(255 + (one - 255) * share)) for one in _BLUE)})"


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}\u2026"


def _escaped(text: str) -> str:
    return escape(printable(text))
