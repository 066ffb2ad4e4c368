"""Opening a study in Optuna's storage: stored once as data, and compared in full when it is opened again."""

import inspect
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from pydantic import ValidationError

from hadnas.arch.node import nodes
from hadnas.blocks.registry import ops
from hadnas.errors import StudyError, at, unknown
from hadnas.source.trace import hash_of
from hadnas.store.database import clear_errors
from hadnas.store.home import Home, optuna_storage
from hadnas.store.stored import check_trials, read_attributes
from hadnas.store.study import Study, one_sentence
from hadnas.store.trials import STUDY, Trials
from hadnas.train.data.spec import READING

_GROWS = frozenset({"trials", "patience", "source", "backends", "parts", "class_names", "notes", "dummy"})
"""What may change when a study continues."""


def open_trials(study: Study, home: Home, facts: dict[str, Any]) -> Trials:
    """The trials of `study`, new or opened again; `facts` are the `Evaluator.facts`, stored with it.

    Raises StudyError if a study of this name exists and differs; the message names the difference.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    wanted = {**json.loads(study.model_dump_json()), **facts}
    wanted["blocks"] = {name: code_of(name) for name in user_defined_ops(wanted)}
    wanted["source"] = study.source or _file_of(wanted["blocks"])
    storage = optuna_storage(home)
    book = optuna.create_study(
        storage=storage,
        study_name=study.name,
        directions=study.directions,
        sampler=RandomSampler(),  # draws are made elsewhere
        load_if_exists=True,
    )
    stored = read_attributes(book, home.url).get(STUDY)
    if stored is not None:
        check_trials(book, home)
        old, new = _told_apart(stored), _told_apart(wanted)
        for key in ("baselines", "blocks"):  # more may come, from --enqueue, with their blocks; none changes or goes
            new[key] = wanted[key] = {**stored.get(key, {}), **wanted[key]}
            old[key] = {**wanted[key], **stored.get(key, {})}
        changed = sorted(k for k in {*old, *new} if new.get(k) != old.get(k))
        if changed:
            chosen = [k for k in changed if k in Study.model_fields] or changed  # what follows from them is not named
            what = "; ".join(_difference(key, old.get(key), new.get(key)) for key in chosen)
            undone = "undo the change"
            if "evaluate" in old and "evaluate" not in new:
                function = old["evaluate"].partition(" ")[0]
                undone = f"pass the function that trains, {function}, again with --evaluate FILE:{function}"
            if "digest" in chosen:  # from which mean and standard deviation follow
                what = _difference("digest of its images, as read and split", old["digest"], new["digest"])
                what += reordered(class_names(stored), class_names(wanted))
            raise StudyError(
                f"study {study.name!r} exists and differs ({what}); {undone}, or give another name with --name"
            )
    if stored != wanted:
        book.set_user_attr(STUDY, wanted)
    return Trials(book, storage)


def class_names(stored: dict[str, Any]) -> tuple[str, ...]:
    """The class names of a stored study in the order of the logits; () if it has none.

    Early studies have no list; their names are in a line of `parts`.
    """
    line = stored.get("parts", {}).get("class names, in the order of the logits", "")
    names = stored.get("class_names", line.split(", "))
    return tuple(names) if len(names) == stored["classes"] else ()


def reordered(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    """The end of a sentence if the classes are the same in another order, as after an upgrade; else empty."""
    if before == now or sorted(before) != sorted(now):
        return ""
    place = next(place for place, pair in enumerate(zip(before, now, strict=True)) if pair[0] != pair[1])
    return (
        f": its classes are now in the order of timm's reader (class {place} is {now[place]!r}, was {before[place]!r})"
    )


def _told_apart(study: dict[str, Any]) -> dict[str, Any]:
    """The part that must not change; images are compared by their digest, as their path may change.

    The digest also covers how they are read; only `size` is named, as earlier studies compare it.
    """
    data = {key: value for key, value in study["data"].items() if key == "size" or key not in (*READING, "source")}
    return {**{key: value for key, value in study.items() if key not in _GROWS}, "data": data}


def stored_study(name: str, home: Home, book: optuna.Study | None = None) -> tuple[Study, optuna.Study]:
    """A study as it was stored, with its trials; `book` is its Optuna study, if it is open already.

    No file that the home names is run: the blocks of a user's file stay unknown until it is imported or named with
    `--blocks`. Raises UnknownName if the home has no study of this name, StudyError if the study never began.
    """
    if book is None:
        book = _book(name, home)
    stored = read_attributes(book, home.url).get(STUDY)
    if stored is None:
        raise StudyError(f"study {name!r} was interrupted before it began; run it again with `hadnas search`")
    fields = {key: value for key, value in stored.items() if key in Study.model_fields}
    try:
        study = Study.model_validate(fields)
    except ValidationError as error:
        raise StudyError(f"the stored study {name!r} is damaged: {one_sentence(error, '')}") from None
    if study.name != name:  # files are named after it; only the name in the study was checked
        raise StudyError(f"the stored study {name!r} is damaged: its own name is {study.name!r}")
    return study, book


def _book(name: str, home: Home) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna_storage(home)
    with clear_errors(home.url, f"study {name!r}"):
        try:
            return optuna.load_study(study_name=name, storage=storage)
        except KeyError:  # not looked up in a list of all, which fails if any study is damaged
            with at(f"home {home.path}"):
                raise unknown("study", name, study_names(home)) from None


def unknown_blocks(stored: dict[str, Any]) -> str:
    """A sentence that names the user-defined blocks of a stored study that are not imported here; empty if none is."""
    lacking = sorted(set(stored.get("blocks", {})) - set(ops()))
    if not lacking:
        return ""
    file = stored.get("source") or "a script; move them to a file that only defines them"
    said = "name the file that defines them with --blocks, or import it in a program"
    return f"the blocks {lacking} are not known here: {said} (it was {file})"


def user_defined_ops(stored: dict[str, Any]) -> list[str]:
    """The ops of a stored study that hadnas does not ship."""
    used = used_ops(stored["space"], *stored["baselines"].values())
    return [name for name in used if not ops()[name].cls.__module__.startswith("hadnas.")]


def used_ops(*spaces: Any) -> list[str]:
    """The names of registered ops in spaces or architectures."""
    return sorted(set().union(*(_names(node["op"]) for node in nodes(list(spaces)))) & set(ops()))


def edited_ops(stored: dict[str, Any]) -> list[str]:
    """The ops of a stored study whose code has changed since it began."""
    return sorted(name for name, code in stored.get("blocks", {}).items() if code_of(name) != code)


def _file_of(names: Iterable[str]) -> str:
    """The file that defines these ops, or "": a running script does not count, as importing it would run it again."""
    modules = (inspect.getmodule(ops()[name].cls) for name in names)
    found = (getattr(module, "__file__", None) for module in modules if getattr(module, "__name__", "") != "__main__")
    return next((str(Path(file).resolve()) for file in found if file), "")


def code_of(name: str) -> str:
    """A hash of the code of an op."""
    return hash_of(frozenset({ops()[name].cls}))


def _names(op: Any) -> set[str]:
    """The name of an op, or those of a choice of names."""
    return {op} if isinstance(op, str) else set().union(*map(_names, op["one_of"]))


def study_names(home: Home) -> list[str]:
    """The studies of a home, oldest first."""
    storage = optuna_storage(home)
    with clear_errors(home.url, "a study"):
        summaries = optuna.get_all_study_summaries(storage, include_best_trial=False)
    return [summary.study_name for summary in sorted(summaries, key=lambda s: s.datetime_start or _NEVER)]


_NEVER = datetime.max  # a study whose first trial has not begun is the latest


def _difference(path: str, old: Any, new: Any) -> str:
    """The first difference of two values: `recipe.lr: 0.1 became 0.2`."""
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in [*old, *new] if old.get(key) != new.get(key))
        return _difference(f"{path}.{key}", old.get(key), new.get(key))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        place = next(place for place, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
        return _difference(f"{path}.{place}", old[place], new[place])
    return f"{path}: {_shown(old)} became {_shown(new)}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
