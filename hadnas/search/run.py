"""The search: Optuna asks, the evaluator answers, the ledger remembers, MLflow shows."""

import os
import time
from contextlib import suppress
from functools import partial
from typing import Any

import optuna

from hadnas.arch.node import Arch
from hadnas.arch.random import sample as random_arch
from hadnas.arch.read import complete
from hadnas.blocks.registry import FAMILIES
from hadnas.errors import HadnasError, Interrupted, StudyError
from hadnas.measure.latency.backends import require
from hadnas.results.table import StudyResults
from hadnas.samplers.optuna import optuna_pick
from hadnas.search.budget import tally
from hadnas.search.compare import backends, compare
from hadnas.search.evaluate import Evaluation, Evaluator, Refused
from hadnas.search.mirror import Mirror
from hadnas.search.others import at_work, end_dead, end_stale_runs, is_surplus
from hadnas.search.progress import Progress, Watch
from hadnas.search.rewrite import rewrite
from hadnas.search.user_defined import check_user_defined
from hadnas.space import Params, sample, size
from hadnas.store.database import clear_errors
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.study import Study
from hadnas.store.study_store import baseline_entries, is_running, open_optuna
from hadnas.store.worker import this_host
from hadnas.track.runs import Tracker, store_errors
from hadnas.track.view import set_view
from hadnas.train.data.spec import load_data
from hadnas.train.device import chosen_device
from hadnas.train.loop import Epoch


def run_study(study: Study, home: Home, *, device: str = "auto", watch: Watch = lambda progress: None) -> Progress:
    """Run a study to its budget; run again, it goes on to the same total.

    Raises DataError, SpecError or StudyError before any work starts where something does not fit, Interrupted on
    Ctrl-C. What was measured is in the ledger in any case.
    """
    if not study.name:
        raise StudyError("the study has no name, under which it would be kept; give it one, as Study(name='mine')")
    device = chosen_device(device)
    for backend in (*backends(study), *([study.latency] if study.latency else [])):
        require(backend, device)
    data = load_data(study.data)
    if study.recipe.batch > len(data.train):
        fits = f"{len(data.train)} images; a smaller one is given by --batch or in the study's Recipe"
        raise StudyError(f"batch = {study.recipe.batch} is larger than the training split of {fits}")
    ledger = Ledger(home.url)
    evaluator = Evaluator(study, data, home, ledger, device)
    random_arch(study.space, evaluator.task)  # a space without a valid draw is refused before any work
    baselines = {name: _baseline(node, evaluator) for name, node in study.baselines.items()}
    check_user_defined(study, evaluator.task, [*baselines.values()])
    home.make_place(study.name)
    with clear_errors(home.url), store_errors(home.tracking_uri):
        book = open_optuna(study, home, evaluator.facts)
        home.make_tracking_database()
        with home.schema_lock():
            tracker = Tracker(home.tracking_uri, home.artifacts, study.name)
        run = _Run(study, evaluator, book, tracker, watch)
        try:
            with tracker.alone():
                run.open()
                run.rewrite(home)
            run.baselines(baselines)
            run.trials()
            run.baselines(baselines, last=True)  # those of a worker that died meanwhile
            run.compare(home)
            with tracker.alone():
                run.tidy()
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            with suppress(Exception):  # the tracking store may be what failed
                tracker.close("KILLED" if stopped else "FAILED")
            if stopped:
                told = f"study {study.name!r} was interrupted; the same command goes on from here"
                raise Interrupted(told) from None
            raise
        finally:
            ledger.close()
        tracker.close("FINISHED")
    return run.progress


def _baseline(node: dict[str, Any] | str, evaluator: Evaluator) -> Arch:
    return complete({"op": "timm", "model": node} if isinstance(node, str) else node, evaluator.task)


class _Run:
    """One process's part in a study."""

    def __init__(self, study: Study, evaluator: Evaluator, book: optuna.Study, tracker: Tracker, watch: Watch) -> None:
        self.study = study
        self.evaluator = evaluator
        self.book = book
        self.tracker = tracker
        self.mirror = Mirror(tracker, evaluator.task, evaluator.data)
        self.watch = watch
        self.progress = Progress(study.name, study.trials, epochs=study.recipe.epochs, notes=evaluator.data.notes)
        self.size = size(study.space)
        self.interrupted = False
        self.given_up = self.surplus = False  # the last trial: by another worker; as others meet the budget
        self._nothing = (float("nan"),) * len(study.objectives)  # makes a trial a failure: its draw is taken up again
        self.tried: set[str] = set()  # baselines; one that was refused is tried again by the next command

    def open(self) -> None:
        """End what dead workers left running, and show the study."""
        self.tidy()
        set_view(self.tracker, columns=["families", "merges"], axes=[f"num_{family}" for family in FAMILIES])
        self._ended()

    def tidy(self) -> None:
        """End what dead workers left running, trials and runs."""
        end_dead(self.book)
        end_stale_runs(self.book, self.tracker)

    def rewrite(self, home: Home) -> None:
        """Write the runs anew that MLflow lacks, once in the life of its store."""
        if not self.tracker.is_whole:
            say = partial(self._say, phase="written to MLflow anew")
            rewrite(StudyResults(self.study.name, home), self.mirror, self.evaluator.key, say)
            self.tracker.set_whole()

    def baselines(self, archs: dict[str, Arch], *, last: bool = False) -> None:
        """Train the networks from outside the space; one that another worker is at is left to that worker.

        Whether one on another machine lives is not known, so in the `last` look its heartbeat must tell.
        """
        for name, arch in archs.items():
            known = baseline_entries(self.book).get(name, {})
            done = "figures" in known and "reason" not in known
            elsewhere = is_running(known) and known["worker"][0] != this_host()
            left = is_running(known) and not (last and elsewhere and not self.evaluator.is_trained(arch))
            if name not in self.tried and not done and not left:
                self.tried.add(name)
                self._baseline(name, arch)

    def _baseline(self, name: str, arch: Arch) -> None:
        """Train one by the same recipe as a candidate: a ledger row and a run, never a trial."""
        evaluation = Evaluation(arch)
        entry: dict[str, Any] = {"fingerprint": arch.fingerprint}
        worker = {"worker": [this_host(), os.getpid()]}
        self.book.set_user_attr(f"baseline:{name}", {**entry, **worker})  # before its run is there to be seen
        entry["run_id"] = run_id = self.mirror.start(None, "baseline", name, arch, {})
        self.book.set_user_attr(f"baseline:{name}", {**entry, **worker})
        try:
            self._evaluate(evaluation, run_id, name, held=False)
            self.mirror.end(run_id, "FINISHED")
        except Refused as error:
            entry["reason"] = str(error)
            self.mirror.end(run_id, "KILLED", str(error))
        except BaseException as error:
            self.book.set_user_attr(f"baseline:{name}", entry)
            self.mirror.end(run_id, "KILLED", _said(error))
            raise
        entry |= {"figures": evaluation.figures, "notes": evaluation.notes}
        self.book.set_user_attr(f"baseline:{name}", entry)

    def trials(self) -> None:
        """Ask for candidates until the budget is met, the space is exhausted, or nothing new comes."""
        while not self.interrupted and not self._ended():
            self.given_up = self.surplus = False
            try:
                self.book.optimize(self._objective, callbacks=[self._after])
            except Exception:  # Optuna's, as it cannot tell a trial that is at its end
                if not self.given_up:
                    raise
            else:
                if not self.surplus or at_work(self.book):
                    break
        if self.interrupted:
            raise KeyboardInterrupt
        self.progress.ended = self.progress.ended or "what is left is with other workers"

    def compare(self, home: Home) -> None:
        """Time the front and the baselines on the other backends of the study."""
        if not backends(self.study):
            return
        results = StudyResults(self.study.name, home)
        shown = self.tracker.run_ids()

        def log(run_id: str, named: dict[str, float], tags: dict[str, str]) -> None:
            if run_id in shown:  # it may have been deleted in the UI
                self.tracker.log_metrics(run_id, named, tags)

        try:
            compare(results, self.evaluator, log, lambda name, on: self._say(f"{name} on {on}", "latency"))
        finally:
            results.ledger.close()

    def _objective(self, trial: optuna.Trial) -> tuple[float, ...]:
        try:
            return self._candidate(trial)
        finally:
            # Where this machine slept, another worker failed the trial meanwhile, and its draw is taken up again.
            found = self.book.get_trials(deepcopy=False)[trial.number]
            self.given_up = found.state == optuna.trial.TrialState.FAIL
            if self.given_up and "run_id" in found.user_attrs:
                self.mirror.end(found.user_attrs["run_id"], "KILLED", "given up by another worker")

    def _candidate(self, trial: optuna.Trial) -> tuple[float, ...]:
        if is_surplus(self.book, trial.number, self.study.trials):
            self.surplus = True
            self.book.stop()
            return self._nothing
        params: Params = {}
        started = time.perf_counter()
        draw = sample(self.study.space, optuna_pick(trial, params))
        sampled = time.perf_counter() - started
        try:
            arch = complete(draw, self.evaluator.task)
        except HadnasError as error:
            raise self._refuse(trial, Refused(str(error), {"valid": 1.0}), None) from None
        evaluation = Evaluation(arch, phases={"sample": sampled, "complete": time.perf_counter() - started - sampled})
        trial.set_user_attr("fingerprint", arch.fingerprint)
        with evaluation.phase("track"):
            run_id = self.mirror.start(trial.number, "trial", f"trial-{trial.number:04d}", arch, params)
        trial.set_user_attr("run_id", run_id)
        try:
            self._evaluate(evaluation, run_id, f"trial {trial.number}", held=True)
        except Refused as error:
            raise self._refuse(trial, error, evaluation, run_id) from None
        except KeyboardInterrupt:
            # Optuna leaves a trial that ends this way running.
            self.interrupted = True
            self.mirror.end(run_id, "KILLED", "interrupted")
            self.book.stop()
            return self._nothing
        except BaseException as error:
            self.mirror.end(run_id, "FAILED", _said(error))
            raise
        for name, value in self.evaluator.constraints(evaluation).items():
            trial.set_constraint(name, value)
        trial.set_constraint("trains", 0.0)
        self._note(trial, evaluation)
        with evaluation.phase("track"):
            self.mirror.end(run_id, "FINISHED")
        trial.set_user_attr("phases", evaluation.phases)
        return tuple(evaluation.figures[name] for name in self.study.objectives)

    def _evaluate(self, evaluation: Evaluation, run_id: str, label: str, *, held: bool) -> None:
        """Measure and train one candidate while MLflow and the watcher see it."""
        self._say(label, "measure")
        try:
            self.evaluator.measure(evaluation, held=held)
        finally:
            with evaluation.phase("track"):
                self.mirror.measured(run_id, label, evaluation)
        self._say(label, "train")

        def seen(epoch: Epoch) -> None:
            self.mirror.epoch(run_id, epoch)
            self._say(label, "train", epoch.epoch)

        self.evaluator.train(evaluation, seen)
        with evaluation.phase("track"):
            self.mirror.trained(run_id, evaluation)

    def _refuse(
        self, trial: optuna.Trial, error: Refused, evaluation: Evaluation | None, run_id: str | None = None
    ) -> optuna.TrialPruned:
        """End a trial as pruned, with its reason and its constraints, so that the sampler learns from it."""
        for name, value in error.constraints.items():
            trial.set_constraint(name, value)
        trial.set_user_attr("reason", str(error))
        if evaluation is not None:
            self._note(trial, evaluation)
        if run_id is not None:
            self.mirror.end(run_id, "KILLED", str(error))
        return optuna.TrialPruned(str(error))

    def _note(self, trial: optuna.Trial, evaluation: Evaluation) -> None:
        trial.set_user_attr("figures", evaluation.figures)
        trial.set_user_attr("notes", {**evaluation.notes, "reused": evaluation.reused})
        trial.set_user_attr("phases", evaluation.phases)

    def _after(self, book: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        end_dead(book)
        if self.interrupted or self._ended():
            book.stop()

    def _ended(self) -> bool:
        """Bring the progress up to what all workers did so far; whether that ends the study."""
        now = tally(self.book.get_trials(deepcopy=False))
        self.progress.done, self.progress.refused, self.progress.best = now.done, now.refused, now.best
        self.progress.ended = now.end(self.study, self.size)
        return bool(self.progress.ended)

    def _say(self, label: str, phase: str, epoch: int = 0) -> None:
        self.progress.label, self.progress.phase, self.progress.epoch = label, phase, epoch
        self.watch(self.progress)


def _said(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
