"""Loads search spaces, studies and architectures by shipped name or by path."""

import importlib
import inspect
import os
import pkgutil
import shutil
import warnings
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast, get_args

import timm
from pydantic import ValidationError
from torch import nn

from hadnas.arch.node import Arch, nodes
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.registry import Op, ops
from hadnas.errors import SpecError, StudyError, UnknownName, at, cut, unknown
from hadnas.hosts.build import build_plan, check_size
from hadnas.hosts.graft.space import graft
from hadnas.hosts.graft.weights import named_weights
from hadnas.hosts.host import ENTRY, make_plan
from hadnas.inputs import InputShape, Tokens, shape_text, shapes_in
from hadnas.paths import as_path
from hadnas.plain import from_json, from_json_file
from hadnas.source.user_file import run_file
from hadnas.space.data import as_data, from_data
from hadnas.store.study import Study, one_sentence

TIMM = "timm:"
"""In front of the name of a timm model, where a study or an architecture is named."""

Shelf = Literal["studies", "search_spaces", "published"]
SHELVES: tuple[Shelf, ...] = get_args(Shelf)


def shipped(kind: Shelf) -> list[str]:
    """The names of the shipped studies, search spaces or published architectures."""
    if kind == "published":
        return sorted(path.name.removesuffix(".json") for path in _published() if path.name.endswith(".json"))
    package = importlib.import_module(f"hadnas.{kind}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(name: str | Path) -> Any:
    """A Study, a search space (dict) or an Arch, by shipped name or by the path of a .py or .json file or of a folder.

    No two shipped items have one name. A folder must be an export; if a shipped item has its name, write `./NAME`.
    Raises UnknownName, or SpecError if the file defines none of these.
    """
    text = str(name)
    if text.endswith((".py", ".json")):
        path = as_path(text)
        if not path.is_file():
            raise UnknownName(f"there is no file {text}")
        with at(text):
            return _complete(from_json_file(path)) if text.endswith(".json") else _load_file(path)
    folder, _, stem = text.rpartition("/")
    for kind in SHELVES:
        if folder in ("", kind) and stem in shipped(kind):
            if kind == "published":
                return load_arch((files("hadnas.search_spaces") / "published" / f"{stem}.json").read_text())
            return _content(importlib.import_module(f"hadnas.{kind}.{stem}"), stem)
    if (path := as_path(text)).is_dir():
        if not (path / "arch.json").is_file():
            raise UnknownName(f"there is no file arch.json in the folder {text}; an exported folder has one")
        return load(path / "arch.json")
    known = [item for kind in SHELVES for item in shipped(kind)]
    raise unknown("study, search space or architecture", text, dict.fromkeys(known))


def use_blocks(path: str | Path) -> ModuleType:
    """Run a user's file to register the ops it defines or imports, and return its module.

    Raises UnknownName if there is no such file, SpecError if it fails.
    """
    file = as_path(path)
    if not file.is_file():
        raise UnknownName(f"there is no file {path}")
    with at(str(path)):
        return run_file(file)


def load_function(text: str) -> Any:
    """The function that "mine.py:train" names. Raises as `use_blocks`, UnknownName if the file has no such function."""
    path, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        raise SpecError(f"{cut(text)} is not allowed; allowed is FILE:FUNCTION, such as mine.py:train")
    functions = dict(inspect.getmembers(use_blocks(path), inspect.isfunction))
    if name not in functions:
        with at(path):
            raise unknown("function", name, functions)
    return functions[name]


def load_ops(path: str | Path) -> list[Op]:
    """The ops that a user's file defines. Raises as `use_blocks`, and SpecError if it defines none."""
    module = use_blocks(path)
    found = [op for op in ops().values() if op.cls.__module__ == module.__name__]
    if not found:
        raise SpecError(f"{path}: the file registers no op; decorate a class with @block(family=...)")
    return found


def load_network(name: str, task: Task) -> nn.Module:
    """A network for `task`, by a name that `load_architecture` accepts, an exported model.py or a timm model's name.

    An exported model.py loads its weights. Raises UnknownName for a name that neither hadnas nor timm knows, SpecError
    for a file without a network.
    """
    if name.endswith(".py"):
        if not as_path(name).is_file():
            raise UnknownName(f"there is no file {name}")
        with at(name):
            return _exported(as_path(name), task)
    if name.endswith(".json") or name.rpartition("/")[2] in shipped("published") or as_path(name).is_dir():
        plan = make_plan(load_architecture(name), task)
    else:
        try:
            plan = make_plan({"op": "timm", "model": name}, task)
        except UnknownName as error:
            raise UnknownName(f"{error}; hadnas has {', '.join(shipped('published'))}") from None
    check_size(plan)
    return build_plan(plan)


def _exported(path: Path, task: Task) -> nn.Module:
    with warnings.catch_warnings():
        # timm warns of a second export of one architecture in a process; the file calls its own function
        warnings.filterwarnings("ignore", "Overwriting hadnas_", UserWarning)
        make = getattr(run_file(path), ENTRY, None)
    if make is None:
        raise SpecError(f"the file has no {ENTRY}(); an exported model.py has")
    try:
        network: Any = make(pretrained=True)
        classes, own = network.num_classes, shapes_in(network.pretrained_cfg)
    except Exception as error:
        raise SpecError(f"{ENTRY}(pretrained=True) fails with {type(error).__name__}: {error}") from error
    if [_fixed(shape) for shape in own] != [_fixed(shape) for shape in task.shapes] or classes != task.outputs:
        sizes = " ".join(f"--size {shape_text(shape).replace(' ', '')}" for shape in own)
        raise SpecError(
            f"the network is not for {' and '.join(map(shape_text, task.shapes))} and {task.outputs} classes; "
            f"use {sizes} --classes {classes}"
        )
    return cast(nn.Module, network)


def _fixed(shape: InputShape) -> InputShape:
    """What a network determines of the shape of its input: the channels of an image, all of a vector and tokens."""
    return shape[:1] if len(shape) == 3 and not isinstance(shape, Tokens) else shape


def load_architecture(name: str | Path) -> Arch:
    """An Arch by the path of an exported folder or of a .json file, or by the name of a published network or of timm's.

    `timm:NAME` is always one of timm. Raises UnknownName if there is none, SpecError if it is not an architecture.
    """
    text, folder = str(name), as_path(name).absolute()
    if text.startswith(TIMM):
        return complete({"op": "timm", "model": text.removeprefix(TIMM)})
    try:
        found = load(folder if (folder / "arch.json").is_file() else name)  # a study may have the folder's name
    except UnknownName:
        if not timm.is_model(text):
            raise
        return complete({"op": "timm", "model": text})
    if not isinstance(found, Arch):
        raise SpecError(
            f"{name} is not an architecture; allowed are a published network, an arch.json, an exported folder and "
            f"{TIMM}MODEL"
        )
    return found


def load_named(names: Sequence[str]) -> dict[str, Arch]:
    """Architectures by the name of their file, or of the folder of an arch.json. Raises as `load_architecture`.

    Raises SpecError if two have one name.
    """
    found: dict[str, Arch] = {}
    for text in names:
        path = as_path(text).absolute()
        name = path.parent.name if path.name == "arch.json" else path.name.removesuffix(".json")
        if name in found:
            raise SpecError(f"{text}: another architecture is named {name!r}, too; rename the file")
        found[name] = load_architecture(text)
    return found


def load_study(name: str | Path) -> Study:
    """A Study by name or path; a file that defines only a SPACE gives a study of it with default settings.

    The study of a user's space has baselines of its cost.
    """
    found = load(name)
    if isinstance(found, Study):
        return found
    if isinstance(found, dict):
        source = str(as_path(name).resolve()) if str(name).endswith(".py") else ""
        try:
            return Study(name=Path(str(name)).stem, space=found, source=source, baselines=None if source else {})
        except ValidationError as error:
            raise one_sentence(error) from None
    raise SpecError(f"{name} is an architecture; a study or a search space is needed here")


def graft_study(model: str, patterns: Sequence[str], weights: str | None = None, *, tied: bool = False) -> Study:
    """A study of grafts into timm's `model` at the sites of `patterns`, with the model itself as its baseline.

    Raises as `hadnas.graft`.
    """
    space = graft(model, patterns, weights=weights, tied=tied)
    parent = {key: value for key, value in space.items() if key != "sites"}
    return Study(name=f"{model}_grafts", space=space, baselines={model: parent})


def started_from(study: Study, weights: str) -> Study:
    """The study with `weights` (timm's own as "pretrained", or a file) as the start of its timm networks.

    Raises SpecError for a study of other networks, and as `hadnas.graft`.
    """
    space = study.space
    if space["op"] != "timm" or not isinstance(space["model"], str):
        raise SpecError(f"study {study.name!r} does not start from weights; allowed are studies of one timm model")
    return study.model_copy(update={"space": {**space, "weights": named_weights(space["model"], weights)}})


def load_arch(text: str | bytes) -> Arch:
    """An Arch from JSON. Raises SpecError if the text is not JSON, of a later format, or not a valid architecture."""
    return _complete(from_json(text))


def _complete(node: Any) -> Arch:
    try:
        return complete(node)
    except UnknownName as error:
        if all(found["op"] in list(ops()) for found in nodes(node)):
            raise
        raise UnknownName(f"{error}; if a file of yours defines it, name that file with --blocks") from None


def copy(name: str, folder: str | Path = ".") -> Path:
    """Copy a shipped file into `folder` and return the new path.

    Raises UnknownName for a name that is not shipped, StudyError if the file exists or cannot be written.
    """
    for kind in SHELVES:
        base, _, stem = name.rpartition("/")
        if base in ("", kind) and stem in shipped(kind):
            package = files("hadnas.search_spaces") / "published" if kind == "published" else files(f"hadnas.{kind}")
            source = package / f"{stem}.{'json' if kind == 'published' else 'py'}"
            target = as_path(folder) / source.name
            try:
                if os.path.lexists(target):  # a link to a missing file would be followed
                    raise StudyError(f"{target} exists already; move it or copy into another folder")
                shutil.copyfile(str(source), target)
            except OSError as error:
                raise StudyError(
                    f"{target} cannot be written: {error.strerror}; choose a folder that you can write to"
                ) from error
            return target
    raise unknown("shipped file", name, dict.fromkeys(item for kind in SHELVES for item in shipped(kind)))


def _published() -> Any:
    folder = files("hadnas.search_spaces") / "published"
    return folder.iterdir() if folder.is_dir() else []


def _load_file(path: Path) -> Any:
    try:
        found = _content(run_file(path), path.stem)
    except ValidationError as error:
        raise one_sentence(error) from None
    return found.model_copy(update={"source": str(path.resolve())}) if isinstance(found, Study) else found


def _content(module: Any, stem: str) -> Any:
    if isinstance(study := getattr(module, "STUDY", None), Study):
        return study if study.name else study.model_copy(update={"name": stem})
    if isinstance(space := getattr(module, "SPACE", None), dict):
        return from_data(as_data(space))
    for key in ("STUDY", "SPACE"):
        if hasattr(module, key):
            kind = type(getattr(module, key)).__name__
            raise SpecError(f"{key} of {stem} is of type {kind}; allowed are STUDY = Study(...) and SPACE = op(...)")
    raise SpecError(f"{stem} defines neither STUDY = Study(...) nor SPACE = op(...)")
