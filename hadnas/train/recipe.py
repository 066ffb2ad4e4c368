"""How a network is trained: the few settings that, with data and seed, decide what it learns. Imports no torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hadnas.errors import unknown


class Recipe(BaseModel):
    """A training recipe. The defaults train small networks on small images in few epochs.

    `optimizer` is any timm name. Weight decay spares biases, norms, single numbers and what the module's
    `no_weight_decay()` names. The learning rate is set before every update: linear warm-up, then `schedule`.
    `clip_grad` bounds the norm of the gradient. `ema` is the decay of averaged weights (ramped up over the first
    steps), which are then the weights that are scored. `augment` shifts each image by up to an eighth of its side,
    repeating its edge; "shift_flip" also mirrors half of them. `mixup` is the alpha of the Beta distribution by
    which the images and labels of a batch are blended. `amp`: "auto" is bfloat16 autocast on CUDA devices that have
    it, and off on a CPU; weights and validation stay float32. `channels_last`: "auto" is on with autocast and on a CPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=10, ge=1)
    batch: int = Field(default=64, ge=2)
    optimizer: str = "adamw"
    lr: float = Field(default=4e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_epochs: int = Field(default=1, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    clip_grad: float | None = Field(default=1.0, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    augment: Literal["none", "shift", "shift_flip"] = "none"
    mixup: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    amp: Literal["auto", "bf16", "off"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, name: str) -> str:
        if name in {"adamw", "sgd", "lamb", "lion"}:  # spares the import of timm
            return name
        from timm.optim import list_optimizers

        if name not in (names := list_optimizers()):
            raise unknown("optimizer", name, names)
        return name
