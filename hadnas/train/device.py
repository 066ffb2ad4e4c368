"""The device of a name on this machine, and its failures."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hadnas.errors import MachineError, SpecError
from hadnas.train.recipe import Recipe


def chosen_device(name: str) -> str:
    """`name`; for "auto" CUDA if this machine has it, else the CPU. Raises SpecError for a device it lacks."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    here = ["cpu", "cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    allowed = here if torch.cuda.is_available() else ["cpu"]
    if name not in allowed:
        raise SpecError(f"device {name!r} is not on this machine; allowed are auto, {', '.join(allowed)}")
    return name


def training_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """The dtype of activations: bfloat16 under autocast, else float32."""
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    bf16 = recipe.amp == "bf16" or (recipe.amp == "auto" and supported)
    return torch.bfloat16 if bf16 else torch.float32


_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
_BROKEN = ("CUDA error", "DataLoader worker", "Too many open files")


@contextmanager
def machine_errors() -> Iterator[None]:
    """Raise torch's several errors for a failure of the machine as MachineError."""
    try:
        yield
    except OSError as error:  # no memory or files for the processes that read images
        raise MachineError(f"{type(error).__name__}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in said for words in _OUT_OF_MEMORY):
            raise MachineError(f"out of memory: {said}") from error
        if any(words in said for words in _BROKEN):
            raise MachineError(said.partition("\n")[0]) from error
        raise
