"""The loss of a target: cross-entropy for classes, binary cross-entropy for labels, Huber's for values.

A network of values is trained on standardised ones (mean 0, standard deviation 1 over the training split), so that one
learning rate fits any unit. Scores are in the data's own units, and so are the outputs of the trained network.
"""

import numpy as np
import torch
import torch.nn.functional as F
from timm.data import Mixup
from torch import Tensor, nn

from hadnas.errors import SpecError, TrainingError
from hadnas.inputs import Inputs
from hadnas.measure.copies import copied
from hadnas.train.data.spec import Data
from hadnas.train.recipe import Recipe


class Loss:
    """The mean loss of a batch of outputs (B, K) and targets, by a recipe or, without one, plain as for validation.

    Targets are those of the data, (B,) or (B, K), or for classes the shares (B, K) that mixup gives. `class_weights` of
    the recipe weight classes as torch does; of labels they weight the images that have one. Source of Huber's: Huber,
    Robust Estimation of a Location Parameter, 1964; delta is one standard deviation.

    Raises SpecError for settings of the recipe that do not fit the target.
    """

    def __init__(self, data: Data, recipe: Recipe | None = None, device: torch.device | str = "cpu") -> None:
        self.data, self.device = data, device
        self.kind, self.outputs = data.target, data.classes
        self.smoothing = 0.0 if recipe is None else recipe.label_smoothing
        self.mixup = 0.0 if recipe is None else recipe.mixup
        chosen = None if recipe is None else recipe.class_weights
        if self.kind == "values" and (chosen is not None or self.smoothing):
            found = "class_weights" if chosen is not None else "label_smoothing"
            raise SpecError(f"recipe: {found} is not allowed for a target of values; it is for classes and labels")
        if recipe is not None and recipe.sampling == "balanced" and self.kind != "classes":
            raise SpecError(f"recipe: sampling = 'balanced' is not allowed for {self.kind}; it is for classes")
        weights = None if chosen is None else _weights(data) if chosen == "balanced" else torch.tensor(chosen)
        if weights is not None and len(weights) != self.outputs:
            raise SpecError(
                f"recipe: class_weights has {len(weights)} numbers; allowed is one for each of {self.outputs}"
                f" {self.kind}, or 'balanced'"
            )
        self.weights = None if weights is None else weights.float().to(device)
        self.mean = torch.tensor(data.target_mean, device=device)
        self.std = torch.tensor(data.target_std, device=device)
        self._mixup = Mixup(self.mixup, label_smoothing=self.smoothing, num_classes=self.outputs)

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        if self.kind == "classes":
            smoothing = self.smoothing if target.ndim == 1 else 0.0  # mixup has smoothed its shares
            return F.cross_entropy(outputs, target, self.weights, label_smoothing=smoothing)
        if self.kind == "labels":
            smooth = target * (1 - self.smoothing) + self.smoothing / 2
            return F.binary_cross_entropy_with_logits(outputs.float(), smooth, pos_weight=self.weights)
        return F.huber_loss(outputs.float(), self.standardised(target))

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over a batch of what a call gives the mean of; here outputs are values in the data's own units."""
        if self.kind == "classes":
            return F.cross_entropy(outputs, targets, self.weights, reduction="sum")
        return len(outputs) * self(self.standardised(outputs) if self.kind == "values" else outputs, targets)

    def in_own_units(self, network: nn.Module) -> nn.Module:
        """The network in training, as one that gives the data's own units."""
        return _OwnUnits(network, self) if self.kind == "values" else network

    def settle(self, network: nn.Module) -> None:
        """Change a trained network so that it gives the data's own units itself; nothing unless it has values."""
        if self.kind == "values":
            rescale(network, self.mean, self.std)

    def unsettle(self, network: nn.Module) -> None:
        """Undo `settle`, to train on."""
        if self.kind == "values":
            rescale(network, -self.mean / self.std, 1 / self.std)

    def check(self, network: nn.Module) -> None:
        """Raise TrainingError unless `settle` works for this network, tried on a copy and two validation images."""
        if self.kind != "values":
            return
        inputs, _ = next(self.data.val.batches(2, self.device))
        twin = copied(network).eval()
        with torch.inference_mode():
            expected = self.in_own_units(twin)(*inputs)
            self.settle(twin)
            found = twin(*inputs)
        size = self.mean.abs() + self.std + expected.abs()
        if not bool(((found - expected).abs() <= 1e-3 * size).all()):
            raise TrainingError(
                "the network's outputs are not those of its last layer, so they cannot be given in the data's own "
                "units; allowed is a network that ends in a linear layer"
            )

    def standardised(self, values: Tensor) -> Tensor:
        """Values in the data's own units to mean 0 and standard deviation 1 over the training split."""
        return (values - self.mean) / self.std

    def mixed(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """A batch of mixup, of even length: images and targets blended with those in reverse order."""
        (images,) = inputs
        even = len(images) // 2 * 2
        images, targets = images[:even], targets[:even]
        if self.kind == "classes":
            images, targets = self._mixup(images, targets)
            return (images,), targets
        share = float(np.random.beta(self.mixup, self.mixup))  # as timm's, which is for classes alone
        return (images.lerp(images.flip(0), 1 - share),), targets.lerp(targets.flip(0), 1 - share)


def _weights(data: Data) -> Tensor:
    """N / (K n) for a class with n of N images, as scikit-learn's "balanced"; for a label, images without over with."""
    labels = data.train.labels
    if data.target == "classes":
        return len(labels) / (data.classes * torch.bincount(labels, minlength=data.classes).double())
    return (len(labels) - labels.sum(0)) / labels.sum(0)


class _OwnUnits(nn.Module):
    """A network of standardised values, in the data's own units."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.train(network.training)

    def forward(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self.network(*inputs) * self.loss.std + self.loss.mean
        return found


@torch.no_grad()
def rescale(network: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Change the weights of a network so that it gives `y * std + mean` for each of its outputs y.

    Its last layer computes them, so the change is that layer's, and nothing is added to the network. Raises
    TrainingError for a network that does not end in a layer with a weight and a bias for each output.
    """
    named = getattr(network, "get_classifier", None)  # of timm, and of hadnas's own hosts
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    last = named() if named is not None else linear[-1] if linear else None
    for layer in last if isinstance(last, tuple | list) else (last,):  # timm's distilled networks have two
        if not isinstance(layer, nn.Linear | nn.Conv2d) or layer.bias is None or len(layer.bias) != len(mean):
            raise TrainingError(
                f"the network ({type(network).__name__}) does not end in a linear layer with a bias and {len(mean)} "
                "outputs, which values need"
            )
        layer.weight.mul_(std.view(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.mul_(std).add_(mean)
