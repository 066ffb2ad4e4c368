"""Architectures that a user enqueues: a draw of the study's space becomes a trial, any other one a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from hadnas.arch.node import Arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import HadnasError, StudyError, at
from hadnas.hosts.host import make_plan
from hadnas.plain import from_json_file
from hadnas.space import Params, replay
from hadnas.space.match import matches
from hadnas.store.home import Home
from hadnas.store.study import Study

QUEUE = "enqueued"
"""The folder of architectures that wait for the study's next search."""

CHECKED = 100
"""The most draws that match an architecture's node and are completed, to compare their fingerprints."""


def draw_of_arch(space: dict[str, Any], arch: Arch, task: Task) -> Params | None:
    """The parameters of a draw of `space` that gives `arch`; None if none was found."""
    for params in islice(matches(space, arch.node), CHECKED):
        try:
            if complete(replay(space, params), task).fingerprint == arch.fingerprint:
                return params
        except HadnasError:  # a rule refuses this draw; another may give the same network
            continue
    return None


@dataclass(frozen=True)
class Enqueued:
    """The study with the architectures from outside of its space as baselines; the parameters of the others."""

    study: Study
    draws: tuple[Params, ...]


def enqueue(study: Study, archs: Mapping[str, Arch], task: Task) -> Enqueued:
    """Architectures by name, added to a study. Raises SpecError with its name for one that does not fit the task.

    Raises StudyError if the study has another baseline of its name.
    """
    draws, baselines = [], dict(study.baselines or {})
    for name, arch in archs.items():
        with at(name):
            make_plan(arch, task)
        params = draw_of_arch(study.space, arch, task)
        if params is not None:
            draws.append(params)
        elif baselines.setdefault(name, arch.node) != arch.node:
            raise StudyError(f"study {study.name!r} has another baseline named {name!r}; rename the file")
    return Enqueued(study.model_copy(update={"baselines": baselines}), tuple(draws))


def put_in_queue(study: str, home: Home, archs: Mapping[str, Arch]) -> None:
    """Write architectures by name into the study's folder; its next search judges them first, as if they were given.

    Raises StudyError if a file cannot be written.
    """
    folder = home.path / study / QUEUE
    for name, arch in archs.items():
        path = folder / f"{name}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".part").write_text(arch.json, encoding="utf-8")
            path.with_suffix(".part").replace(path)
        except OSError as error:
            raise StudyError(f"{path} cannot be written: {error}") from error


def queue_of(study: str, home: Home) -> dict[str, Arch]:
    """The architectures that `put_in_queue` wrote, by name. Raises SpecError for a damaged file."""
    found = {}
    for path in sorted((home.path / study / QUEUE).glob("*.json")):
        with at(str(path)):
            found[path.stem] = complete(from_json_file(path))
    return found
