"""The pyramid host: each stage reads the map of the one before it."""

from collections.abc import Iterator

from torch import Tensor

from hadnas.blocks.registry import register
from hadnas.hosts.pyramid_host import PyramidHost
from hadnas.hosts.staged import StagedNetwork


@register("host", children={"stem": "stem", "stages": "stage", "head": "head"}, host=PyramidHost())
class Pyramid(StagedNetwork):
    """Stem, any number of stages, norm and head, with timm's model interface.

    logits = head(norm(stages(stem(x))))

    `num_classes` and `global_pool`, arguments of `timm.create_model`, re-make the head if they are given;
    `drop_rate` is the dropout before the classifier, `drop_path_rate` that of the last residual branch, from 0 up.

    Shapes: (B, in_chans, H, W) -> (B, num_classes).
    """

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_features, H', W')."""
        return self.norm(self.stages(self.stem(x)))

    def maps(self, x: Tensor, stages: int) -> Iterator[Tensor]:
        """The map after each of the first `stages` stages."""
        x = self.stem(x)
        for stage in self.stages[:stages]:
            x = stage(x)
            yield x
