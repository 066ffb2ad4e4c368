"""What a study knows of one of its networks, as its model card says it."""

from typing import TYPE_CHECKING, Any

from hadnas.exporter.card import Accuracy, Facts
from hadnas.search.front import standard_error
from hadnas.search.records import Latency

if TYPE_CHECKING:
    from hadnas.search.results import Found, StudyResults


def facts(results: "StudyResults", found: "Found") -> Facts:
    """Figures, data, recipe and limits of a finished trial or baseline."""
    study, accuracy, n = results.study, found.figures["val/accuracy"], found.notes["val_n"]
    timed = _latency(results, found)
    trials = len(results.distinct)
    limits = [
        "One training with one seed: another seed gives another accuracy.",
        "No figure here is of the test split.",
        f"Accuracy is of images like those of {study.data.source}, at this size; others were not tried.",
    ]
    if found.number is not None:
        chosen = "best" if found.arch == results.best.arch else "one"
        said = f"It is the {chosen} of {trials}" if chosen == "best" else f"It is one of {trials}"
        limits.insert(
            0, f"{said} architectures compared on the validation images, so its accuracy there is optimistic."
        )
    if found.notes.get("latency_noisy"):
        limits.append("The machine was busy while the latency was taken: its ratio varied by more than 5 %.")
    return Facts(
        origin={"study": study.name, "baseline" if found.number is None else "trial": found.name},
        accuracies={"validation": Accuracy(accuracy, standard_error(accuracy, n), n)},
        figures=found.figures,
        protocol=timed.protocol if timed is not None else {},
        data=_named(study.data.model_dump(exclude_none=True)),
        recipe=_named({**study.recipe.model_dump(exclude_none=True), "seed": study.seed}),
        limits=tuple(limits),
    )


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): value for name, value in settings.items()}


def _latency(results: "StudyResults", found: "Found") -> Latency | None:
    key = found.notes.get("latency_protocol")
    if key is None or found.arch is None:
        return None
    return results.ledger.get_latency(found.arch.fingerprint, str(results.task()), key)
