"""The effect of each product in a trained network: the size of its contribution, and the metric lost without it.

A learned scale does not show the effect, since the weights of the branches absorb it; so outputs with and without a
product are compared.
"""

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from hadnas.blocks.product import Product
from hadnas.blocks.residual import Residual
from hadnas.errors import MeasurementError
from hadnas.inputs import Inputs, shapes_text
from hadnas.limits import WIDTH
from hadnas.measure.cost import evaluation
from hadnas.measure.counter import ProductFinder, following
from hadnas.measure.metrics.metric import DEFAULT_METRIC, METRICS, find_metric, missing, predictions
from hadnas.targets import TargetKind
from hadnas.train.score import EVALUATION_BATCH


@dataclass(frozen=True)
class ProductEffect:
    """The effect of one element-wise product of two activations.

    path: the sub-module that computes it, the `index`-th product there (from 0).
    node: the residual node around it, or that sub-module if there is none.
    ratio: RMS of the product's contribution to the output of `node`, over RMS of that output with the product set to
        zero. The product merge loses its whole second-order term, so there it is RMS(alpha norm(P(ab))) / RMS(a + b).
        The highway merge, b + g (a - b), becomes its branch b.
    metric: what is compared, such as "accuracy".
    whole, without: the metric on the `n` images of the network as it is, and with the product set to zero.
    """

    path: str
    index: int
    node: str
    ratio: float
    metric: str
    whole: float
    without: float
    n: int

    @property
    def name(self) -> str:
        """`path`, with the index of a further product there."""
        return f"{self.path} [{self.index}]" if self.index else self.path

    @property
    def lost(self) -> float:
        """By how much the metric is worse without the product."""
        lost = self.whole - self.without
        return lost if METRICS[self.metric].direction == "maximize" else -lost


def product_effects(
    module: nn.Module,
    images: Tensor | Inputs,
    labels: Tensor,
    *,
    batch: int = EVALUATION_BATCH,
    target: TargetKind = "classes",
    metric: str = "",
) -> list[ProductEffect]:
    """The effect of every product of `module`, in the order of execution, on images (N, C, H, W) with their targets.

    A network of several inputs gets a tuple of them in place of `images`.
    `labels` are (N,), for a `target` of labels or values (N, K). `metric` is by default that of the target.

    The module runs in evaluation mode on the device of its weights, unchanged and once without each product, on
    `batch` images at once. A product inside an activation function (StarReLU is s relu(x)^2 + b) counts like any other.
    Raises MeasurementError without images, for a product inside a fused operation in place (addcmul_), or if `node`
    does not return a tensor.
    """
    inputs = (images,) if isinstance(images, Tensor) else images
    n = len(inputs[0])
    if n < 1 or any(len(one) != n for one in (*inputs, labels)) or (labels.ndim == 1) != (target == "classes"):
        found = f"images {shapes_text(inputs)} and labels {tuple(labels.shape)}"
        allowed = "(N,)" if target == "classes" else "(N, K)"
        raise MeasurementError(f"{found}; allowed are (N, C, H, W) and {allowed}, N >= 1")
    judge = find_metric(metric or DEFAULT_METRIC[target], target, labels.shape[1] if labels.ndim > 1 else WIDTH)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with evaluation(module), _unfused(module), torch.inference_mode():
        paths = _Run(module, tuple(one[:1].to(device) for one in inputs)).found
        sums = [_Sums(path, paths[:number].count(path), _node(module, path)) for number, path in enumerate(paths)]
        outputs: list[Tensor] = []
        for start in range(0, n, batch):
            x = tuple(one[start : start + batch].to(device) for one in inputs)
            whole = _Run(module, x, kept={each.node for each in sums})
            outputs.append(whole.logits.cpu())
            for number, each in enumerate(sums):
                less = _Run(module, x, zeroed=number, path=each.path, kept={each.node})
                rest = less.outputs[each.node].double()
                each.added += float((whole.outputs[each.node].double() - rest).square().sum())
                each.rest += float(rest.square().sum())
                each.logits.append(less.logits.cpu())

    def judged(found: list[Tensor]) -> float:
        predicted, truth = predictions(target, torch.cat(found).float().numpy()), labels.cpu().numpy()
        if judge.whole and missing(target, predicted.shape[1], truth) is not None:
            raise MeasurementError(f"{judge.name} is undefined on {len(truth)} images that lack a class or a label")
        return judge.of(predicted, truth)

    reached = judged(outputs)
    ratios = [(s.added / s.rest) ** 0.5 if s.rest else inf for s in sums]
    return [
        ProductEffect(s.path, s.index, s.node, ratio, judge.name, reached, judged(s.logits), n)
        for s, ratio in zip(sums, ratios, strict=True)
    ]


@contextmanager
def _unfused(module: nn.Module) -> Iterator[None]:
    """Runs LSTMs operation by operation: on a CPU oneDNN runs one as a whole, which hides its products."""
    if not any(isinstance(sub, nn.LSTM) for sub in module.modules()):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TF32, which is not used here
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@dataclass
class _Sums:
    """Sums over the images so far: squares of a product's contribution and of the rest, and outputs without it."""

    path: str
    index: int
    node: str
    added: float = 0.0
    rest: float = 0.0
    logits: list[Tensor] = field(default_factory=list)


def _node(module: nn.Module, path: str) -> str:
    """The innermost residual node around a sub-module, or the sub-module itself."""
    parts = path.split(".")
    around = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return next((p for p in reversed(around) if isinstance(module.get_submodule(p), Residual)), path)


class _Run:
    """A forward pass in which the product `zeroed` of the sub-module `path` may be set to zero.

    found: path of the sub-module that computes it, per product.  outputs: those of the sub-modules `kept`, by path.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Inputs,
        zeroed: int | None = None,
        path: str = "",
        kept: Collection[str] = (),
    ) -> None:
        merge = module.get_submodule(path) if zeroed is not None else None
        finder = ProductFinder(module, None if isinstance(merge, Product) else zeroed)
        self.outputs: dict[str, Tensor] = {}
        hooks = [module.get_submodule(each).register_forward_hook(self._keep(each)) for each in kept]
        if isinstance(merge, Product):  # a norm of zero is not zero, so its output is set to zero
            hooks.append(merge.norm.register_forward_hook(lambda norm, args, out: torch.zeros_like(out)))
        try:
            with following(module, finder), finder:
                for one in inputs:
                    finder.track(one, activation=True)
                self.logits: Tensor = module(*inputs)
        finally:
            for hook in hooks:
                hook.remove()
        self.found = finder.found

    def _keep(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(sub: nn.Module, args: Any, out: Any) -> None:
            first = out[0] if isinstance(out, tuple) and out else out  # a GRU returns its state, too
            if not isinstance(first, Tensor):
                raise MeasurementError(f"{path or 'the network'} returns {type(first).__name__}; allowed is a tensor")
            self.outputs[path] = first.clone()  # the next operation may be in place

        return hook
