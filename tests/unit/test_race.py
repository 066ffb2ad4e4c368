"""The race is whole: every search, every front judged, costs of the counter; the docs have what its file says."""

import importlib
import random
from pathlib import Path

import pytest

from hadnas.hosts.build import build_plan
from hadnas.measure.cost import cost
from hadnas.replay.scores import shares

ROOT = Path(__file__).parents[2]


def test_the_race_is_whole_and_the_docs_have_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))
    race, facts = importlib.import_module("race"), importlib.import_module("race_facts")
    rows = race.read()
    found = race.searches(rows["search"])
    seeds = {seed for _, seed in found}
    assert set(found) == {(name, seed) for name in race.SAMPLERS for seed in seeds} and len(seeds) >= 3
    assert {len(mine) for mine in found.values()} == {race.TRIALS}
    for row in random.Random(0).sample(rows["search"], 3):
        plan = race.plan_of(row["draw"])
        counted = cost(build_plan(plan, device="meta"), plan.task.shape)
        assert (plan.arch.fingerprint, str(counted.macs)) == (row["fingerprint"], row["macs"])
    page = (ROOT / "docs" / "results.md").read_text()
    searches = facts.scored(facts.pilot()[2])  # raises KeyError for a network of a front that was not judged
    for measured in (searches, facts.by_trainings(searches)):
        assert [facts.words(share) for share in shares(measured) if facts.words(share) not in page] == []
