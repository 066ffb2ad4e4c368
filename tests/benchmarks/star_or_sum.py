"""Product, sum or one branch: the table of the study `star_or_sum`, from its runs with several seeds.

python tests/benchmarks/star_or_sum.py star_or_sum_0 star_or_sum_1 ...     # studies in runs/ or HADNAS_HOME

Accuracy is that of the validation split, mean and standard deviation over the seeds. Differences are paired by seed,
with their 95 % t-interval; below six seeds there is no p-value.
"""

import sys
from collections import defaultdict

from rich.console import Console
from rich.table import Table
from scipy import stats

from hadnas.search.results import open_study

FEWEST = 6
Key = tuple[int, str]  # width, activation


def accuracies(names: list[str]) -> dict[Key, dict[str, list[float]]]:
    """(width, activation) -> interaction -> one accuracy per study."""
    found: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        for trial in open_study(name).distinct:
            assert trial.arch is not None
            key = (trial.arch.node["stages"][0]["dim"], trial.params["activation"])
            found[key][trial.params["interaction"]].append(100 * trial.figures["val/accuracy"])
    return dict(sorted(found.items()))


def spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.2f} ± {stats.tstd(values):.2f}"


def difference(left: list[float], right: list[float]) -> str:
    pairs = [a - b for a, b in zip(left, right, strict=True)]
    half = stats.sem(pairs) * stats.t.ppf(0.975, len(pairs) - 1)
    text = f"{sum(pairs) / len(pairs):+.2f} ± {half:.2f}"
    return text + (f", p = {stats.ttest_1samp(pairs, 0).pvalue:.2g}" if len(pairs) >= FEWEST else "")


def main(names: list[str]) -> None:
    studies = [open_study(name) for name in names]
    n = next(iter(studies[0].distinct)).notes["val_n"]
    table = Table("width", "activation", "product", "sum", "one branch", "product - sum", "product - one", box=None)
    for (width, activation), by in accuracies(names).items():
        mul, add, one = by["mul"], by["sum"], by["one"]
        table.add_row(
            *(str(width), activation, spread(mul), spread(add), spread(one), difference(mul, add), difference(mul, one))
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"validation accuracy in %, {n} images, {len(names)} seeds: {', '.join(names)}", highlight=False)


if __name__ == "__main__":
    main(sys.argv[1:])
