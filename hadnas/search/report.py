"""What an evaluation asks and says, answered by the ledger, which keeps what was measured."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Protocol

import torch
from torch import nn

from hadnas.errors import HadnasError, LostClaim, StudyError
from hadnas.hosts.build import save_weights
from hadnas.search.job import Job, Outcome
from hadnas.search.timing import timed
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.records import Claim, Costs, Latency, Training, TrainingKey
from hadnas.train.loop import Epoch, Fit

_POINTS = ("train_loss", "val_loss", "val_accuracy", "seconds")


class Shown(Protocol):
    """Where an evaluation is seen while it goes on: a run in MLflow, a progress display."""

    def measured(self, outcome: Outcome) -> None:
        """Everything before the training is known."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""


class LedgerReport:
    """The report of one job, to the ledger and to `shown`; to be used as a context: a claim never outlives it."""

    def __init__(self, job: Job, key: TrainingKey, study: str, home: Home, ledger: Ledger, shown: Shown) -> None:
        self.job, self.key, self.study = job, key, study
        self.home, self.ledger, self.shown = home, ledger, shown
        self.outcome = Outcome()
        self.claim: Claim | None = None

    def __enter__(self) -> "LedgerReport":
        self.ledger.measured.put_architecture(self.job.arch.fingerprint, self.job.arch.json)
        return self

    def __exit__(self, *raised: object) -> None:
        if self.claim is not None:  # not the candidate's fault: it may be tried again
            with suppress(LostClaim):
                self.ledger.release(self.claim)

    def time(self, fresh: Callable[[], nn.Module]) -> Latency:
        """From the ledger, or taken now and kept there."""
        job = self.job
        assert job.latency is not None
        return timed(job.arch, job.task, self.key.code, fresh, self.ledger, device=job.device, backend=job.latency)

    def measured(self, outcome: Outcome) -> None:
        """Keep the costs that were counted, and show what was found."""
        self.outcome = outcome
        outcome.notes["code"] = self.key.code
        if outcome.counted is not None:
            costs = Costs.of(outcome.counted)
            self.ledger.measured.put_cost(self.key.fingerprint, self.key.task, self.key.code, costs)
        self.shown.measured(outcome)

    def training(self) -> Training | None:
        """The finished training, waited for as long as a living worker is at it, or None with the claim to train."""
        versions = _versions()
        claim = self.ledger.claim(self.key, study=self.study, versions=versions, wait=math.inf)
        if claim.status == "done":
            return claim.training
        self.claim = claim
        return None

    def epoch(self, epoch: Epoch) -> None:
        """Add a point to the curve."""
        assert self.claim is not None
        points = asdict(epoch)
        try:
            with self.outcome.phase("record"), _ours():
                self.ledger.add_epoch(self.claim, epoch.epoch, **{name: points[name] for name in _POINTS})
                self.shown.epoch(epoch)
        except LostClaim:
            self.claim = None
            raise

    def trained(self, module: nn.Module, result: Fit) -> Training:
        """Write the weights and close the training."""
        assert self.claim is not None
        with _ours():
            written = save_weights(module, self.home.path / self.ledger.place_weights(self.claim))
        figures = {name: getattr(result, name) for name in ("val_accuracy", "val_loss", "val_n", "seconds")}
        claim, self.claim = self.claim, None
        return self.ledger.finish(claim, **figures, weights_sha256=written)

    def failed(self, reason: str, *, again: bool) -> None:
        """Close the training that failed; where it may succeed `again`, another worker or study may try."""
        assert self.claim is not None
        claim, self.claim = self.claim, None
        if again:
            self.ledger.release(claim, reason)
        else:
            self.ledger.fail(claim, reason)


def _versions() -> dict[str, str]:
    import timm

    return {"torch": str(torch.__version__), "timm": timm.__version__}


@contextmanager
def _ours() -> Iterator[None]:
    """What fails while a result is written down is never the candidate's fault."""
    try:
        yield
    except HadnasError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise StudyError(f"a result could not be written down: {type(error).__name__}: {said}") from error
