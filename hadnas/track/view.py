"""The view of a study in MLflow's UI: runs sorted by the metric, its columns, and two charts side by side.

MLflow stores a shared view as JSON in a tag of the experiment; `viewStateShareKey` in the address names it. The format
is undocumented (taken from the bundle of MLflow 3.17): a UI that does not know it shows its default view, and nothing
else is lost. With a search facet in the address, too, the UI ignores the shared view.
MLflow draws a chart for every metric; these are in sections that are closed at first.
The UI reads a hundred runs at a time: table and charts show the best hundred, "Load more" adds the next.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hadnas.track.keys import KIND, SHARED_VIEW

if TYPE_CHECKING:  # the address needs no import of MLflow
    from hadnas.track.runs import Tracker

KEY = "hadnas"

AXES = 4
"""The most axes of the parallel coordinates: with five, their heads overlap beside MLflow's assistant."""

CLOSED = ("Model metrics", "train", "val", "test")
"""MLflow's names of the sections of its own charts: the part of a metric before its slash, or the first."""

FRONT_PAGE = (
    "From MLflow's own front page, experiments open in its GenAI mode, which shows no runs: follow the link in the "
    "description there, or choose 'Model training' at the top left."
)
"""What no tag or address of MLflow 3.17 changes: the mode is a setting of the browser."""


def set_view(
    tracker: "Tracker",
    metrics: Sequence[str],
    columns: Sequence[str] = (),
    axes: Sequence[str] = (),
    tags: Sequence[str] = (),
    *,
    title: str = "",
    lowest_first: bool = False,
) -> None:
    """Store the view with the experiment.

    metrics:  metrics shown in the table, two at least: runs are sorted by the first, the highest on top unless
              `lowest_first`, and drawn over the second; as many as there is room are in the parallel coordinates
    columns:  run parameters shown in the table beside the metrics
    axes:     run parameters drawn in the parallel coordinates before the metrics; only runs that have all of them
              are drawn, so name what every run has
    tags:     tags shown in the table after the metrics
    title:    above the charts, about 25 characters; by default it names the first metric
    """
    best, cost, *_ = metrics
    figures = [f"metrics.`{metric}`" for metric in metrics]
    words = [f"params.`{column}`" for column in columns]
    marks = [f"tags.`{tag}`" for tag in tags]
    section = "hadnas-front"
    common = {"deleted": False, "isGenerated": False, "metricSectionId": section}
    state = {
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": lowest_first,
        # The parent run has no figures of its own; it stays reachable from any of its trials.
        "searchFilter": f"tags.`{KIND}` != 'study'",
        "selectedColumns": ["attributes.`Run Name`", *figures, *marks, *words],
        "columnOrder": [*figures, *marks, *words],  # by name otherwise
        "columnWidths": {**dict.fromkeys(figures, 110), **dict.fromkeys(words, 260)},
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # else MLflow sorts its own chart sections before this one
        "compareRunCharts": [
            {
                **common,
                "uuid": "hadnas-scatter",
                "type": "SCATTER",
                "runsCountToCompare": 1000,
                "xaxis": {"type": "METRIC", "key": cost},
                "yaxis": {"type": "METRIC", "key": best},
            },
            {
                **common,
                "uuid": "hadnas-parallel",
                "type": "PARALLEL",
                "runsCountToCompare": 1000,
                "selectedParams": list(axes),
                "selectedMetrics": [*metrics[1 : AXES - len(axes)], best],
                "showAllRuns": True,
            },
        ],
        "compareRunSections": [
            {
                "uuid": section,
                "name": title or f"What {best.partition('/')[2].replace('_', ' ')} costs",
                "display": True,
                "isReordered": False,
                "columns": 2,
                "cardHeight": 420,
            },
            *({"uuid": f"hadnas-{name}", "name": name, "display": False, "isReordered": False} for name in CLOSED),
        ],
    }
    tracker.client.set_experiment_tag(tracker.experiment_id, f"{SHARED_VIEW}.{KEY}", json.dumps(state))


def view_path(experiment_id: str) -> str:
    """The address of the view, relative to that of the server: charts beside the list of runs."""
    return (
        f"#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&viewStateShareKey={KEY}&compareRunsMode=CHART"
    )
