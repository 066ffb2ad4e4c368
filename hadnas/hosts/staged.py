"""Networks of stages: what all of them share, with timm's model interface."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from timm.layers import DropPath, calculate_drop_path_rates, get_device_dtype, lecun_normal_
from timm.models._features import feature_take_indices  # as timm's own models; it has no public name
from torch import Tensor, nn

from hadnas.blocks.layers import Norm, normalisation
from hadnas.blocks.pooled_linear import PooledLinear


def init_weights(model: nn.Module) -> None:
    """Initialise every op alike: fan-in scaled truncated normal weights, zero biases, then its own `init_weights`."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear) and not module.weight.is_meta:
            lecun_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if callable(own := getattr(module, "init_weights", None)):
            own()


class StagedNetwork(nn.Module, ABC):
    """Stem, any number of stages, norm and head; how maps run through the stages is that of a subclass.

    A stage has `dim`, `reduction` and `grad_checkpointing`, and its modules are `down...` and `blocks`. `chained` says
    whether it reads one map, that of the stage before it.

    `num_classes` and `global_pool`, arguments of `timm.create_model`, re-make the head if they are given;
    `drop_rate` is the dropout before the classifier, `drop_path_rate` that of the last residual branch, from 0 up.

    Shapes: (B, in_chans, H, W) -> (B, num_classes).
    """

    chained = True

    def __init__(
        self,
        *,
        stem: nn.Module,
        stages: list[Any],
        head: Any,
        norm: Norm | None = "batchnorm2d",
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str | None = None,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.stem = stem
        self.stages: Any = nn.Sequential(*stages) if self.chained else nn.ModuleList(stages)
        self.num_features: int = stages[-1].dim
        self.norm = normalisation(norm, self.num_features, device=device, dtype=dtype)
        self.head: Any = head  # an op of the role head, with the interface of pooled_linear
        self.head_hidden_size = head.hidden_size
        self.feature_info = [
            {"num_chs": stage.dim, "reduction": stage.reduction, "module": f"stages.{index}"}
            for index, stage in enumerate(stages)
        ]
        init_weights(self)
        if num_classes != head.classes or global_pool is not None:
            self.reset_classifier(num_classes, global_pool)
        if drop_rate is not None:
            self.head.drop.p = drop_rate
        if drop_path_rate is not None:
            # in the order of the network: residual nodes, and blocks with drop paths of their own
            residuals: list[Any] = [module for module in self.modules() if hasattr(module, "drop_path")]
            for module, rate in zip(residuals, calculate_drop_path_rates(drop_path_rate, len(residuals)), strict=True):
                module.drop_path = DropPath(rate) if rate else nn.Identity()

    def no_weight_decay(self) -> set[str]:
        """Learned scales in front of products: decay would pull the network towards its additive form."""
        return {name for name, _ in self.named_parameters() if name.rpartition(".")[2] == "alpha"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups for layer-wise learning rates, as timm reads them."""
        inner: list[tuple[str, tuple[int] | None]] = [(r"^stages\.(\d+)", None)]
        if not coarse:
            inner = [(r"^stages\.(\d+)\.down", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        return {"stem": r"^stem", "blocks": [*inner, (r"^norm", (99999,))]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade compute for memory: recompute each stage's blocks in the backward pass."""
        for stage in self.stages:
            stage.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give the head another number of classes (0: none) and, if named, another pooling ("" for none).

        Without pooling each position is classified by itself: (B, num_classes, H', W').
        """
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool, **get_device_dtype(self))
        self.head.train(self.training)
        self.head_hidden_size = self.head.hidden_size

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_features, H', W')."""

    @abstractmethod
    def maps(self, x: Tensor, stages: int) -> Iterator[Tensor]:
        """The map after each of the first `stages` stages."""

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, num_features, H', W') -> (B, num_classes), or the features before the classifier."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The maps after the stages `indices` (all for None, the last n for an int), and the final features.

        `norm` applies the final norm to the last stage's map. Raises ValueError for another format than NCHW.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt = {output_fmt!r} is not allowed; allowed is 'NCHW'")
        taken, last_taken = feature_take_indices(len(self.stages), indices)
        last = len(self.stages) - 1
        intermediates = []
        for index, found in enumerate(self.maps(x, last_taken + 1 if stop_early else last + 1)):
            if index == last and (norm or not intermediates_only):
                normed = self.norm(found)
            if index in taken:
                intermediates.append(normed if norm and index == last else found)
        if intermediates_only:
            return intermediates
        return normed if index == last else found, intermediates

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop all that the stages `indices` do not need, and return their indices; a new head only pools."""
        taken, last_taken = feature_take_indices(len(self.stages), indices)
        shortened = last_taken < len(self.stages) - 1
        if prune_norm or shortened:
            self.norm = nn.Identity()
        self.stages = self.stages[: last_taken + 1]
        if prune_head or shortened:
            self.num_features = self.feature_info[last_taken]["num_chs"]
            self.head = PooledLinear(self.num_features, 0, dropout=self.head.drop.p)
            self.reset_classifier(0, "")
        return taken
