"""The finals of a study: the stored test accuracy of each network, and the leads of the finalists."""

from dataclasses import dataclass

from hadnas.errors import StudyError
from hadnas.results.statistics import Estimate, accuracy, difference
from hadnas.results.table import StudyResults
from hadnas.store.records import Costs
from hadnas.store.trials import OPENINGS, Kind, final_entries


@dataclass(frozen=True)
class Final:
    """One network in the finals.

    accuracy: on the test split, over the seeds; None if a training failed, with the `reason`
    lead: accuracy of the finalist `against` minus this one's, paired by seed and image
    """

    name: str
    kind: Kind
    fingerprint: str
    against: str | None
    costs: Costs | None
    accuracy: Estimate | None
    lead: Estimate | None
    reason: str | None

    @property
    def lead_text(self) -> str:
        """The lead of the finalist in words: `+0.0120 (-0.0010 to +0.0250), inside the noise`."""
        if self.lead is None:
            return ""
        parts = [f"{self.lead.mean:+.4f} ({self.lead.low:+.4f} to {self.lead.high:+.4f})"]
        if self.lead.p is not None:
            parts.append(f"p = {self.lead.p:.2g}")
        return ", ".join([*parts, "inside the noise"] if self.lead.noise else parts)


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
    sentences = []
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
            sentences.append(f"{finalist.name} has no one-branch control: it has no star that multiplies.")
    if finals and not any(final.kind == "random" for final in finals):
        sentences.append("There is no random candidate: none was requested, or none satisfied the constraints.")
    return sentences


def read_finals(results: StudyResults) -> list[Final]:
    """The latest finals of a study, in their order; empty if there were none."""
    by_name: dict[str, list[list[bool]]] = {}
    out = []
    for entry in final_entries(results.book):
        hits = []
        for key in entry.keys if entry.reason is None else []:  # pairs need every seed
            score = results.ledger.get_test(key)
            if score is not None:
                hits.append(score[0])
        if len({len(row) for row in hits}) > 1:
            raise StudyError(f"the test scores of {entry.name} are damaged: its seeds have different numbers of images")
        if hits:
            by_name[entry.name] = hits
        finalist = by_name.get(entry.against) if entry.against is not None else None
        out.append(
            Final(
                name=entry.name,
                kind=entry.kind,
                fingerprint=entry.fingerprint,
                against=entry.against,
                costs=results.ledger.measured.get_cost(entry.fingerprint, str(results.task()), entry.keys[0].code),
                accuracy=accuracy(hits) if hits else None,
                lead=difference(finalist, hits) if finalist and hits else None,
                reason=entry.reason,
            )
        )
    return out
