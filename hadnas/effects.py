"""What the products of a trained network do: how much each adds, and what the network loses without it.

A learned scale says nothing of this, as the weights of the branches absorb it; outputs with and without a product do.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hadnas.blocks.residual import Residual
from hadnas.errors import MeasurementError
from hadnas.measure.cost import ProductFinder, following

BATCH = 512


@dataclass(frozen=True)
class ProductEffect:
    """The effect of one element-wise product of two activations.

    path: the sub-module that computes it, the `index`-th product there (from 0).
    node: the residual node around it, or that sub-module where there is none.
    ratio: RMS of what the product adds to the output of `node`, over RMS of that output with the product set to zero;
        for the merge a + b + alpha P(ab) this is RMS(alpha P(ab)) / RMS(a + b).
    accuracy, without: share of the `n` images recognised by the network as it is, and with the product set to zero.
    """

    path: str
    index: int
    node: str
    ratio: float
    accuracy: float
    without: float
    n: int

    @property
    def lost(self) -> float:
        """Accuracy lost with the product."""
        return self.accuracy - self.without


def product_effects(module: nn.Module, images: Tensor, labels: Tensor) -> list[ProductEffect]:
    """The effect of every product of `module`, in the order of execution, on images (N, C, H, W) with labels (N,).

    The module is run in evaluation mode, once for each product and batch, where its weights are; images are moved
    there. A product inside an activation function (StarReLU is s relu(x)^2 + b) counts as any other. Raises
    MeasurementError where there are no images, or for a product inside a fused operation in place (addcmul_).
    """
    if len(images) < 1 or labels.shape != images.shape[:1]:
        raise MeasurementError(f"images {tuple(images.shape)} and labels {tuple(labels.shape)}: (N, C, H, W) and (N,)")
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    training = [(sub, sub.training) for sub in module.modules()]
    module.eval()
    try:
        with torch.inference_mode():
            parts = zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True)
            batches = [(x.to(device), y.to(device)) for x, y in parts]
            found = _Run(module, batches[0][0][:1]).found
            right = sum(int((module(x).argmax(1) == y).sum()) for x, y in batches)
            return [_effect(module, batches, found, number, right) for number in range(len(found))]
    finally:
        for sub, mode in training:
            sub.training = mode


def _effect(
    module: nn.Module, batches: list[tuple[Tensor, Tensor]], found: list[str], number: int, right: int
) -> ProductEffect:
    path, index = found[number], found[:number].count(found[number])
    node = _node(module, path)
    added = rest = 0.0
    without = 0
    for x, y in batches:
        full, less = _Run(module, x, node=node), _Run(module, x, number, node)
        added += float((full.output - less.output).square().sum())
        rest += float(less.output.square().sum())
        without += int((less.logits.argmax(1) == y).sum())
    n = sum(len(y) for _, y in batches)
    ratio = (added / rest) ** 0.5 if rest else float("inf")
    return ProductEffect(path, index, node, ratio, right / n, without / n, n)


def _node(module: nn.Module, path: str) -> str:
    """The innermost residual node around a sub-module, or the sub-module itself."""
    parts = path.split(".")
    around = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return next((p for p in reversed(around) if isinstance(module.get_submodule(p), Residual)), path)


class _Run:
    """A forward pass in which a product may be set to zero and the output of one sub-module is kept."""

    def __init__(self, module: nn.Module, images: Tensor, zeroed: int | None = None, node: str = "") -> None:
        finder = ProductFinder(module, zeroed)
        kept: list[Tensor] = []
        hook = module.get_submodule(node).register_forward_hook(lambda sub, args, out: kept.append(out))
        try:
            with following(module, finder), finder:
                finder.hold(images, activation=True)
                self.logits: Tensor = module(images)
        finally:
            hook.remove()
        self.output = kept[0].double()
        self.found = finder.found
