"""A candidate evaluated, shown in MLflow and to the watcher meanwhile, then written to its trial and its run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from hadnas.errors import HadnasError, LostClaim
from hadnas.hosts.host import Plan, make_plan
from hadnas.search.evaluator import Evaluator
from hadnas.search.job import Outcome
from hadnas.search.mirror.live import Live
from hadnas.search.mirror.writer import Writer
from hadnas.search.proposals.propose import Proposal
from hadnas.search.rungs import reason_to_stop
from hadnas.store.health.outage import is_lost
from hadnas.store.trials import (
    FIGURES,
    FINGERPRINT,
    NOTES,
    PHASES,
    REASON,
    RUNG,
    WORKER,
    Trials,
    baseline_entries,
    note_baseline,
    note_run,
    trial_name,
)
from hadnas.store.worker import Held

Say = Callable[[str, str, int], None]
"""Called with a label, a phase and an epoch."""

Begin = Callable[[str], None]
"""Called with the name of an item when it begins, with "" when it has ended."""


class Recorder:
    """Evaluates the claimed candidates of this worker and records them: in the ledger, the trial, the run.

    retry: whether baselines that an earlier command refused are tried again, once
    """

    def __init__(
        self,
        evaluator: Evaluator,
        trials: Trials,
        writer: Writer,
        say: Say,
        begin: Begin = lambda item: None,
        *,
        retry: bool = True,
    ) -> None:
        self.evaluator, self.trials, self.writer, self.say, self.begin = evaluator, trials, writer, say, begin
        self.study, self.claims = evaluator.study, evaluator.ledger.claims
        entries = baseline_entries(trials.book)
        self.again = {name for name, entry in entries.items() if REASON in entry} if retry else set()
        self.failed: list[str] = []  # the reasons of candidates that failed, without those that a rule or limit refused

    def candidate(self, proposal: Proposal) -> None:
        """Evaluate a proposal and end its trial."""
        with self._begun(proposal.held):
            self._candidate(proposal)

    def _candidate(self, proposal: Proposal) -> None:
        number = proposal.number
        if proposal.held.is_hopeless:
            left, reason = proposal.left, proposal.held.reason
            if left is not None:  # its run gets the reason
                self.trials.note_run(number, left)
                self.writer.add(lambda mirror: mirror.tracker.interrupt(left, reason))
            self._tell(proposal, Outcome(reason=reason, broken={"trains": 1.0}))
            return
        try:
            plan = make_plan(proposal.node, self.evaluator.task)
        except HadnasError as error:
            self._tell(proposal, Outcome(reason=str(error), broken={"valid": 1.0}))
            return
        self.evaluator.keep(plan)  # before the trial names it
        self.trials.note(number, **{FINGERPRINT: plan.arch.fingerprint})
        if failure := self.trials.failure(plan.arch.fingerprint):
            self._tell(proposal, Outcome(reason=failure, broken={"trains": 1.0}))
            return
        note, say = partial(self.trials.note_run, number), partial(self.say, f"trial {number}")
        live = Live(self.writer, trial_name(number), plan, note, say)
        live.start(number, "trial", proposal.params, proposal.left)
        with self._at_work(proposal.held, live):
            outcome = self._evaluate(plan, live, held=True)
            outcome.phases["sample"] = proposal.seconds
            self.claims.check(proposal.held)
            self._tell(proposal, outcome)
            live.end("KILLED" if outcome.reason else "FINISHED", outcome.reason)

    def _evaluate(self, plan: Plan, live: Live, *, held: bool) -> Outcome:
        """Measure and train one candidate, shown in MLflow and to the watcher meanwhile."""
        live.say("measure", 0)
        evaluator = self.evaluator
        rule = partial(reason_to_stop, self.study, evaluator.key(plan), self.trials, evaluator.ledger) if held else None
        outcome = evaluator.evaluate(plan, live, held=held, rule=rule)
        if outcome.training is not None:
            live.trained(outcome)
        return outcome

    def _tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """End a trial, so that the sampler learns from it."""
        number = proposal.number
        if outcome.broken.get("trains"):
            self.failed.append(outcome.reason)
        if outcome.reason:
            self.trials.note(number, **{REASON: outcome.reason})
        if outcome.rung is not None:
            self.trials.note(number, **{RUNG: outcome.rung})
        if outcome.figures:
            notes = {**outcome.notes, "reused": outcome.reused}
            self.trials.note(number, **{FIGURES: outcome.figures, NOTES: notes, PHASES: outcome.phases})
        trained = {**self.evaluator.overruns(outcome), "trains": 0.0}
        values = [outcome.figures[name] for name in self.study.objectives] if not outcome.reason else None
        self.trials.tell(number, outcome.broken or trained, values)
        self.claims.end(proposal.held)

    def baselines(self, plans: Mapping[str, Plan]) -> None:
        """Evaluate the networks from outside the space, except those at which another worker is."""
        for name, plan in plans.items():
            known = baseline_entries(self.trials.book).get(name, {})
            if FIGURES not in known or name in self.again:
                held = self.claims.take(self.study.name, [f"baseline {name}"])
                if held is not None:
                    self.again.discard(name)
                    with self._begun(held):
                        self._baseline(name, plan, held)

    def _baseline(self, name: str, plan: Plan, held: Held) -> None:
        """Evaluate a baseline: it gets a ledger row and a run, but no trial."""
        self.evaluator.keep(plan)
        book = self.trials.book
        note_run(book, name, None)  # until there is another
        entry: dict[str, Any] = {FINGERPRINT: plan.arch.fingerprint, WORKER: self.claims.worker.id}
        note_baseline(book, name, entry)
        live = Live(self.writer, name, plan, partial(note_run, book, name), partial(self.say, name))
        live.start(None, "baseline", {})
        with self._at_work(held, live):
            outcome = Outcome(reason=held.reason) if held.is_hopeless else self._evaluate(plan, live, held=False)
            self.claims.check(held)
            if outcome.reason:
                entry[REASON] = outcome.reason
            notes = {**outcome.notes, "reused": outcome.reused}
            note_baseline(book, name, {**entry, FIGURES: outcome.figures, NOTES: notes})
            self.claims.end(held)
            live.end("KILLED" if outcome.reason else "FINISHED", outcome.reason)

    @contextmanager
    def _begun(self, held: Held) -> Iterator[None]:
        self.begin(held.item)
        with self.claims.holding(held):
            yield
        self.begin("")

    @contextmanager
    def _at_work(self, held: Held, live: Live) -> Iterator[None]:
        """Close the run if the body does not complete."""
        try:
            yield
        except LostClaim:
            live.end("KILLED", "taken over by another worker")
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt) or is_lost(error)
            said = "interrupted" if stopped else f"{type(error).__name__}: {error}"
            live.end("KILLED" if stopped or held.item.startswith("baseline") else "FAILED", said)
            raise
