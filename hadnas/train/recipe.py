"""The settings of a training, which determine it together with data and seed. Imports no torch."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from hadnas.errors import SpecError, unknown
from hadnas.limits import COUNT
from hadnas.plain import plain_fields

Plain = Literal["none", "shift", "shift_flip"]
PLAIN: tuple[Plain, ...] = get_args(Plain)
"""Augmentation of whole batches on the device."""

Share = Annotated[float, Field(ge=0, le=1)]
LARGEST_WEIGHT = 1e6
"""The largest weight of a class: losses in float32 stay finite."""

Weight = Annotated[float, Field(gt=0, le=LARGEST_WEIGHT)]


TEMPERATURE = 4.0
"""The temperature of distillation by default."""


class Policy(BaseModel):
    """timm's augmentation of single images; the fields are arguments of `timm.data.create_transform`.

    A random crop of the share `scale` of the area is resized to the image's size and mirrored with probability `hflip`.
    Then `auto_augment` is applied, a policy of timm such as "rand-m9-mstd0.5" (RandAugment), "augmix-m3", "original" or
    "3a"; without one, or with "3a", brightness, contrast and saturation change by up to `color_jitter`. Last, a
    rectangle is erased with probability `re_prob`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    _plain = model_validator(mode="before")(plain_fields)

    auto_augment: str | None = None
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(le=1)]] = (0.5, 1.0)
    hflip: Share = 0.5
    color_jitter: Share = 0.4
    re_prob: Share = 0.0

    @field_validator("auto_augment")
    @classmethod
    def _known_policy(cls, policy: str | None) -> str | None:
        if policy is None:
            return policy
        from timm.data import create_transform
        from timm.data.auto_augment import rand_augment_choices

        # timm ignores a section without a number, and unknown operations of RandAugment (`t...`)
        name, *sections = policy.split("-")
        chosen = [each for each in sections if name == "rand" and each.startswith("t")]
        whole = all(any(map(str.isdecimal, each)) for each in sections if each not in chosen)
        whole &= all(rand_augment_choices(each[1:]) != rand_augment_choices("") for each in chosen)
        try:
            create_transform((3, 8, 8), is_training=True, auto_augment=policy)
        except (AssertionError, ValueError):  # timm's errors for a malformed policy
            whole = False
        if not whole:
            raise SpecError(
                f"augment = {policy!r} is not allowed; allowed are {', '.join(PLAIN)}, timm, and timm's policies, such "
                "as rand-m9-mstd0.5, augmix-m3, original, v0 or 3a"
            )
        return policy

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise SpecError(f"scale = {scale} is not allowed; allowed are a smallest and a largest share, from 0 to 1")
        return scale

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.model_dump(exclude_none=True).items())


def _kind(augment: Any) -> str:
    return "timm" if isinstance(augment, Policy | dict) else "plain"


class Recipe(BaseModel):
    """A training recipe. The defaults train small networks on small images in few epochs.

    `optimizer` is any of timm's by name. Biases, norms, single numbers and parameters that the module's
    `no_weight_decay()` names have no weight decay. The learning rate is set before every update: linear warm-up, then
    `schedule`; "wsd" (warm-up, stable, decay) is constant until it falls linearly over the last `decay` of the steps (a
    share, 0.25 by default), so that before it the length of the training has no effect. `clip_grad` bounds the norm of
    the gradient. `ema` is the decay of averaged weights (ramped up over the first steps), which are then scored.
    `layer_decay` multiplies the rate of each layer by this once more for every layer behind it, as timm groups them, so
    that layers with weights from before change less the nearer they are to the image. `augment` shifts each image by up
    to an eighth of its side, repeating its edge; "shift_flip" also mirrors half of them; "timm", a policy of timm such
    as "rand-m9-mstd0.5", or a `Policy` is timm's augmentation, for images of 1 or 3 channels. `mixup` is the alpha of
    the Beta distribution by which the images and labels of a batch are blended. `class_weights` weight the classes in
    the loss, or the images that have a label: one number for each, or "balanced", in inverse proportion to their
    images. With `sampling` "balanced" an epoch draws as many images of each class, with replacement, on average.
    Of networks that start from weights: `new_rate` multiplies the rate of new parameters, those of grafts and of a new
    classifier. `freeze` names a layer, such as "layer2" or "blocks.5", up to which parameters with weights from before
    do not change, by timm's groups of layers; modules without other parameters run in evaluation mode, so that batch
    norms keep their averages and nothing is dropped. `distill` is the share of the loss that comes from the logits of
    the parent, both softened by `temperature` (`hadnas.train.tuning`); the parent must have been trained for
    these classes, which it sees as the module does, augmented and mixed.
    `amp`: "auto" is bfloat16 autocast on CUDA devices that have it, and off on a CPU; weights and validation stay
    float32. `channels_last`: "auto" is on with autocast and on a CPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    _plain = model_validator(mode="before")(plain_fields)

    epochs: int = Field(default=10, ge=1, le=COUNT)
    batch: int = Field(default=64, ge=2, le=COUNT)
    optimizer: str = "adamw"
    lr: float = Field(default=4e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    decay: float | None = Field(default=None, gt=0, le=1, exclude_if=lambda decay: decay is None)
    layer_decay: float | None = Field(default=None, gt=0, le=1, exclude_if=lambda decay: decay is None)
    new_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False, exclude_if=lambda rate: rate is None)
    freeze: str | None = Field(default=None, min_length=1, exclude_if=lambda layer: layer is None)
    distill: float | None = Field(default=None, gt=0, le=1, exclude_if=lambda share: share is None)
    temperature: float = Field(
        default=TEMPERATURE, gt=0, allow_inf_nan=False, exclude_if=lambda value: value == TEMPERATURE
    )
    warmup_epochs: int = Field(default=1, ge=0, le=COUNT)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    clip_grad: float | None = Field(default=1.0, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    augment: Annotated[Annotated[Plain, Tag("plain")] | Annotated[Policy, Tag("timm")], Discriminator(_kind)] = "none"
    mixup: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    class_weights: Literal["balanced"] | tuple[Weight, ...] | None = Field(
        default=None, exclude_if=lambda weights: weights is None
    )
    sampling: Literal["shuffled", "balanced"] = Field(default="shuffled", exclude_if=lambda name: name == "shuffled")
    amp: Literal["auto", "bf16", "off"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"

    @property
    def evaluation_batch(self) -> int:
        """Images that are scored at once: two batches without gradients need no more memory than training on one."""
        return 2 * self.batch

    @property
    def of_weights(self) -> dict[str, Any]:
        """The settings that are for networks which start from weights, as far as they are set."""
        settings = {"new_rate": self.new_rate, "freeze": self.freeze, "distill": self.distill}
        return {name: value for name, value in settings.items() if value is not None}

    @model_validator(mode="after")
    def _temperature_of_distill(self) -> Self:
        if self.temperature != TEMPERATURE and self.distill is None:
            raise SpecError(f"temperature = {self.temperature} is not allowed without distill, whose logits it softens")
        return self

    @model_validator(mode="after")
    def _decay_of_wsd(self) -> Self:
        if self.decay is not None and self.schedule != "wsd":
            raise SpecError(f"decay = {self.decay} is not allowed with the schedule {self.schedule}; allowed is wsd")
        return self

    @field_validator("class_weights", mode="before")
    @classmethod
    def _fitting_weights(cls, weights: Any) -> Any:
        for weight in weights if isinstance(weights, list | tuple) else ():
            if not (isinstance(weight, int | float) and 0 < weight <= LARGEST_WEIGHT):
                allowed = f"numbers above 0 and up to {LARGEST_WEIGHT:g}, one for each class, or 'balanced'"
                raise SpecError(f"class_weights has {weight!r}; allowed are {allowed}")
        return weights

    @field_validator("augment", mode="before")
    @classmethod
    def _policy_by_name(cls, augment: Any) -> Any:
        if not isinstance(augment, str) or augment in PLAIN:
            return augment
        return {} if augment == "timm" else {"auto_augment": augment}

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, name: str) -> str:
        if name in {"adamw", "sgd", "lamb", "lion"}:  # spares the import of timm
            return name
        from timm.optim import list_optimizers

        if name not in (names := list_optimizers()):
            raise unknown("optimizer", name, names)
        return name
