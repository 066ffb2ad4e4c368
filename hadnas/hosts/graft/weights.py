"""The weights that a timm network starts from: timm's own, those of a file, or none.

In a completed architecture a file is named with the first 16 digits of its SHA-256, as
`parent.safetensors#0123456789abcdef`, so that other weights make another architecture, and another training.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import timm
from timm.models import is_model_pretrained, load_state_dict
from torch import Tensor, nn

from hadnas.errors import HadnasError, SpecError, StudyError, first_line
from hadnas.paths import as_path

PRETRAINED = "pretrained"
_HASHED = re.compile(r"(.+)#([0-9a-f]{16})")


def named_weights(model: str, weights: str | None) -> str | None:
    """The name of weights in a completed architecture.

    Raises SpecError for a model without pretrained weights, and for a file that does not exist.
    """
    if weights is None or weights == "none":
        return None
    if weights == PRETRAINED:
        if not is_model_pretrained(model):
            raise SpecError(f"weights = {PRETRAINED!r}: timm has none of {model}; allowed are None and a file")
        return weights
    return weights if _HASHED.fullmatch(weights) else f"{weights}#{_hash(weights)}"


def _hash(name: str) -> str:
    path = as_path(name)
    if not path.is_file():
        raise SpecError(f"weights = {name!r}: there is no such file; allowed are None, {PRETRAINED!r} and a file")
    stat = path.stat()
    return _hash_of(path.absolute(), stat.st_mtime_ns, stat.st_size)


@cache
def _hash_of(path: Path, _time: int, _size: int) -> str:
    """Read once for each state of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def started(model: str, weights: str, arguments: dict[str, Any]) -> nn.Module:
    """A timm network with weights, adapted to its channels and classes as timm does; other layers are fresh.

    arguments  of `timm.create_model`

    Raises StudyError if the weights cannot be read or do not fit.
    """
    overlay: dict[str, Any] = {}
    if weights != PRETRAINED:
        state, name = _read(weights), weights.rpartition("#")[0]
        overlay = _described(model, state, name)
    with _clear(model, weights):
        network: nn.Module = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    cfg, known = timm.get_pretrained_cfg(model), cast(dict[str, Any], network.pretrained_cfg)
    for key in overlay:  # those of the file, its tensors among them, stay no longer with the network
        known[key] = getattr(cfg, key, None)
    return network


def check_weights(model: str, weights: str, arguments: dict[str, Any]) -> None:
    """Raise StudyError unless weights can be read and fit a model tensor by tensor."""
    if weights == PRETRAINED:
        started(model, weights, arguments)
        return
    state, name = _read(weights), weights.rpartition("#")[0]
    overlay = _described(model, state, name)
    own = {**arguments, "in_chans": overlay["input_size"][0], "num_classes": overlay["num_classes"]}
    with _clear(model, weights):
        timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, **own)


def _read(weights: str) -> dict[str, Tensor]:
    found = _HASHED.fullmatch(weights)
    assert found is not None
    name, hash_ = found.groups()
    try:
        if (now := _hash(name)) != hash_:
            raise StudyError(f"{name} has other weights than the architecture names: {now} instead of {hash_}")
        state: dict[str, Tensor] = load_state_dict(str(as_path(name)))
    except HadnasError as error:
        raise StudyError(str(error)) from error
    except Exception as error:  # of torch, safetensors and pickle, of any type
        raise StudyError(f"{name} is no file of weights: {type(error).__name__}: {first_line(error)}") from error
    return state


def _described(model: str, state: dict[str, Tensor], name: str) -> dict[str, Any]:
    """timm's configuration of weights in a file: their tensors, channels and classes."""
    cfg = timm.get_pretrained_cfg(model)
    first, last = (
        state.get(f"{layer if isinstance(layer, str) else (layer or ['', ''])[0]}.weight")
        for layer in (cfg.first_conv, cfg.classifier)
    )
    if first is None or last is None:
        raise StudyError(
            f"{name} does not fit {model}: it lacks {cfg.first_conv if first is None else cfg.classifier}.weight; "
            f"allowed are weights of {model}"
        )
    size = (first.shape[1] if first.dim() == 4 else cfg.input_size[0], *cfg.input_size[1:])
    return {"state_dict": state, "num_classes": last.shape[0], "input_size": size, "label_offset": 0}


@contextmanager
def _clear(model: str, weights: str) -> Iterator[None]:
    """Turn any error while weights are loaded into one sentence."""
    try:
        yield
    except Exception as error:  # of Hugging Face's client, timm and torch, of any type
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if weights == PRETRAINED:
            raise StudyError(
                f"the pretrained weights of {model} cannot be loaded ({reason}); without a network, give a file with "
                "--weights FILE, or none"
            ) from error
        name = weights.rpartition("#")[0]
        raise StudyError(f"{name} does not fit {model}: {reason}; allowed are weights of {model}") from error
