"""The pyramid of cells: each cell reads the outputs of the last two, across the borders of stages, too."""

from collections.abc import Iterator

from torch import Tensor

from hadnas.blocks.registry import register
from hadnas.hosts.cells.cell_pyramid_host import CellPyramidHost
from hadnas.hosts.staged import StagedNetwork


@register("host", children={"stem": "stem", "stages": "stage", "head": "head"}, host=CellPyramidHost())
class CellPyramid(StagedNetwork):
    """Stem, stages of cells, norm and head, with timm's model interface.

    logits = head(norm(z_n)),  z_i = cell_i(z_i-2, z_i-1),  z_-1 = z_0 = stem(x)

    Where a stage begins, both of its first cell's inputs are made smaller: the newer one by `down`, the older one by
    `down_older`, by default as `down`, with weights of its own. The map of a stage is that of its last cell.

    `num_classes` and `global_pool`, arguments of `timm.create_model`, re-make the head if they are given;
    `drop_rate` is the dropout before the classifier, `drop_path_rate` that of the last residual branch, from 0 up.

    Shapes: (B, in_chans, H, W) -> (B, num_classes).
    Source: Wang, Gregory, Chrysos, "Activation-free backbones for image recognition: polynomial alternatives within
        MetaFormer-style vision models", 2026, arXiv 2605.20839.
    """

    chained = False

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_features, H', W')."""
        x = self.stem(x)
        older, newer = x, x
        for stage in self.stages:
            older, newer = stage(older, newer)
        return self.norm(newer)

    def maps(self, x: Tensor, stages: int) -> Iterator[Tensor]:
        """The map after each of the first `stages` stages."""
        older = newer = self.stem(x)
        for stage in self.stages[:stages]:
            older, newer = stage(older, newer)
            yield newer
