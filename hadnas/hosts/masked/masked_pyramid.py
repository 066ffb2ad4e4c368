"""The masked pyramid: stem and stages that carry a mask, the mean over valid positions, and a head."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.masks import MaskedNorm, masked_norm, without_holes
from hadnas.blocks.registry import register
from hadnas.hosts.masked.masked_host import MaskedPyramidHost
from hadnas.hosts.masked.masked_stage import MaskedStage
from hadnas.hosts.staged import init_weights


@register("host", children={"stem": "masked", "stages": "stage", "head": "head"}, host=MaskedPyramidHost())
class MaskedPyramid(nn.Module):
    """A pyramid of an image with holes: every layer reads the map and its mask, and gives both.

    x, m = stages(stem(x, m));  logits = head(sum(m * norm(x)) / sum(m))

    The sums are over positions, so what the head reads is one position, the mean of the valid ones; it is 0 if there is
    none. Stem, steps between stages and any blocks are ops of the role masked; other blocks read the map with zeros in
    its holes, which are set to zero again behind them. A mask pixel is valid if it is above 0.

    Shapes: an image (B, channels, H, W) and its mask (B, 1, H, W) -> (B, classes).
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        stages: list[MaskedStage],
        head: Any,
        norm: MaskedNorm | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.norm = masked_norm(norm, stages[-1].dim, device=device, dtype=dtype)
        self.head: Any = head  # an op of the role head, with the interface of pooled_linear
        self.num_classes: int = head.classes
        init_weights(self)

    def no_weight_decay(self) -> set[str]:
        """Learned scales in front of products: decay would pull the network towards its additive form."""
        return {name for name, _ in self.named_parameters() if name.rpartition(".")[2] == "alpha"}

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.head.fc

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x, mask = self.stem(x, (mask > 0).to(x.dtype))
        for stage in self.stages:
            x, mask = stage(x, mask)
        x = x if self.norm is None else without_holes(self.norm(x, mask), mask)
        mean = x.sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp(min=1)
        return self.head(mean)
