"""Heads that read images of 2 x 2 cells, after an encoder that reads each cell alone: the study `relational_heads`.

Patches of 8 x 8 pixels become 32 numbers, by the same weights everywhere; larger cells are the mean of their patches.
Of equal parameters within 4 % (11.1k to 11.5k for two classes) are similarities alone (CoRelNet), a perceptron on pairs
(a relation network), with and without CoRelNet's norm over the cells of an image, and a pooled perceptron. The baseline
`pooled` is a linear map of the mean over the cells, after a wider encoder.
"""

from typing import Any

from hadnas.space import one_of, op


def network(head: dict[str, Any], expand: int = 2) -> dict[str, Any]:
    """A network with this head, and an encoder whose hidden layer is so many times as wide as its output."""
    return op(
        "pyramid",
        stem=op("conv_norm", dim=32, kernel=8, stride=8, norm="batchnorm2d", act="relu"),
        stages=[
            {
                "dim": 32,
                "down": None,
                "blocks": [op("residual", norm="batchnorm2d", block=op("mlp", expand=expand), merge=op("add"))],
            }
        ],
        norm="batchnorm2d",
        head=head,
    )


SPACE = network(
    one_of(
        op(
            "corelnet",
            grid=2,
            hidden=256,
            scaled=one_of(True, False, name="scaled"),
            mirror=one_of(False, True, name="mirror"),
        ),
        op("pairwise_mlp", grid=2, hidden=34, context=one_of(False, True, name="context")),
        op("pooled_mlp", expand=4),
    )
)
