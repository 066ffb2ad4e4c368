"""RPC attention of equal MACs, with six thresholds: the space of the study `rpc_or_softmax`.

Two rounds of attention and of a feed-forward network with a depthwise convolution, on a map of N = 16 positions with
C = 32 channels. There two steps of RPC attention have the MACs of softmax attention: 3 C^2 N + 4 C N^2 =
4 C^2 N + 2 C N^2 with C = 2 N.
"""

from typing import Any

from hadnas.space import one_of, op


def network(attention: dict[str, Any]) -> dict[str, Any]:
    """A network of two rounds, with this attention in both."""
    blocks = [attention, op("mlp", expand=2, mix="before", kernel=3)] * 2
    return op(
        "pyramid",
        stem=op("conv_norm", dim=32, kernel=3, stride=2, norm="batchnorm2d", act="relu"),
        stages=[
            {
                "dim": 32,
                "down": None,
                "blocks": [op("residual", norm="layernorm2d", block=block, merge=op("add")) for block in blocks],
            }
        ],
        norm="layernorm2d",
        head=op("pooled_linear"),
    )


SPACE = network(
    op(
        "rpc_attention",
        heads=4,
        steps=2,
        sparsity=one_of(1.0, 4.0, 16.0, name="sparsity"),
        threshold=one_of("product", "quotient", name="threshold"),
    )
)
