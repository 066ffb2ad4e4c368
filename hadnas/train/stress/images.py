"""Images under noise and attacks: changes of normalised images, within the range of pixels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hadnas.inputs import Inputs
from hadnas.train.data.spec import Data
from hadnas.train.loss import Loss
from hadnas.train.score import Change

PGD_STEPS = 10
"""Steps of the attack `pgd`; each is a quarter of its strength."""


class _Images:
    """Images of a data set, normalised by `(pixels - mean) / std`, of pixels that are scaled to 0..1 and remain there.

    The same images in the same batches get the same random numbers.
    """

    def __init__(self, data: Data, strength: float, device: torch.device | str) -> None:
        mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (data.mean, data.std))
        self.low, self.high = -mean / std, (1 - mean) / std
        self.reach = strength / std
        self.loss = Loss(data, device=device)
        self.generator = torch.Generator().manual_seed(0)  # on the CPU, so that it draws the same for every device

    def noisy(self, network: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        draws = torch.randn(x.shape, generator=self.generator).to(x.device)
        return self._within(x + self.reach * draws)

    def one_step(self, network: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        return self._within(x + self.reach * self._uphill(network, x, targets))

    def many_steps(self, network: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        start = 2 * torch.rand(x.shape, generator=self.generator).to(x.device) - 1
        found = self._within(x + self.reach * start)
        for _ in range(PGD_STEPS):
            found = found + self.reach / 4 * self._uphill(network, found, targets)
            found = self._within(torch.clamp(found, x - self.reach, x + self.reach))
        return found

    def _uphill(self, network: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """The signs of the gradient of the loss."""
        with torch.enable_grad():
            varied = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.loss.total(network(varied), targets), varied)
        return gradient.sign()

    def _within(self, x: Tensor) -> Tensor:
        return torch.clamp(x, self.low, self.high)


_CHANGES: dict[str, Callable[..., Tensor]] = {
    "noise": _Images.noisy,
    "fgsm": _Images.one_step,
    "pgd": _Images.many_steps,
}


def change_of(kind: str, data: Data, strength: float, device: torch.device | str) -> Change:
    """The change of one pass over the images of a split, of a kind of `hadnas.train.stress.stress.Stress`."""
    images, changed = _Images(data, strength, device), _CHANGES[kind]

    def change(network: nn.Module, inputs: Inputs, targets: Tensor) -> Inputs:
        return (changed(images, network, inputs[0], targets),)

    return change
