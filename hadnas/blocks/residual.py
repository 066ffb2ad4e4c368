"""The residual node: outer norm, block, LayerScale, DropPath and a merge, the same for every family."""

from typing import Any

from timm.layers import DropPath, LayerScale2d
from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
from hadnas.blocks.registry import register
from hadnas.blocks.rules import at_least, within


@register(
    "residual",
    children={"block": "block", "merge": "merge"},
    rules=(within("drop_path", 0.0, 0.99), at_least("layer_scale", 0.0), at_least("skip_scale", 0.0)),
)
class Residual(nn.Module):
    """Pre-norm residual: merges the output of a block with its input.

    y = merge(rho * x, drop_path(gamma * block(norm(x))))

    gamma (C values from `layer_scale`) and rho (C values from `skip_scale`) are absent for None, the norm likewise.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: that of the merge over the block's.
    Source: He et al., "Identity mappings in deep residual networks", 2016, arXiv 1603.05027, equation 3 (the norm in
        front); gamma: Touvron et al., "Going deeper with image transformers", 2021, arXiv 2103.17239, section 2; rho:
        Yu et al., "MetaFormer baselines for vision", 2022, arXiv 2210.13452; drop_path: Huang et al., "Deep networks
        with stochastic depth", 2016, arXiv 1603.09382, equation 2.
    """

    def __init__(
        self,
        dim: int,
        *,
        block: nn.Module,
        merge: nn.Module,
        norm: Norm | None = None,
        layer_scale: float | None = None,
        skip_scale: float | None = None,
        drop_path: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.norm = normalisation(norm, dim, **dd)
        self.block = block
        self.scale = nn.Identity() if layer_scale is None else LayerScale2d(dim, layer_scale, **dd)
        self.skip = nn.Identity() if skip_scale is None else LayerScale2d(dim, skip_scale, **dd)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop_path(self.scale(self.block(self.norm(x))))
        return self.merge(self.skip(x), y)
