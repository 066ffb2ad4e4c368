"""The device that a name means on this machine."""

import torch

from hadnas.errors import SpecError


def chosen_device(name: str) -> str:
    """`name`, or for "auto" CUDA where there is one, else the CPU. Raises SpecError for a device this machine lacks."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    here = ["cpu", "cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    allowed = here if torch.cuda.is_available() else ["cpu"]
    if name not in allowed:
        raise SpecError(f"device {name!r} is not on this machine; allowed are auto, {', '.join(allowed)}")
    return name
