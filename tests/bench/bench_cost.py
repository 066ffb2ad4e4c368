"""Time of the counter against the module's own forward pass on the meta device (bar: at most twice).

    python tests/bench/bench_cost.py [rounds]

Per network, in turn: its forward pass on meta without gradients, the counter on the same network on meta, and the
counter on one that holds weights, which has to copy it without them. Prints the fastest and the median of each in
milliseconds of this thread's processor time, and the ratios of the fastest, which other load spoils least.
"""

import statistics
import sys
import time
from collections.abc import Callable

import timm
import torch

from hadnas.measure.cost import cost

NETWORKS = ["resnet18", "starnet_s1", "vit_tiny_patch16_224", "focalnet_tiny_srf", "mambaout_femto", "convnext_atto"]


def clock(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return (time.thread_time() - start) * 1e3


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    print(f"n = {rounds}; fastest (median) in ms")
    print(f"{'network':24}{'meta forward':>18}{'cost, on meta':>18}{'cost, weights':>18}{'ratio':>8}{'ratio':>8}")
    for name in NETWORKS:
        image = torch.empty(1, 3, 224, 224, device="meta")
        bare, real = timm.create_model(name, device="meta").eval(), timm.create_model(name)

        @torch.no_grad()
        def forward(bare: torch.nn.Module = bare, image: torch.Tensor = image) -> None:
            bare(image)

        calls: list[Callable[[], object]] = [
            forward,
            lambda bare=bare: cost(bare, (3, 224, 224)),
            lambda real=real: cost(real, (3, 224, 224)),
        ]
        times = [[clock(call) for call in calls] for _ in range(rounds + 1)][1:]
        columns = list(zip(*times, strict=True))
        best = [min(c) for c in columns]
        cells = "".join(f"{f'{b:.1f} ({statistics.median(c):.1f})':>18}" for b, c in zip(best, columns, strict=True))
        print(f"{name:24}{cells}{best[1] / best[0]:8.2f}{best[2] / best[0]:8.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
