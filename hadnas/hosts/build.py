"""From an architecture to a module, through timm's own builder."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models import build_model_with_cfg
from torch import nn

from hadnas.arch.node import Arch
from hadnas.arch.read import Call, Place, lower, resized
from hadnas.arch.task import Task
from hadnas.errors import BuildError, HadnasError, SpecError, StudyError, first_line
from hadnas.limits import check_memory


def build(arch: Arch, task: Task, *, device: Any = None, dtype: Any = None, **timm_arguments: Any) -> nn.Module:
    """The module of `arch` for `task`, freshly initialised from torch's global generator.

    `timm_arguments` are those of `timm.create_model`: features_only, out_indices, num_classes, global_pool.
    Raises SpecError if `arch` does not fit `task`, BuildError if a constructor fails.
    """
    call = lower(arch, task)
    if not isinstance(call.cls, type):  # a function builds the network by itself, as timm's own
        if timm_arguments:
            raise SpecError(
                f"{sorted(timm_arguments)} are of hadnas's own hosts; give them to timm.create_model itself"
            )
        network: nn.Module = instantiate(call, call.op, device, dtype)
        return network
    parts = {name: instantiate(value, name, device, dtype) for name, value in call.kwargs.items()}
    stages = len(call.kwargs["stages"])
    try:
        model: nn.Module = build_model_with_cfg(
            call.cls,
            f"hadnas_{arch.fingerprint}",
            pretrained=False,
            pretrained_cfg=timm_config(arch, task),
            feature_cfg={"out_indices": tuple(range(stages)), "flatten_sequential": True},
            **{**parts, **timm_arguments},
            device=device,
            dtype=dtype,
        )
    except HadnasError:
        raise
    except Exception as error:  # a stem or head of one's own that lacks what a host asks for
        raise BuildError(f"{call.op} cannot be built: {type(error).__name__}: {first_line(error)}") from error
    return model


def check_size(arch: Arch, task: Task) -> None:
    """Raise MachineError where the weights of `arch` do not fit into this machine's memory."""
    with suppress(BuildError):  # of timm's, some cannot be built without weights; what else is wrong, building says
        network = build(arch, task, device="meta")
        check_memory(sum(tensor.nbytes for tensor in network.parameters()), "the network's weights")


def trained(arch: Arch, task: Task, weights: Path) -> nn.Module:
    """The module of `arch` for `task` with the weights of a .safetensors file, in eval mode.

    Raises StudyError where there is no such file, SpecError where it does not fit.
    """
    if not weights.is_file():
        raise StudyError(f"there is no file {weights}")
    network = build(arch, task)
    try:
        held = load_file(weights)
    except Exception as error:
        raise SpecError(f"{weights} is no file of weights: {error}") from error
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in held.items()}
    if unlike := [key for key in {**own, **found} if own.get(key) != found.get(key)]:
        first = unlike[0]
        raise SpecError(
            f"{weights} does not fit the architecture in {len(unlike)} of {len({**own, **found})} tensors: {first} is "
            f"{found.get(first, 'missing')}; allowed is {own.get(first, 'no tensor of this name')}"
        )
    network.load_state_dict(held)
    return network.eval()


def save_weights(network: nn.Module, path: Path, class_names: Sequence[str] = ()) -> str:
    """Write what `trained` reads, whole or not at all, and return the `sha256_of` the file.

    Weights that a network holds under two names are written twice. The names of the classes, in the order of the
    logits, go into the metadata as a JSON list. Raises StudyError where the file cannot be written.
    """
    half = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"class_names": json.dumps(list(class_names))} if class_names else None
        save_file({key: value.cpu().contiguous().clone() for key, value in network.state_dict().items()}, half, said)
        written = sha256_of(half)
        half.replace(path)
        return written
    except (OSError, SafetensorError) as error:  # a disk that is full is told by either
        half.unlink(missing_ok=True)
        raise StudyError(f"{path} cannot be written: {error}") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_seeded(arch: Arch, task: Task, seed: int) -> nn.Module:
    """The module of `arch` with the initial weights that `seed` gives it; torch's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, task)


Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, of pixels scaled to 0..1."""


def normalisation(moments: Moments | None, mean: str, std: str) -> str:
    """A sentence: what is done to images, in names of code; without moments, that nothing is known of it."""
    if moments is None:
        return f"How images are to be normalised is not known here: {mean} and {std} are stand-ins."
    return f"Images are pixels scaled to 0..1, minus {mean}, over {std}."


def timm_config(
    arch: Arch, task: Task, moments: Moments | None = None, class_names: Sequence[str] = ()
) -> dict[str, Any]:
    """The default configuration that timm keeps with a network.

    `moments` are what its images are normalised with, `class_names` are in the order of the logits, () if not known.
    """
    channels, height, width = task.shape
    size: tuple[int, int] | None = (height, width)
    for node in (arch.node["stem"], *(stage["down"] for stage in arch.node["stages"] if stage["down"])):
        size = resized(node, Place(channels, channels, size, task.outputs), node["op"])
    mean, std = moments or ((0.5,) * channels, (0.5,) * channels)
    return {
        "architecture": f"hadnas_{arch.fingerprint}",
        "num_classes": task.outputs,
        "input_size": (channels, height, width),
        "pool_size": size,
        "fixed_input_size": False,
        # as hadnas reads images: none of the border is cut off, and folders are resized bilinearly
        "crop_pct": 1.0,
        "crop_mode": "center",
        "interpolation": "bilinear",
        "first_conv": "stem.conv",
        "classifier": "head.fc",
        "mean": mean,
        "std": std,
        **({"label_names": tuple(class_names)} if class_names else {}),
    }


def instantiate(value: Any, path: str, device: Any = None, dtype: Any = None) -> Any:
    """Run a tree of calls, children first; plain values stay. Raises BuildError with the path of the failing call."""
    if isinstance(value, list):
        return [instantiate(item, f"{path}.{index}", device, dtype) for index, item in enumerate(value)]
    if not isinstance(value, Call):
        return value
    kwargs = {name: instantiate(item, f"{path}.{name}", device, dtype) for name, item in value.kwargs.items()}
    try:
        return value.cls(*value.args, **kwargs, device=device, dtype=dtype)
    except HadnasError:
        raise
    except Exception as error:
        raise BuildError(f"{path}: {value.op} cannot be built: {type(error).__name__}: {first_line(error)}") from error
