"""Distillation: a module in training also learns from the logits of its parent."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadnas.inputs import Inputs


class Distillation:
    """The loss of a batch of images with the share of a teacher's logits.

    loss = (1 - w) * loss of the targets + w * T^2 * KL(softmax(t / T) || softmax(y / T))

    t the teacher's logits of the same images, y the module's, w the weight and T the temperature. The teacher is in
    evaluation mode and is not trained.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015, arXiv 1503.02531, section 2.
    """

    def __init__(self, teacher: nn.Module, weight: float, temperature: float) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.weight, self.temperature = weight, temperature

    def __call__(self, loss: Tensor, inputs: Inputs, logits: Tensor) -> Tensor:
        """The loss of the targets (a scalar), inputs (B, ...) and logits (B, K) -> a scalar."""
        with torch.no_grad():
            target = self.teacher(*inputs).float() / self.temperature
        student = F.log_softmax(logits.float() / self.temperature, 1)
        far = F.kl_div(student, F.log_softmax(target, 1), reduction="batchmean", log_target=True)
        return (1 - self.weight) * loss + self.weight * self.temperature**2 * far
