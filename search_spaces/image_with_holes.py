"""An image with holes, and how every convolution of the network reads it: partial, plain or gated.

The network carries the mask of its valid pixels from layer to layer, at full, half and a quarter of the resolution, and
gives the mean over valid positions to one linear head. A gated convolution makes two maps: of width 17 it has the MACs
of the others of width 26, within 1 %.
"""

from typing import Any

from hadnas.space import one_of, op

WIDTH = one_of(17, 26, name="width")


def layer(**slots: Any) -> dict[str, Any]:
    """A layer, of the one kind of the network."""
    kind: Any = one_of("partial_conv", "zero_fill_conv", "mask_gated_conv", name="kind")
    return op(kind, kernel=one_of(3, 5, name="kernel"), **slots)


STAGE = {"dim": WIDTH, "down": layer(stride=2), "blocks": [layer()]}

SPACE = op("masked_pyramid", stem=layer(dim=WIDTH), stages=[STAGE, STAGE], head=op("pooled_linear"))
