"""From an architecture to a module, fresh or with weights from a file."""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hadnas.arch.node import Arch
from hadnas.arch.task import Task
from hadnas.errors import ARCHITECTURE, BuildError, SpecError, StudyError, check_kind
from hadnas.hosts.graft.weights import CLASS_NAMES, TRAINING_IMAGES, unlike
from hadnas.hosts.host import Plan, make_plan
from hadnas.limits import check_memory
from hadnas.paths import sha256_of


def build(arch: Arch, task: Task, *, device: Any = None, dtype: Any = None, **timm_arguments: Any) -> nn.Module:
    """The module of `arch` for `task`, freshly initialised from torch's global generator.

    `timm_arguments` are those of `timm.create_model`: features_only, out_indices, num_classes, global_pool.
    Raises SpecError if `arch` does not fit `task`, BuildError if a constructor fails.
    """
    check_kind(arch, (Arch, dict), "arch", ARCHITECTURE)
    return build_plan(make_plan(arch, task), device=device, dtype=dtype, **timm_arguments)


def build_plan(
    plan: Plan, *, device: Any = None, dtype: Any = None, start: bool = True, **timm_arguments: Any
) -> nn.Module:
    """The module of a plan, without `start` never with the weights it would start from; otherwise as `build`."""
    return plan.host.build(plan, device, dtype, start=start, **timm_arguments)


def parts(plan: Plan) -> list[tuple[Hashable, Callable[[], nn.Module]]]:
    """The parts of the network, one after another: key and constructor, which gives it on the meta device."""
    return [(call.key, partial(plan.host.part, plan, call)) for call in plan.host.parts(plan)]


def check_size(plan: Plan) -> None:
    """Raise MachineError if the weights of a network do not fit into this machine's memory."""
    with suppress(BuildError):  # some of timm's cannot be built on the meta device; building reports other errors
        network = build_plan(plan, device="meta")
        check_memory(sum(tensor.nbytes for tensor in network.parameters()), "the network's weights")


def trained(plan: Plan, weights: Path) -> nn.Module:
    """The module of a plan with the weights of a .safetensors file, in eval mode.

    Raises StudyError if there is no such file, SpecError if it does not fit.
    """
    if not weights.is_file():
        raise StudyError(f"there is no file {weights}")
    network = build_plan(plan, start=False)
    try:
        loaded = load_file(weights)
    except Exception as error:
        raise SpecError(f"{weights} is not a .safetensors file: {error}") from error
    if difference := unlike(network, loaded):
        raise SpecError(f"{weights} does not fit the architecture {difference}")
    network.load_state_dict(loaded)
    return network.eval()


def save_weights(
    network: nn.Module,
    path: Path,
    class_names: Sequence[str] = (),
    images: Mapping[str, Any] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> str:
    """Write the weights to a file for `trained`, whole or not at all, and return its `sha256_of`.

    Weights with two names in the network are written twice. The metadata have, as JSON, the class names in the order of
    the logits, and of the images of its training `mean`, `std` and `shape`. `beside` are further tensors by name.
    Raises StudyError if the file cannot be written.
    """
    half = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.unlink(missing_ok=True)  # a link there would be followed
        known = {CLASS_NAMES: list(class_names), TRAINING_IMAGES: images}
        metadata = {key: json.dumps(value) for key, value in known.items() if value} or None
        own = {**network.state_dict(), **(beside or {})}
        tensors = {key: value.cpu().contiguous().clone() for key, value in own.items()}
        save_file(tensors, half, metadata)
        written = sha256_of(half)
        half.replace(path)
        return written
    except (OSError, SafetensorError) as error:  # a full disk raises either
        half.unlink(missing_ok=True)
        raise StudyError(f"{path} cannot be written: {error}") from error


def build_seeded(plan: Plan, seed: int) -> nn.Module:
    """The module of a plan with the initial weights that `seed` gives it; torch's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_plan(plan)
