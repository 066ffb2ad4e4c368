"""The latency predictor: what it is fitted to, what it keeps, what it refuses."""

import json
import random
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from hadnas.arch.random import distinct
from hadnas.arch.task import Task
from hadnas.errors import StudyError, UnknownName
from hadnas.hosts.build import build
from hadnas.measure.cost import cost
from hadnas.measure.latency.latency import protocol, protocol_key
from hadnas.search.latency import timing
from hadnas.search.latency.predictor import cost_features, digest, fit_predictor, fit_ratios, load_predictor
from hadnas.space import one_of, op, size
from hadnas.store.ledger import Ledger
from hadnas.store.listing import num_rows
from tests.networks import TINY_SPACE, pyramid, residual

TASK = Task.image(1, 8, 8, classes=4)


def test_distinct_candidates_come_once_the_same_for_a_seed_until_the_space_is_exhausted() -> None:
    first = [arch.fingerprint for arch in distinct(TINY_SPACE, TASK, seed=3)]
    assert len(first) == len(set(first)) == size(TINY_SPACE)
    for seed, same in ((3, True), (4, False)):
        again = islice(distinct(TINY_SPACE, TASK, seed=seed), 10)
        assert ([arch.fingerprint for arch in again] == first[:10]) is same


def test_the_regression_finds_a_law_of_calls_and_macs_and_the_ledger_keeps_it(tmp_path: Path) -> None:
    rng = random.Random(0)
    archs = list(islice(distinct(TINY_SPACE, TASK, seed=0), 30))
    counted = [cost(build(arch, TASK, device="meta"), TASK.shape) for arch in archs]
    calls = np.array([float(one.calls) for one in counted])
    law = 0.1 * calls + 2e-6 * np.array([one.by_kind["convolution"][1] for one in counted])
    found = fit_ratios(counted, law * np.array([rng.uniform(0.99, 1.01) for _ in archs]), {}, 0, seed=0)
    assert found.error < 0.02 and found.rank.rho is not None and found.rank.rho > 0.95
    assert all(share >= 0 for share in found.shares.values())
    for one, ratio in zip(counted, law, strict=True):
        assert found.predict(one) == pytest.approx(ratio, rel=0.05)
    assert set(found.shares) == set(cost_features(counted[0]))
    ledger = Ledger(f"sqlite:///{tmp_path / 'hadnas.db'}")
    ledger.measured.put_predictor(digest(TINY_SPACE), str(TASK), protocol_key(protocol(TASK.shape)), {}, asdict(found))
    assert load_predictor(TINY_SPACE, TASK, ledger) == found
    for space, task, backend in ((TINY_SPACE, TASK, "compile"), (pyramid((8, [])), TASK, "eager")):
        with pytest.raises(StudyError, match=f"no latency predictor.* backend '{backend}'"):
            load_predictor(space, task, ledger, backend=backend)
    ledger.close()


@pytest.mark.slow
def test_a_fit_times_through_the_ledger_and_is_kept_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SECONDS", 0.02)
    ledger = Ledger(f"sqlite:///{tmp_path / 'hadnas.db'}")
    said: list[int] = []
    found = fit_predictor(TINY_SPACE, TASK, ledger, n=20, say=said.append)
    assert said == list(range(1, 21)) and found.n == 20 and found.failed == 0
    assert num_rows(ledger)["latencies"] == 20
    key = protocol_key(protocol(TASK.shape))
    assert ledger.measured.get_predictor(digest(TINY_SPACE), str(TASK), key) == json.loads(json.dumps(asdict(found)))
    assert fit_predictor(TINY_SPACE, TASK, ledger, n=20) == found  # from what is known: nothing is timed
    assert num_rows(ledger)["latencies"] == 20 and num_rows(ledger)["predictors"] == 1
    ledger.close()


def test_what_cannot_be_fitted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SECONDS", 0.02)
    ledger = Ledger(f"sqlite:///{tmp_path / 'hadnas.db'}")
    few = pyramid((8, [residual(op("mlp", expand=one_of(1, 2)))]))
    with pytest.raises(StudyError, match=r"2 candidates.* 20"):
        fit_predictor(few, TASK, ledger)
    with pytest.raises(UnknownName, match="unknown backend 'tvm'"):
        fit_predictor(few, TASK, ledger, backend="tvm")
    ledger.close()
