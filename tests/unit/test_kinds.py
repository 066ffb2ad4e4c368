"""A value of another kind than a function takes is refused by its kind, with what is allowed, before any work."""

from collections.abc import Callable
from typing import Any

import pytest

import hadnas
from hadnas.errors import SpecError

TASK = hadnas.Task.image(1, 8, 8, classes=10)
ARCH, STUDY = hadnas.load("starnet_s1"), hadnas.load("digits")
CALLS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a study is no space": (lambda: hadnas.sample(STUDY, TASK), "Study", "study.space"),
    "an architecture is no space": (lambda: hadnas.sample(ARCH, TASK), "Arch", "search space"),
    "a name is no space": (lambda: hadnas.sample("digits", TASK), "str", "search space"),  # type: ignore[arg-type]
    "a study is no architecture": (lambda: hadnas.build(STUDY, TASK), "Study", "hadnas.sample"),
    "a name is no architecture": (lambda: hadnas.build("starnet_s1", TASK), "str", "hadnas.load"),  # type: ignore[arg-type]
    "a study is not exported": (lambda: hadnas.export(STUDY, TASK, "/nowhere"), "Study", "study.best.arch"),
    "a study is not retrained": (lambda: hadnas.retrain(STUDY, "digits"), "Study", "study.best.arch"),
    "an architecture is not counted": (lambda: hadnas.cost(ARCH, (1, 8, 8)), "Arch", "hadnas.build"),
    "an architecture is not timed": (lambda: hadnas.latency(ARCH, (1, 8, 8)), "Arch", "hadnas.build"),
    "a space is not run": (lambda: hadnas.run_study(STUDY.space, None), "dict", "hadnas.Study"),  # type: ignore[arg-type]
    "a path is no home": (lambda: hadnas.run_study(STUDY, "runs"), "str", "hadnas.Home"),  # type: ignore[arg-type]
    "a study is no name": (lambda: hadnas.open_study(STUDY), "Study", "study.name"),
    "finals take a name": (lambda: hadnas.run_finals(STUDY, None), "Study", "study.name"),  # type: ignore[arg-type]
    "a name has no report": (lambda: hadnas.write_report("digits"), "str", "hadnas.open_study"),  # type: ignore[arg-type]
    "a study of a study": (lambda: hadnas.Study(space=STUDY), "Study", "study.space"),
}


@pytest.mark.parametrize(("call", "found", "allowed"), CALLS.values(), ids=CALLS)
def test_a_value_of_another_kind_is_refused(call: Callable[[], Any], found: str, allowed: str) -> None:
    with pytest.raises((SpecError, ValueError)) as caught:
        call()
    assert f"is of type {found}; allowed is" in str(caught.value) and allowed in str(caught.value)
