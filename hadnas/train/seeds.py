"""Random draws that follow from a seed and leave every global generator as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch (of a CUDA `device`, too); put them back afterwards."""
    cuda = [device] if device is not None and device.type == "cuda" else []
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(cuda):
            torch.default_generator.manual_seed(seed)
            for one in cuda:
                with torch.cuda.device(one):
                    torch.cuda.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def global_generators(device: torch.device) -> dict[str, Any]:
    """The states of the global generators of Python, numpy and torch (of a CUDA `device`, too), as plain values."""
    numpy: Any = np.random.get_state()  # a tuple, the second item an array
    states: dict[str, Any] = {"python": random.getstate(), "numpy": (numpy[0], numpy[1].tolist(), *numpy[2:])}
    states["torch"] = torch.get_rng_state()
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


@contextmanager
def drawing_from(states: dict[str, Any], device: torch.device) -> Iterator[None]:
    """Use `states` (see `global_generators`) as the global ones; afterwards `states` has those that the body left."""
    before = global_generators(device)
    _set(states, device)
    try:
        yield
    finally:
        states.update(global_generators(device))
        _set(before, device)


def _set(states: dict[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def shuffled(labels: Tensor, generator: torch.Generator, *, balanced: bool) -> Tensor:
    """The places of N images in random order: each once or, if `balanced`, drawn with an equal share of each class."""
    if not balanced:
        return torch.randperm(len(labels), generator=generator)
    shares = 1 / torch.bincount(labels)[labels].double()
    return torch.multinomial(shares, len(labels), replacement=True, generator=generator)
