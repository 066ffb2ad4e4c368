"""What the networks of the finals lose under stress: noise, attacks and pruning, on the test split."""

from dataclasses import dataclass

from hadnas.measure.metrics.metric import METRICS
from hadnas.results.finals.finals import difference_text, interval_text, split_scores
from hadnas.results.statistics import Estimate
from hadnas.results.table import StudyResults
from hadnas.store.trials import Kind, final_entries

EXPLAINED = (
    "lost: by how much it is worse than without the stress, paired by seed and image; params are those that are not 0; "
    "fgsm and pgd attack each network by its own gradients"
)


@dataclass(frozen=True)
class Stressed:
    """One network of the finals under one stress.

    stress: its kind and strength, as "noise:0.1"
    params, macs: the parameters that are not 0, and the MACs
    estimate: of the study's metric on the test split, over the seeds
    lost: by how much the metric is worse than without the stress, paired by seed and image
    lead: by how much the finalist `against` is better under the same stress
    """

    name: str
    kind: Kind
    against: str | None
    stress: str
    params: int
    macs: int
    metric: str
    estimate: Estimate
    lost: Estimate
    lead: Estimate | None

    @property
    def texts(self) -> list[str]:
        """The metric, its interval, what it lost and the lead of the finalist, in words."""
        metric = METRICS[self.metric]
        differences = [difference_text(metric, found) for found in (self.lost, self.lead)]
        return [metric.text(self.estimate.mean), interval_text(metric, self.estimate), *differences]


def read_stressed(results: StudyResults) -> list[Stressed]:
    """The latest finals under stress, by stress in the order of their request, then by network.

    Raises StudyError if a score is missing or damaged.
    """
    entries = [entry for entry in final_entries(results.book) if entry.stressed and entry.reason is None]
    plain = {entry.name: split_scores(results, entry) for entry in entries}
    out = []
    for stress in dict.fromkeys(stress for entry in entries for stress in entry.stressed):
        under = {entry.name: split_scores(results, entry, stress) for entry in entries if stress in entry.stressed}
        for entry in entries:
            if (scores := under.get(entry.name)) is None:
                continue
            finalist = under.get(entry.against) if entry.against is not None else None
            out.append(
                Stressed(
                    name=entry.name,
                    kind=entry.kind,
                    against=entry.against,
                    stress=stress,
                    **entry.stressed[stress],
                    metric=scores.metric.name,
                    estimate=scores.estimate(),
                    lost=plain[entry.name].lead(scores),
                    lead=None if finalist is None else finalist.lead(scores),
                )
            )
    return out
