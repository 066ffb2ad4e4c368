"""The finals of a study: the metric of each network on the test split, and the leads of the finalists."""

from dataclasses import dataclass
from functools import cached_property

from hadnas.errors import StudyError
from hadnas.measure.figures import VAL
from hadnas.measure.front import Array
from hadnas.measure.metrics.error import resampled
from hadnas.measure.metrics.metric import METRICS, Metric
from hadnas.results.statistics import Estimate, accuracy, difference, mean_score, resampled_mean
from hadnas.results.table import StudyResults
from hadnas.store.home import score_of
from hadnas.store.records import Costs
from hadnas.store.trials import OPENINGS, FinalEntry, Kind, final_entries
from hadnas.train.score import Score, load_score

LEAST_P = 1e-100
"""Smaller p-values are shown as below it: near 1e-308 they are rounded to 0."""


@dataclass(frozen=True)
class Final:
    """One network in the finals.

    metric: that of the study, such as "accuracy"
    estimate: of the metric on the test split, over the seeds; None if a training failed, with the `reason`
    lead: by how much the finalist `against` is better than this one, paired by seed and image
    """

    name: str
    kind: Kind
    fingerprint: str
    against: str | None
    costs: Costs | None
    metric: str
    estimate: Estimate | None
    lead: Estimate | None
    reason: str | None

    @property
    def lead_text(self) -> str:
        """The lead of the finalist in words."""
        return difference_text(METRICS[self.metric], self.lead)

    def text(self, value: float) -> str:
        """A value of the metric."""
        return METRICS[self.metric].text(value)

    @property
    def interval(self) -> str:
        """The interval of the metric; "" without an estimate."""
        return interval_text(METRICS[self.metric], self.estimate) if self.estimate else ""


def interval_text(metric: Metric, found: Estimate) -> str:
    """The interval of a metric: `0.9010 to 0.9250`."""
    return f"{metric.text(found.low)} to {metric.text(found.high)}"


def difference_text(metric: Metric, found: Estimate | None) -> str:
    """A difference of a metric in words: `+0.0120 (-0.0010 to +0.0250), inside the noise`; "" if there is none."""
    if found is None:
        return ""
    signed = [f"{'-' if value < 0 else '+'}{metric.text(abs(value))}" for value in (found.mean, found.low, found.high)]
    parts = [f"{signed[0]} ({signed[1]} to {signed[2]})"]
    if found.p is not None:
        parts.append(f"p = {found.p:.2g}" if found.p > LEAST_P else f"p < {LEAST_P:g}")
    return ", ".join([*parts, "inside the noise"] if found.noise else parts)


def openings(results: StudyResults) -> int:
    """The number of times that finals of this study opened the test split; its intervals hold for the first."""
    return len(results.book.user_attrs.get(OPENINGS, []))


def opened_words(times: int) -> str:
    """A sentence on how often the test split was opened."""
    if times < 2:
        return "The test split was opened once."
    return f"Finals of this study opened the test split {times} times: intervals hold for the first time only."


def lacking(finals: list[Final]) -> list[str]:
    """Sentences on missing controls, and on products that the additive twins retain."""
    sentences, starless = [], []
    for finalist in (final for final in finals if final.kind == "finalist"):
        controls = {final.kind: final for final in finals if final.against == finalist.name}
        twin = controls.get("additive twin")
        if twin is None:
            sentences.append(f"{finalist.name} has no additive twin: none of its products can be replaced by a sum.")
        elif twin.costs is not None and finalist.costs is not None and twin.costs.products:
            sentences.append(
                f"The additive twin of {finalist.name} retains {twin.costs.products:,} of {finalist.costs.products:,} "
                "products, which no sum can replace."
            )
        if "one branch" not in controls:
            starless.append(finalist.name)
    if starless:
        sentences.append(f"No one-branch control, for want of a star that multiplies: {', '.join(starless)}.")
    if finals and not any(final.kind == "random" for final in finals):
        sentences.append("There is no random candidate: none was requested, or none satisfied the constraints.")
    return sentences


class SplitScores:
    """The scores of one network on a split, one for each seed, and what they say of a metric."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.table: list[list[float]] = []  # a score for each seed and image, if the metric is their mean
        self.scores: list[Score] = []

    def add(self, score: Score) -> None:
        """Add the score of a further seed."""
        self.scores.append(score)
        if self.metric.each is not None:
            self.table.append(self.metric.each(score.predicted, score.targets.numpy()).astype(float).tolist())

    def __bool__(self) -> bool:
        return bool(self.table or self.scores)

    @property
    def values(self) -> list[float]:
        return [score.metrics[self.metric.name] for score in self.scores]

    @cached_property
    def drawn(self) -> Array:
        """The mean over the seeds on bootstrap samples of the images; read after all are added."""
        first = self.scores[0]
        predicted = [score.predicted for score in self.scores]
        return resampled(self.metric, first.target, predicted, first.targets.numpy())

    def estimate(self) -> Estimate:
        if self.table:
            return accuracy(self.table) if self.metric.share else mean_score(self.table)
        return resampled_mean(self.values, self.drawn.tolist(), self.scores[0].n).within(*self.metric.bounds)

    def lead(self, other: "SplitScores") -> Estimate:
        """By how much these are better than the other ones."""
        left, right = (self, other) if self.metric.direction == "maximize" else (other, self)
        if self.table:
            return difference(left.table, right.table, share=self.metric.share)
        values = [a - b for a, b in zip(left.values, right.values, strict=True)]
        found = resampled_mean(values, (left.drawn - right.drawn).tolist(), self.scores[0].n, tested=True)
        low, high = self.metric.bounds
        return found.within(low - high, high - low)


def split_scores(results: StudyResults, entry: FinalEntry, stress: str = "") -> SplitScores:
    """The scores of one network of the finals on the test split, under a stress; none if a training failed."""
    found = SplitScores(METRICS[results.study.metric_figure.removeprefix(VAL)])
    for key in entry.keys if entry.reason is None else []:  # pairs need every seed
        kept, training = results.ledger.get_test(key), results.ledger.training(key)
        if kept is None or training is None:
            continue
        if found.metric.name == "accuracy" and not stress:  # the rows of every version have the hits
            found.table.append([float(hit) for hit in kept[0]])
        else:
            found.add(load_score(score_of(training, results.home, "test", stress)))
    if len({len(row) for row in found.table} | {score.n for score in found.scores}) > 1:
        raise StudyError(f"the test scores of {entry.name} are damaged: its seeds have different numbers of images")
    return found


def read_finals(results: StudyResults) -> list[Final]:
    """The latest finals of a study, in their order; empty if there were none."""
    by_name: dict[str, SplitScores] = {}
    out = []
    for entry in final_entries(results.book):
        scores = split_scores(results, entry)
        if scores:
            by_name[entry.name] = scores
        finalist = by_name.get(entry.against) if entry.against is not None else None
        out.append(
            Final(
                name=entry.name,
                kind=entry.kind,
                fingerprint=entry.fingerprint,
                against=entry.against,
                costs=results.ledger.measured.get_cost(entry.fingerprint, str(results.task()), entry.keys[0].code),
                metric=scores.metric.name,
                estimate=scores.estimate() if scores else None,
                lead=finalist.lead(scores) if finalist and scores else None,
                reason=entry.reason,
            )
        )
    return out
