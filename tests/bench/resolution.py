"""How blocks grow with the resolution: MACs, products, memory and latency of one block each, and their exponents.

python tests/bench/resolution.py              # three minutes; docs/resolution.png and the table in docs/results.md
python tests/bench/resolution.py --smoke      # seconds, small images, no picture

Each network is one block of 32 channels in a residual, after a stem that divides the side of the image by 4. The term
of softmax attention that grows as the square of the pixels is the difference of its MACs from those of linear attention
by products (`hydra`), whose other layers are the same.
"""

import argparse
from functools import partial
from pathlib import Path

from torch import nn

from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.hosts.build import build
from hadnas.measure.latency.sweep import Sized, exponents, sweep
from hadnas.shell.tables.measured import draw_sweep, show_sweep
from hadnas.space import op

BLOCKS = {
    "star": op("star", expand=3),
    "star, additive twin": op("star", expand=3, interact="sum"),
    "conv_mod": op("conv_mod", kernel=7),
    "hydra": op("hydra"),
    "attention": op("attention", heads=1),
}
PICTURE = Path(__file__).parents[2] / "docs" / "resolution.png"


def network(block: str, side: int) -> nn.Module:
    """A stem, one block, a head, for images of this side."""
    task = Task.image(3, side, side, classes=10)
    stage = {"dim": 32, "blocks": [op("residual", block=BLOCKS[block], merge=op("add"))]}
    stem = op("conv_norm", dim=32, kernel=7, stride=4)
    return build(complete(op("pyramid", stem=stem, stages=[stage], head=op("pooled_linear")), task), task)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    protocol = {"batch": 1, "device": "cpu", "threads": 1, "seconds": 0.2 if smoke else 8.0}
    sides, backends = ((16, 32), ("eager",)) if smoke else ((32, 64, 128, 256), ("eager", "compile"))
    points = list(sweep({name: partial(network, name) for name in BLOCKS}, sides, 3, backends=backends, **protocol))
    show_sweep(points, **protocol)
    macs = {(point.network, point.side): point.figures["macs"] for point in points}
    term = [Sized("", side, {"macs": macs["attention", side] - macs["hydra", side]}) for side in sides]
    print(f"the term of softmax attention: exponent {exponents(term)['macs']}")
    if not smoke:
        draw_sweep(points).savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    main()
