"""NAS-Bench-201 (Dong and Yang, ICLR 2020) with latencies of HW-NAS-Bench (Li et al., ICLR 2021) for `hadnas bench`.

SPACE: the six edges of a cell, five operations each; 15,625 cells, 6,466 that differ. The file also writes the table:

python tests/bench/nas_bench_201.py nb201_core.csv.gz nb201.csv

from one row per cell with `arch` as the benchmark writes it, figures, and `iso_class`: cells of one class compute the
same, as what differs is dead. A class is one network, with the figures of its cell of the fewest MACs, which has the
fewest dead parts.
"""

import csv
import gzip
import re
import sys
from itertools import groupby

from hadnas.space import one_of

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ("from0to1", "from0to2", "from1to2", "from0to3", "from1to3", "from2to3")
SPACE = {edge: one_of(*OPERATIONS) for edge in EDGES}


def main(source: str, target: str) -> None:
    with gzip.open(source, "rt", newline="") as file:
        cells = list(csv.DictReader(file))
    cells.sort(key=lambda cell: (int(cell["iso_class"]), float(cell["c10_flops"]), int(cell["index"])))
    with open(target, "w", newline="") as file:
        writer = csv.writer(file)
        figures = [name for name in cells[0] if name not in ("index", "arch", "iso_class")]
        writer.writerow([*EDGES, "key", *figures, *(f"live_{name}" for name in OPERATIONS)])
        for key, alike in groupby(cells, key=lambda cell: cell["iso_class"]):
            first, *_ = same = list(alike)
            live = operations(first)
            for cell in same:
                counts = [live.count(name) for name in OPERATIONS]
                writer.writerow([*operations(cell), key, *(first[name] for name in figures), *counts])


def operations(cell: dict[str, str]) -> list[str]:
    """The operations of a cell, in the order of `EDGES`."""
    found = re.findall(r"\|?(\w+)~\d", cell["arch"])
    assert len(found) == len(EDGES), cell["arch"]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
