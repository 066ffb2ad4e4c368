"""A search with architectures from outside, with a time limit, and before its libraries are loaded."""

from pathlib import Path

import pytest

import hadnas as library
from hadnas.arch.read import complete
from hadnas.errors import HadnasError
from hadnas.opened import open_study
from hadnas.search.run import run_study
from hadnas.shell.console import PlainConsole
from tests.homes import new_home, study
from tests.shell import hadnas


def test_an_enqueued_architecture_is_judged_beyond_the_budget_and_stays(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    chosen = study(name="queue", trials=1, seed=9)
    run_study(chosen, home, device="cpu")
    task = open_study("queue", home.path).task()
    known = {found.arch.fingerprint for found in open_study("queue", home.path).found if found.arch}
    member = next(
        arch for seed in range(50) if (arch := library.sample(chosen.space, task, seed=seed)).fingerprint not in known
    )
    outside = complete({**member.node, "head": {"op": "pooled_mlp"}})
    for _ in range(2):
        run_study(chosen, home, device="cpu", enqueued={"mine": member, "theirs": outside})
        results = open_study("queue", home.path)
        assert [found.arch for found in results.found if found.number == 1] == [member] and len(results.found) == 2
        assert [found.name for found in results.baselines] == ["theirs"]
    run_study(chosen, home, device="cpu")  # without them: the study is the same
    assert [found.name for found in open_study("queue", home.path).baselines] == ["theirs"]
    changed = study(name="queue", trials=1, seed=9, baselines={"theirs": "test_resnet"})
    with pytest.raises(HadnasError, match="exists and differs"):
        run_study(changed, home, device="cpu")


def test_a_search_ends_when_its_time_is_over_and_goes_on_later(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    chosen = study(name="timed", trials=2)
    seen: list[str] = []
    ended = run_study(chosen, home, device="cpu", timeout=1e-6, watch=lambda now: seen.append(now.label or now.phase))
    assert "time limit" in ended.ended and ended.done == 0
    assert seen == ["reading the images", "opening MLflow", "writing to MLflow"]
    assert "budget of 2" in run_study(chosen, home, device="cpu", timeout=600).ended


def test_a_terminal_is_told_at_once_that_libraries_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("search", "no_such_study", "--home", tmp_path)
    assert "loading" not in hadnas(*arguments).output
    monkeypatch.setattr(PlainConsole, "is_terminal", True)
    done = hadnas(*arguments)
    assert "loading torch" in done.output.partition("error: ")[0] and done.exit_code == 2
