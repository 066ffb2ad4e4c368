"""The weights that a timm network starts from: timm's own, those of a file, or none.

In a completed architecture a file is named with the first 16 digits of its SHA-256, as
`parent.safetensors#0123456789abcdef`, and timm's weights with their tag, as `pretrained#a1_in1k`, so that other weights
make another architecture, and another training: also those that a later timm may choose.

A file may have, beside the tensors of a model, those of distilled modules that may stand at its sites, which a network
with just this node at the site starts from. Their names are `layer1.0#0123456789abcdef.conv.weight`: site, hash of the
completed node, name in the module.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
from safetensors import SafetensorError, safe_open
from timm.models import is_model_pretrained, load_state_dict
from torch import Tensor, nn

from hadnas.arch.node import Arch
from hadnas.arch.read import Node
from hadnas.errors import HadnasError, SpecError, StudyError, cut, first_line
from hadnas.paths import as_path

PRETRAINED = "pretrained"
CLASS_NAMES, TRAINING_IMAGES = KNOWN = "class_names", "images"
"""Keys of the metadata of exported weights: JSON of the names, and of mean, std and shape of the training images."""

_HASHED = re.compile(r"(.+)#([0-9a-f]{16})")
_TAGGED = re.compile(rf"{PRETRAINED}#([\w.-]+)")
_DISTILLED = re.compile(r"(.+#[0-9a-f]{16})\.(.+)")


class Expected(NamedTuple):
    """The images of a training: `mean` and `std` of each channel, which normalised them, and `shape` (C, H, W)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, int, int]


class Described(NamedTuple):
    """What is known of weights: outputs of the classifier, their names or (), and the images of their training."""

    classes: int
    class_names: tuple[str, ...]
    images: Expected


def named_weights(model: str, weights: str | None) -> str | None:
    """The name of weights in a completed architecture.

    Raises SpecError for a model without pretrained weights, and for a file that does not exist.
    """
    if weights is None or weights == "none":
        return None
    if not weights.isprintable():  # it is written into code, cards and MLflow
        raise SpecError(f"weights = {cut(weights)} is not allowed; allowed is a path without control characters")
    if weights == PRETRAINED:
        if not is_model_pretrained(model):
            raise SpecError(f"weights = {PRETRAINED!r}: timm has none of {model}; allowed are None and a file")
        tag = timm.get_pretrained_cfg(model).tag
        return f"{PRETRAINED}#{tag}" if tag else PRETRAINED
    if (tagged := _TAGGED.fullmatch(weights)) and not is_model_pretrained(_named(model, weights)):
        own = f"{model.partition('.')[0]}.*"
        raise SpecError(
            f"weights = {weights!r}: timm has none of {model} with the tag {tagged[1]}; allowed are "
            f"{', '.join(name.partition('.')[2] for name in timm.list_pretrained(own))}"
        )
    if tagged:
        return weights
    return weights if _HASHED.fullmatch(weights) else f"{weights}#{_hash(weights)}"


def is_pretrained(weights: str) -> bool:
    """Whether weights are timm's own."""
    return weights == PRETRAINED or _TAGGED.fullmatch(weights) is not None


def _named(model: str, weights: str) -> str:
    """timm's name of a model with pretrained weights, their tag included."""
    tagged = _TAGGED.fullmatch(weights)
    return f"{model.partition('.')[0]}.{tagged[1]}" if tagged else model


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
    overlay, name = _overlay(model, weights), _named(model, weights)
    with _clear(model, weights):
        network: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    cfg, known = timm.get_pretrained_cfg(model), cast(dict[str, Any], network.pretrained_cfg)
    for key in overlay:  # those of the file, its tensors among them, stay no longer with the network
        known[key] = getattr(cfg, key, None)
    return network


def check_weights(model: str, weights: str, arguments: dict[str, Any]) -> None:
    """Raise StudyError unless weights can be read and fit a model tensor by tensor, distilled ones by their site."""
    overlay = _overlay(model, weights)
    own = {**arguments, "in_chans": overlay["input_size"][0], "num_classes": overlay["num_classes"]} if overlay else {}
    name, how = _named(model, weights), own or arguments
    with _clear(model, weights):
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **how)
    modules = dict(network.named_modules())
    for key, state in distilled(weights).items():
        if (site := key.rpartition("#")[0]) not in modules:
            raise StudyError(
                f"{weights.rpartition('#')[0]} does not fit {model}: found the tensor {key}.{next(iter(state))}, but "
                f"{site} is no module; allowed are tensors of {model}, and of what may stand at its sites"
            )


def at_site(site: str, node: Node) -> str:
    """The name, in a file of weights, of what a completed node is at a site; its tensors' names follow after a dot."""
    return f"{site}#{Arch(node).fingerprint}"


def distilled(weights: str) -> dict[str, dict[str, Tensor]]:
    """The distilled modules in a file of weights: name `at_site` -> name in the module -> tensor.

    Raises StudyError if the file cannot be read.
    """
    found: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in ({} if is_pretrained(weights) else _read(weights)).items():
        if known := _DISTILLED.fullmatch(name):
            found[known[1]][known[2]] = tensor
    return dict(found)


def unlike(module: nn.Module, state: Mapping[str, Tensor]) -> str:
    """How tensors differ from those of a module in names and shapes, or ""."""
    own, found = ({key: tuple(value.shape) for key, value in one.items()} for one in (module.state_dict(), state))
    if not (other := [key for key in {**own, **found} if own.get(key) != found.get(key)]):
        return ""
    return (
        f"in {len(other)} of {len({**own, **found})} tensors: {other[0]} is {found.get(other[0], 'missing')}; "
        f"allowed is {own.get(other[0], 'no tensor of this name')}"
    )


@cache
def described(model: str, weights: str) -> Described:
    """What is known of named weights: by timm's configuration, or by the file, as hadnas exports it.

    Raises StudyError if a file cannot be read or does not fit.
    """
    cfg = timm.get_pretrained_cfg(_named(model, weights))
    images = Expected(cfg.mean, cfg.std, cfg.input_size)
    if is_pretrained(weights):
        return Described(cfg.num_classes, tuple(cfg.label_names or ()), images)
    classes, file = _overlay(model, weights)["num_classes"], as_path(weights.rpartition("#")[0])
    return Described(classes, tuple(_metadata(file).get(CLASS_NAMES) or ()), expected(file) or images)


def expected(file: Path) -> Expected | None:
    """The images of the training of weights in a file, if `save_weights` wrote it and knew them."""
    images = _metadata(file).get(TRAINING_IMAGES)
    return Expected(**{name: tuple(value) for name, value in images.items()}) if images else None


def _metadata(path: Path) -> dict[str, Any]:
    """The metadata that `save_weights` writes, {} of any other file."""
    try:
        with safe_open(path, "pt") as file:
            return {key: json.loads(value) for key, value in (file.metadata() or {}).items() if key in KNOWN}
    except (OSError, SafetensorError, ValueError):  # a file of torch, or metadata of others
        return {}


def _overlay(model: str, weights: str) -> dict[str, Any]:
    """Changes of timm's configuration that load a file of weights; none for timm's own."""
    if is_pretrained(weights):
        return {}
    own = {name: tensor for name, tensor in _read(weights).items() if not _DISTILLED.fullmatch(name)}
    return _described(model, own, weights.rpartition("#")[0])


def _read(weights: str) -> dict[str, Tensor]:
    found = _HASHED.fullmatch(weights)
    assert found is not None
    name, hash_ = found.groups()
    try:
        if (now := _hash(name)) != hash_:
            raise StudyError(f"{name} has other weights than the architecture names: {now} instead of {hash_}")
        state: dict[str, Tensor] = load_state_dict(str(as_path(name)), weights_only=True)
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
        if is_pretrained(weights):
            raise StudyError(
                f"the pretrained weights of {_named(model, weights)} cannot be loaded ({reason}); without a network, "
                "give a file with --weights FILE, or none"
            ) from error
        name = weights.rpartition("#")[0]
        raise StudyError(f"{name} does not fit {model}: {reason}; allowed are weights of {model}") from error
