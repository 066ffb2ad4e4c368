"""Search within your own training loop: a backbone for segmentation, in plain Optuna, with MLflow.

    python docs/segmentation.py              # 12 trials, then `hadnas ui` shows them
    python docs/segmentation.py --trials 40

Discs, frames and stripes are drawn on noise, and every pixel is classified. The backbone is a network of the search
space `hadabench`, as a pyramid of features (timm's `features_only`); decoder, training and score are this file's.
Machine: 2 CPU cores, under two minutes.
"""

import argparse
from typing import Any

import optuna
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hadnas

SIDE, CLASSES = 24, 4
TASK = hadnas.Task.image(1, SIDE, SIDE, classes=CLASSES)
SPACE = hadnas.load("search_spaces/hadabench")
OBJECTIVES = {"val/iou": "maximize", "macs": "minimize"}


class Segmenter(nn.Module):
    """(B, 1, H, W) -> (B, CLASSES, H, W): the features of every stage, brought to one size and added."""

    def __init__(self, backbone: Any, width: int = 16) -> None:
        super().__init__()
        self.backbone = backbone
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in backbone.feature_info.channels())
        self.head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, CLASSES, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        maps = [conv(features) for conv, features in zip(self.lateral, self.backbone(x), strict=True)]
        sized = [F.interpolate(one, size=x.shape[-2:], mode="bilinear") for one in maps]
        return self.head(torch.stack(sized).sum(dim=0))


def shapes(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, 1, SIDE, SIDE) and the class of every pixel (N, SIDE, SIDE); later shapes cover earlier ones."""
    labels = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for kind in range(1, CLASSES):
        centre = torch.randint(6, SIDE - 6, (2, count, 1, 1), generator=generator)
        radius = torch.randint(3, 7, (count, 1, 1), generator=generator)
        down, across = (rows - centre[0]).abs(), (columns - centre[1]).abs()
        reach = torch.maximum(down, across)
        disc = down**2 + across**2 <= radius**2
        frame = reach == radius
        stripes = (reach <= radius) & ((rows + columns) % 3 == 0)
        labels = torch.where((disc, frame, stripes)[kind - 1], kind, labels)
    brightness = torch.rand(count, 1, 1, generator=generator) + 0.5
    images = (labels > 0) * brightness + 0.3 * torch.randn(count, SIDE, SIDE, generator=generator)
    return images.unsqueeze(1), labels


def mean_iou(logits: Tensor, labels: Tensor) -> float:
    """Intersection over union of the shapes, a mean over their classes."""
    found = logits.argmax(dim=1)
    each = [((found == k) & (labels == k)).sum() / ((found == k) | (labels == k)).sum() for k in range(1, CLASSES)]
    return float(torch.stack(each).mean())


def train(network: nn.Module, steps: int = 150, batch: int = 32) -> float:
    """Train on fresh images and return the mean IoU on 500 others."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        images, labels = shapes(batch, generator)
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    network.eval()
    images, labels = shapes(500, torch.Generator().manual_seed(1))
    with torch.no_grad():
        return mean_iou(network(images), labels)


def objective(trial: optuna.Trial) -> tuple[float, float]:
    arch = hadnas.suggest(trial, SPACE, TASK)
    torch.manual_seed(0)
    iou = train(Segmenter(hadnas.build(arch, TASK, features_only=True)))
    hadnas.log_trial(trial, arch, TASK, {"val/iou": iou})
    return iou, hadnas.cost(hadnas.build(arch, TASK, device="meta"), TASK.shape).macs  # the decoder's are always alike


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    study = optuna.create_study(
        study_name="segmentation",
        directions=list(OBJECTIVES.values()),
        sampler=hadnas.SurrogateSampler(hadnas.prospects(SPACE, TASK, OBJECTIVES), seed=0),
    )
    study.optimize(objective, n_trials=parser.parse_args().trials)
    for trial in study.best_trials:
        print(f"trial {trial.number}: mean IoU {trial.values[0]:.3f} at {trial.values[1]:,.0f} MACs")
