"""What the networks of the finals lose under stress: noise, attacks and pruning, on the test split."""

from dataclasses import dataclass

from hadnas.measure.figures import TABLE, metric_words
from hadnas.measure.metrics.metric import METRICS
from hadnas.results.finals.finals import difference_text, interval_text, read_finals, split_scores
from hadnas.results.plots import plot_strengths
from hadnas.results.sections import Section
from hadnas.results.statistics import Estimate
from hadnas.results.table import StudyResults
from hadnas.store.trials import Kind, final_entries
from hadnas.train.stress.stress import STRESSES, Stress, find_stress

EXPLAINED = (
    "lost: by how much it is worse than without the stress, paired by seed and image; parameters that are 0 do not "
    "count; fgsm and pgd attack each network by its own gradients; p-values are not corrected for the number of "
    "comparisons"
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


def stress_section(results: StudyResults) -> Section:
    """The finals under stress, as a section of the report; without any, the command that scores them."""
    section, found = Section("stress", "Finals under stress: noise, attacks, pruning"), read_stressed(results)
    if not found:
        section.text(f"Not run yet: hadnas finals {results.name} --under noise:0.1 --under weights:0.5")
        return section
    metric, series = found[0].metric, dict[str, dict[str, list[tuple[float, float, float, float]]]]()
    unstressed = {final.name: final.estimate for final in read_finals(results)}
    for one in found:
        kind, _, strength = one.stress.partition(":")
        whole = unstressed[one.name]
        assert whole is not None
        first = [(0.0, whole.mean, whole.low, whole.high)]
        points = series.setdefault(kind, {}).setdefault(one.name, first)
        points.append((float(strength), one.estimate.mean, one.estimate.low, one.estimate.high))
    for lines in series.values():
        for points in lines.values():
            points.sort()
    section.figure(plot_strengths(series, f"test {metric_words(metric)} (95 % interval)"), "stress", wide=True)
    sizes = (TABLE["params"], TABLE["macs"])
    columns = ["stress", "network", *(figure.label for figure in sizes), f"test/{metric}", "95 % interval", "lost"]
    rows = [[one.stress, one.name, *(figure.text(figure.of(one)) for figure in sizes), *one.texts] for one in found]
    section.table([*columns, "the finalist is ahead by"], rows, {2, 3, 4})
    section.text(f"{EXPLAINED[0].upper()}{EXPLAINED[1:]}.", note=True)
    return section


def read_stressed(results: StudyResults) -> list[Stressed]:
    """The latest finals under stress, by kind and strength, then by network.

    Raises StudyError if a score is missing or damaged.
    """
    entries = [entry for entry in final_entries(results.book) if entry.stressed and entry.reason is None]
    plain = {entry.name: split_scores(results, entry) for entry in entries}
    out = []
    for stress in sorted({find_stress(stress) for entry in entries for stress in entry.stressed}, key=_order):
        text = str(stress)
        under = {entry.name: split_scores(results, entry, text) for entry in entries if text in entry.stressed}
        for entry in entries:
            if (scores := under.get(entry.name)) is None:
                continue
            finalist = under.get(entry.against) if entry.against is not None else None
            out.append(
                Stressed(
                    name=entry.name,
                    kind=entry.kind,
                    against=entry.against,
                    stress=text,
                    **entry.stressed[text],
                    metric=scores.metric.name,
                    estimate=scores.estimate(),
                    lost=plain[entry.name].lead(scores),
                    lead=None if finalist is None else finalist.lead(scores),
                )
            )
    return out


def _order(stress: Stress) -> tuple[int, float]:
    return STRESSES.index(stress.kind), stress.strength
