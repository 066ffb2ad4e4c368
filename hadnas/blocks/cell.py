"""The cell: residual nodes behind a merge of the outputs of the two cells before it."""

from typing import Any

from timm.layers import LayerScale2d
from torch import Tensor, nn

from hadnas.blocks.layers import PlacedNorm, needs_no_resolution, placed_normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least


@register(
    "cell",
    children={"merge": "merge", "blocks": ("residual", "block")},
    rules=(at_least("scale", 0.0),),
    unused=needs_no_resolution,
)
class Cell(nn.Module):
    """Blocks of one width behind a normed merge of two maps, the outputs of the last two cells.

    y = blocks(norm(merge(g_1 * a, g_2 * b)))

    a is the older map, b the newer; g_1 and g_2 (C values each from `scale`) are absent for None, the norm likewise.

    Shapes: a, b (B, C, H, W) -> (B, C, H, W).
    Degree: that of the blocks over the merge's.
    Source: Wang, Gregory, Chrysos, "Activation-free backbones for image recognition: polynomial alternatives within
        MetaFormer-style vision models", 2026, arXiv 2605.20839, with the sum as its merge; cells that read the outputs
        of the last two: Zoph et al., "Learning transferable architectures for scalable image recognition", 2017,
        arXiv 1707.07012, section 3.
    """

    def __init__(
        self,
        dim: int,
        *,
        merge: nn.Module,
        blocks: list[nn.Module],
        norm: PlacedNorm | None = "layernorm2d_no_bias_eps1e-5",
        scale: float | None = 1.0,
        resolution: tuple[int, int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.older = nn.Identity() if scale is None else LayerScale2d(dim, scale, **dd)
        self.newer = nn.Identity() if scale is None else LayerScale2d(dim, scale, **dd)
        self.merge = merge
        self.norm = placed_normalisation(norm, dim, resolution, **dd)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.blocks(self.norm(self.merge(self.older(a), self.newer(b))))
