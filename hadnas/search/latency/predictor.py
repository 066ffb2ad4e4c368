"""A latency predictor for the space of a study: a small regression on counted costs of untrained candidates.

What a small network costs on a CPU is mostly the number of operations, each with its overhead, then their MACs, which
differ in speed by kind (a depthwise convolution computes a MAC many times slower than a dense one), then memory
traffic. So the ratio to the reference network is a sum of non-negative shares: so much per call and per MAC of each
kind, per element-wise operation and per byte moved.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from hadnas.arch.random import distinct
from hadnas.arch.task import Task
from hadnas.errors import BuildError, MeasurementError, StudyError
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import Cost, cost
from hadnas.measure.figures import constraints
from hadnas.measure.latency.backends import require_backend
from hadnas.measure.latency.latency import protocol, protocol_key
from hadnas.results.statistics import Correlation, rank_correlation
from hadnas.search.latency.timing import timed
from hadnas.source.trace import hash_of
from hadnas.space.data import as_data
from hadnas.store.ledger import Ledger
from hadnas.store.records import record
from hadnas.store.study_store import code_of, used_ops

FOLDS = 10
FEWEST = 2 * FOLDS
"""Candidates below which nothing is fitted."""


@dataclass(frozen=True)
class Predictor:
    """Predicts the latency ratio of networks like those of a space, under one protocol.

    shares       feature -> ratio per unit, none below 0
    largest      feature -> its largest value among the candidates: of more, or of a kind not met, it knows nothing
    n            candidates that it was fitted to; `failed` more could not be built or timed
    error        median of |predicted / measured - 1|, out of fold; `p90_error` its 90th percentile
    rank         rank correlation of out-of-fold predictions with measured ratios
    costs        cost -> its rank correlation with measured ratios
    """

    protocol: dict[str, Any]
    shares: dict[str, float]
    largest: dict[str, float]
    n: int
    failed: int
    error: float
    p90_error: float
    rank: Correlation
    costs: dict[str, Correlation]

    def predict(self, cost: Cost) -> float:
        """The latency ratio of a network whose cost was counted for the task that the predictor was fitted for."""
        return sum(self.shares[name] * value for name, value in cost_features(cost).items())

    def beyond(self, cost: Cost) -> list[str]:
        """Features of a network that are larger than in any candidate that the predictor was fitted to."""
        return [name for name, value in cost_features(cost).items() if value > self.largest[name]]


def cost_features(cost: Cost) -> dict[str, float]:
    """What the regression sees of a network."""
    found = {f"calls.{kind}": float(calls) for kind, (calls, _) in cost.by_kind.items()}
    found |= {f"macs.{kind}": float(macs) for kind, (_, macs) in cost.by_kind.items() if kind != "other"}
    return found | {"elementwise": float(cost.elementwise), "bytes_moved": float(cost.bytes_moved)}


def fit_predictor(
    space: dict[str, Any],
    task: Task,
    ledger: Ledger,
    *,
    n: int = 120,
    seed: int = 0,
    device: str = "cpu",
    backend: str = "eager",
    say: Callable[[int], None] = lambda done: None,
) -> Predictor:
    """Sample `n` distinct candidates, cost and time each, and fit; a space with fewer gives all it has.

    Latencies are taken at batch 1 through the ledger, so none is taken twice, and the fit is kept there by space, task
    and protocol. `say(done)` follows each candidate. The same seed samples the same candidates.
    Raises StudyError where fewer than 20 candidates could be timed, MeasurementError for a backend that cannot run
    here, UnknownName for one that does not exist.
    """
    require_backend(backend, device)
    whose = digest(space), str(task)
    counted: list[Cost] = []
    ratios: list[float] = []
    said: dict[str, Any] = {}
    failed, reason = 0, ""
    for arch in distinct(space, task, seed):
        if len(ratios) == n:
            break
        try:
            plan = make_plan(arch, task)
            found = cost(build_plan(plan, device="meta"), *task.shapes)
            ledger.measured.put_architecture(arch.fingerprint, arch.json)
            fresh = partial(build_seeded, plan, seed)
            code = hash_of(plan.classes)
            taken = timed(arch, task, code, fresh, ledger, device=device, backend=backend)
        except (BuildError, MeasurementError) as error:
            failed, reason = failed + 1, str(error)
            if failed > n:
                break
            continue
        counted.append(found)
        ratios.append(float(taken.figures["ratio"]))
        said = dict(taken.protocol)
        say(len(ratios))
    if len(ratios) < FEWEST:
        why = f"; {failed} failed, the last: {reason}" if failed else ""
        raise StudyError(f"the space gave {len(ratios)} candidates to time, a predictor needs {FEWEST}{why}")
    predictor = fit_ratios(counted, np.array(ratios), said, failed, seed)
    ledger.measured.put_predictor(*whose, protocol_key(said), said, asdict(predictor))
    return predictor


def load_predictor(
    space: dict[str, Any], task: Task, ledger: Ledger, *, device: str = "cpu", backend: str = "eager"
) -> Predictor:
    """The predictor that `fit_predictor` kept in the ledger for this space, task, device and backend on this machine.

    Raises StudyError where there is none, UnknownName for a backend that does not exist.
    """
    key = protocol_key(protocol(*task.shapes, device=device, backend=backend))
    fit = ledger.measured.get_predictor(digest(space), str(task), key)
    if fit is None:
        raise StudyError(
            f"no latency predictor was fitted for this space, {task}, backend {backend!r} and device {device!r} "
            "on this machine and its versions; `hadnas predict STUDY` fits one"
        )
    return record(Predictor, fit)


def digest(space: dict[str, Any]) -> str:
    """A short hash of a space and of the code of its ops, the same in every process."""
    data = as_data(space)
    code = [code_of(name) for name in used_ops(data)]  # one by one: no network need hold them all
    return hashlib.sha256(f"{json.dumps(data, sort_keys=True)} {code}".encode()).hexdigest()[:16]


def _regression() -> Pipeline:
    return make_pipeline(MaxAbsScaler(), LinearRegression(positive=True, fit_intercept=False))


def fit_ratios(
    counted: list[Cost],
    ratios: "np.ndarray[Any, np.dtype[np.float64]]",
    protocol: dict[str, Any],
    failed: int,
    seed: int,
) -> Predictor:
    """The predictor of latency ratios, taken under `protocol`, from counted costs; `failed` more gave none."""
    names = list(cost_features(counted[0]))
    table = np.array([list(cost_features(one).values()) for one in counted])
    # relative errors count, for a network twice as slow may be twice as far off
    weights = {"linearregression__sample_weight": ratios**-2.0}
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    guessed = cross_val_predict(_regression(), table, ratios, cv=folds, params=weights)
    errors = np.abs(guessed / ratios - 1)
    whole = _regression().fit(table, ratios, **weights)
    scales, line = whole[0].scale_, whole[1]
    return Predictor(
        protocol=protocol,
        shares={name: float(share / scale) for name, share, scale in zip(names, line.coef_, scales, strict=True)},
        largest=dict(zip(names, table.max(0).tolist(), strict=True)),
        n=len(ratios),
        failed=failed,
        error=float(np.median(errors)),
        p90_error=float(np.quantile(errors, 0.9)),
        rank=rank_correlation(guessed.tolist(), ratios.tolist()),
        costs={
            figure.name: rank_correlation([figure.of(one) for one in counted], ratios.tolist())
            for figure in constraints()
            if figure.source == "cost"
        },
    )
