"""Scores the trained networks of the finals under stress: noise and attacks on the test images, and pruning."""

import logging
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from hadnas.errors import SpecError
from hadnas.hosts.build import trained
from hadnas.hosts.host import Plan
from hadnas.hosts.narrow import narrowed
from hadnas.measure.cost import cost
from hadnas.search.evaluator import Evaluator
from hadnas.store.home import score_of
from hadnas.store.records import Training
from hadnas.track.weights import fetched_weights
from hadnas.train.score import score_module
from hadnas.train.stress.stress import Stress, score_under, without_small_weights


def score_stressed(
    stress: Stress, name: str, plan: Plan, trainings: Sequence[tuple[Evaluator, Training]]
) -> dict[str, int] | None:
    """Score each training of the network `name` under a stress, unless its score is stored, and return its size.

    The size is what remains: the parameters that are not 0, and the MACs, of the first training. None, with a warning,
    if the network has no hidden channels that can be removed.
    """
    size: dict[str, int] = {}
    for judge, training in trainings:
        place = score_of(training, judge.home, "test", str(stress))
        if size and place.exists():
            continue
        network = trained(plan, fetched_weights(training, judge.home))
        try:
            network = changed(stress, plan, network)[1]
        except SpecError as error:
            logging.getLogger(__name__).warning("%s under %s: %s", name, stress, error)
            return None
        if not size:
            counts = [int(torch.count_nonzero(one)) for one in network.parameters()]
            size = {"params": sum(counts), "macs": cost(network, *plan.task.shapes).macs}
        if not place.exists():
            scored = partial(score_under, stress) if stress.of_images else score_module
            batch = judge.study.recipe.evaluation_batch
            scored(network, judge.data, "test", batch=batch, device=judge.device).save(place)
    return size


def changed(stress: Stress, plan: Plan, network: nn.Module) -> tuple[Plan, nn.Module]:
    """The network after a stress that changes it, with its plan; as it was after one of images.

    Raises SpecError if no hidden channel can be removed.
    """
    if stress.kind == "channels":
        return narrowed(plan, network, stress.strength)
    return plan, without_small_weights(network, stress.strength) if stress.kind == "weights" else network
