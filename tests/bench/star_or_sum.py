"""Product, sum or one branch: the table of the study `star_or_sum`, from its runs with several seeds.

python tests/bench/star_or_sum.py star_or_sum_0 star_or_sum_1 ...     # studies in runs/ or HADNAS_HOME

Every trained network is scored once more on the validation images, one by one. Accuracy is the mean and the standard
deviation over the seeds. Differences are paired by seed and by image, their 95 % intervals count both, as those of the
finals, and p-values are corrected by Holm for the number of comparisons; below six seeds there is none.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hadnas.opened import open_study
from hadnas.results.statistics import Estimate, accuracy, difference
from hadnas.results.table import StudyResults
from hadnas.train.score import score_module

Key = tuple[int, str]  # width, activation
Hits = list[list[bool]]  # (seeds, images)


def scored(studies: list[StudyResults]) -> dict[Key, dict[str, Hits]]:
    """(width, activation) -> interaction -> which validation images each study's network recognises."""
    found: dict[Key, dict[str, Hits]] = defaultdict(lambda: defaultdict(list))
    for study in track(studies, "scoring", console=Console(stderr=True)):
        data, batch = study.data(), study.study.recipe.evaluation_batch
        for trial in study.distinct:
            assert trial.arch is not None
            right = score_module(study.network(trial), data, "val", batch=batch).hits
            key = (trial.arch.node["stages"][0]["dim"], trial.params["activation"])
            found[key][trial.params["interaction"]].append(right.tolist())
    return dict(sorted(found.items(), key=lambda item: (item[0][1] != "none", item[0])))


def spread(seeds: Hits) -> str:
    found = accuracy(seeds)
    return f"{100 * found.mean:.2f}" + ("" if found.seed_std is None else f" ± {100 * found.seed_std:.2f}")


def words(found: Estimate, p: float | None) -> str:
    text = f"{100 * found.mean:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
    return text if p is None else f"{text}, p {f'= {p:.2g}' if p >= 0.001 else '< 0.001'}"


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values with Holm's correction, in the given order: each is below alpha if Holm rejects it at the level alpha.

    The probability that any true null hypothesis is rejected is below alpha, for any dependence. Source: Holm, A
    simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def main(names: list[str]) -> None:
    rows = scored([open_study(name) for name in names])
    pairs = [difference(by["mul"], by[other]) for by in rows.values() for other in ("sum", "one")]
    single = [found.p for found in pairs if found.p is not None]
    corrected = iter(holm(single) if len(single) == len(pairs) else [None] * len(pairs))
    said = iter([words(found, p) for found, p in zip(pairs, corrected, strict=True)])
    table = Table("width", "activation", "product", "sum", "one branch", "product - sum", "product - one", box=None)
    for (width, activation), by in rows.items():
        table.add_row(
            str(width), activation, *(spread(by[name]) for name in ("mul", "sum", "one")), next(said), next(said)
        )
    console = Console(width=160)
    console.print(table)
    console.print(
        f"validation accuracy in %, n = {pairs[0].n:,} images, {pairs[0].seeds} seeds: {', '.join(names)}; "
        f"95 % intervals over seeds and images; p corrected by Holm for {len(pairs)} comparisons",
        highlight=False,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
