"""What the finals of a study found of each network, as the ledger keeps it."""

from dataclasses import dataclass

from hadnas.errors import StudyError
from hadnas.results.statistics import Estimate, accuracy, difference
from hadnas.results.table import StudyResults
from hadnas.store.records import Costs
from hadnas.store.trials import OPENINGS, Kind, final_entries


@dataclass(frozen=True)
class Final:
    """What the finals found of one network.

    accuracy: on the test split, over the seeds; None where a training failed, and `reason` says why
    lead: accuracy of `against`, the finalist it is compared with, minus this one's, paired by seed and image
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
    def said(self) -> str:
        """The lead of the finalist in words: `+0.0120 (-0.0010 to +0.0250), inside the noise`."""
        if self.lead is None:
            return ""
        parts = [f"{self.lead.mean:+.4f} ({self.lead.low:+.4f} to {self.lead.high:+.4f})"]
        if self.lead.p is not None:
            parts.append(f"p = {self.lead.p:.2g}")
        return ", ".join([*parts, "inside the noise"] if self.lead.noise else parts)


def openings(results: StudyResults) -> int:
    """How often finals of this study opened the test split: the oftener, the less its intervals hold."""
    return len(results.book.user_attrs.get(OPENINGS, []))


def opened_words(times: int) -> str:
    """How often the test split was opened, as a sentence."""
    if times < 2:
        return "The test split was opened once."
    return f"The test split was opened {times} times by finals of this study: intervals hold for a first look only."


def lacking(finals: list[Final]) -> list[str]:
    """What the controls of each finalist leave out, as sentences: no control, or products that have no sum."""
    said = []
    for finalist in (final for final in finals if final.kind == "finalist"):
        beside = {final.kind: final for final in finals if final.against == finalist.name}
        twin = beside.get("additive twin")
        if twin is None:
            said.append(f"{finalist.name} has no additive twin: it holds no product that has a sum in its place.")
        elif twin.costs is not None and finalist.costs is not None and twin.costs.products:
            said.append(
                f"The additive twin of {finalist.name} keeps {twin.costs.products:,} of {finalist.costs.products:,} "
                "products, which have no sum in their place."
            )
        if "one branch" not in beside:
            said.append(f"{finalist.name} has no one-branch control: that stands for stars that multiply.")
    if finals and not any(final.kind == "random" for final in finals):
        said.append("No random candidate stands beside them: none was asked for, or none kept the constraints.")
    return said


def read_finals(results: StudyResults) -> list[Final]:
    """The finals of a study as they were held last, in their order; empty where there were none."""
    seen: dict[str, list[list[bool]]] = {}
    out = []
    for entry in final_entries(results.book):
        own = []
        for key in entry.keys if entry.reason is None else []:  # pairs need every seed
            score = results.ledger.get_test(key)
            if score is not None:
                own.append(score[0])
        if len({len(hits) for hits in own}) > 1:
            raise StudyError(f"the test scores of {entry.name} are damaged: its seeds have different numbers of images")
        if own:
            seen[entry.name] = own
        rival = seen.get(entry.against) if entry.against is not None else None
        out.append(
            Final(
                name=entry.name,
                kind=entry.kind,
                fingerprint=entry.fingerprint,
                against=entry.against,
                costs=results.ledger.measured.get_cost(entry.fingerprint, str(results.task()), entry.keys[0].code),
                accuracy=accuracy(own) if own else None,
                lead=difference(rival, own) if rival and own else None,
                reason=entry.reason,
            )
        )
    return out
