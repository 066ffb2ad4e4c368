"""The search: propose, evaluate, record, until the budget is met."""

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from hadnas.arch.node import Arch
from hadnas.arch.random import sample as random_arch
from hadnas.contract.user_defined import check_user_defined
from hadnas.errors import Interrupted, SpecError, StudyError, at, check_kind
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.figures import VAL
from hadnas.measure.latency.backends import require_backend
from hadnas.results.table import StudyResults
from hadnas.samplers.sampler import make_sampler
from hadnas.search.evaluate import check_start
from hadnas.search.evaluator import Evaluator
from hadnas.search.latency.compare import backends, compare
from hadnas.search.mirror.restore import OpenMirror, open_mirror, without_mlflow
from hadnas.search.mirror.writer import Writer
from hadnas.search.progress import Progress, Watch
from hadnas.search.proposals.defaults import chosen_baselines, fitting_batch, images_of_weights
from hadnas.search.proposals.enqueued import enqueue, queue_of
from hadnas.search.proposals.propose import clear_done, drop_left, propose
from hadnas.search.proposals.prospects import prospects
from hadnas.search.record import Recorder
from hadnas.search.tally import RunningTally, all_failed, standstill
from hadnas.space import Params, replay, size
from hadnas.store.database import clear_errors
from hadnas.store.health.outage import through_outages
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.study import Study
from hadnas.store.study_store import open_trials, user_defined_ops
from hadnas.store.trials import Trials, mark_behind
from hadnas.track.runs import End
from hadnas.train.data.spec import Data, load_data
from hadnas.train.device import chosen_device
from hadnas.train.loss import Loss
from hadnas.train.own import OwnTraining, Train
from hadnas.train.score import check_defined
from hadnas.train.summary import summary

ELSEWHERE = "other workers evaluate the rest"
OPEN_SECONDS, CLOSE_SECONDS = 10.0, 120.0
"""The longest waits for a tracking server, before and after a search."""

TIME_OVER = "the time limit is over; the same command continues the search"


def run_study(
    study: Study,
    home: Home,
    *,
    device: str = "auto",
    timeout: float | None = None,
    enqueued: Mapping[str, Arch] | None = None,
    evaluate: Train | None = None,
    watch: Watch = lambda progress: None,
    retry: bool = True,
) -> Progress:
    """Run a study to its budget; a second call continues it to the same total.

    timeout: seconds after which no further training or timing starts; the one at work ends as usual
    enqueued: architectures by name that are judged first. A draw of the space becomes a trial, which counts in the
              budget and from which the sampler learns; any other becomes a baseline of the study under its name
    evaluate: a function of your own that trains in place of the recipe (`hadnas.train.own.Train`); the study stores
              its name and the hash of its file, so pass it again to continue
    retry: whether baselines that were refused before are tried again

    Raises DataError, SpecError or StudyError before any work starts if something does not fit, Interrupted on
    Ctrl-C. All measurements until then are in the ledger.
    """
    check_kind(
        study, Study, "study", "a Study, such as hadnas.load('digits') or hadnas.Study(name='mine', space=space)"
    )
    check_kind(home, Home, "home", "a home: hadnas.Home(folder)")
    if not study.name:
        raise StudyError("the study has no name, under which it is stored; give it one, as Study(name='mine')")
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    device, own = chosen_device(device), OwnTraining(evaluate) if evaluate else None
    if own and study.rungs:
        raise SpecError(f"rungs = {list(study.rungs)} with a training of your own, which has none; remove them")
    study = study.model_copy(update={"evaluate": own.mark if own else ""})
    for backend in (*backends(study), *([study.latency] if study.latency else [])):
        require_backend(backend, device)
    watch(Progress(study.name, study.trials, phase="reading the images"))
    study = study.model_copy(update={"data": images_of_weights(study.data, study.space)})
    data = load_data(study.data)
    study, notes = fitting_batch(study, len(data.train))
    study = study.for_target(data.target, data.classes)
    for figure in (study.metric_figure, *study.objectives):
        if figure.startswith(VAL):
            check_defined(figure.removeprefix(VAL), data)
    Loss(data, study.recipe)  # refuses settings that do not fit the target
    ledger = Ledger(home.url)
    evaluator = Evaluator(study, data, home, ledger, device, own)
    first = random_arch(study.space, evaluator.task)  # refuses a space without a valid draw before any work
    study, more = chosen_baselines(study, evaluator.task, home)
    queue = enqueue(study, {**queue_of(study.name, home), **(enqueued or {})}, evaluator.task)
    evaluator.study = study = queue.study
    baselines = {name: _baseline(node, evaluator) for name, node in (study.baselines or {}).items()}
    draws = [make_plan(replay(study.space, answers), evaluator.task) for answers in queue.draws]
    for plan in (make_plan(first, evaluator.task), *baselines.values(), *draws):
        check_start(plan, study.recipe, data)
    blocks = user_defined_ops(study.model_dump(mode="json"))
    with at(f"study {study.name!r}"):
        check_user_defined(blocks, study.space, evaluator.task, [*baselines.values()], study.seed)
    home.make_place(study.name)
    with clear_errors(home.url):
        trials = open_trials(study, home, evaluator.facts)
        watch(Progress(study.name, study.trials, phase="opening MLflow"))
        results = StudyResults(study.name, home, trials.book)
        writer = _writer(results, ledger.worker.id, evaluator.device)
        run = _Run(evaluator, trials, writer, watch, notes + more, deadline, retry)

        def work() -> None:
            run.baselines(baselines)
            run.enqueued(queue.draws)
            run.candidates()
            run.baselines(baselines)  # those of workers that died meanwhile
            if not run.is_over():
                compare(study, home, evaluator, writer, lambda name, on: run.say(f"{name} on {on}", "latency"))

        state: End = "FAILED"
        try:
            with ledger.worker.alive():
                try:
                    trials.mend()
                    clear_done(study.name, trials, ledger.claims)
                    writer.open(None if home.tracks_in_file else OPEN_SECONDS)
                    through_outages(work)
                    run.say("", "writing to MLflow")
                    finish = partial(_finish, data=data if run.progress.ended != ELSEWHERE else None)
                    writer.add(finish, opens=True, now=True)
                    state = "FINISHED"
                except KeyboardInterrupt:
                    state = "KILLED"
                    message = f"study {study.name!r} was interrupted; the same command continues it"
                    raise Interrupted(message) from None
                finally:
                    writer.close(state, None if home.tracks_in_file else CLOSE_SECONDS)
        finally:
            ledger.close()
            results.ledger.close()
    return run.progress


def _writer(results: StudyResults, worker: str, device: str) -> Writer:
    """The thread that writes a study to MLflow."""
    return Writer(
        partial(open_mirror, results, worker, device=device),
        partial(mark_behind, results.book),
        without_mlflow(results),
    )


def _finish(mirror: OpenMirror, data: Data | None) -> None:
    """Close what dead workers left open; with the images of a study that ended, write its report."""
    mirror.tidy()
    if data is not None:
        mirror.overview.close(data)


def _baseline(node: dict[str, Any] | str, evaluator: Evaluator) -> Plan:
    return make_plan({"op": "timm", "model": node} if isinstance(node, str) else node, evaluator.task)


class _Run:
    """The work of one process in a study."""

    def __init__(
        self,
        evaluator: Evaluator,
        trials: Trials,
        writer: Writer,
        watch: Watch,
        notes: tuple[str, ...],
        deadline: float,
        retry: bool,
    ) -> None:
        self.study = study = evaluator.study
        self.evaluator, self.trials, self.writer, self.watch = evaluator, trials, writer, watch
        self.deadline = deadline
        self.claims, data = evaluator.ledger.claims, evaluator.data
        self.progress = Progress(study.name, study.trials, epochs=study.recipe.epochs, notes=notes)
        self.progress.data = summary(study.data, data, study.metric_figure.removeprefix(VAL))
        self.size, self.counts = size(study.space), RunningTally(study.metric_figure)
        self.progress.worker = evaluator.ledger.worker.id
        self.progress.metric = study.metric_figure.removeprefix(VAL)
        self.recorder = Recorder(evaluator, trials, writer, self.say, self.begin, retry=retry)
        self.problem = prospects(study.space, evaluator.task, study.objectives, study.constraints)
        self.sampler = make_sampler(study.sampler, study.seed, study.sampler_options, self.problem)

    def is_over(self) -> bool:
        """Whether the time of the search is over."""
        return time.monotonic() >= self.deadline

    def baselines(self, plans: Mapping[str, Plan]) -> None:
        """Evaluate the baselines that are not known yet, until the time is over."""
        for name, plan in plans.items():
            if not self.is_over():
                self.recorder.baselines({name: plan})

    def enqueued(self, draws: Sequence[Params]) -> None:
        """Evaluate draws that the study has not met, until the time is over; before them those of dead workers."""
        for answers in draws:
            while not self.is_over() and all(trial.params != answers for trial in self.trials.all()):
                proposal = propose(self.study, self.trials, self.claims, self.sampler, self.counts, answers)
                assert proposal is not None  # the budget does not end it
                self.recorder.candidate(proposal)

    def candidates(self) -> None:
        """Propose, evaluate, record, until the study ends or other workers evaluate the rest."""
        study = self.study
        while not self._ended():
            self.writer.add(lambda mirror: mirror.overview.update())
            proposal = propose(study, self.trials, self.claims, self.sampler, self.counts)
            if proposal is not None:
                self.recorder.candidate(proposal)
            elif self.claims.at_work(study.name):
                self.progress.ended = ELSEWHERE
                return
        if self.progress.ended != TIME_OVER:
            drop_left(study.name, self.trials, self.claims)

    def _ended(self) -> bool:
        """Update the progress with the trials of all workers; whether the study ends."""
        trials, patience = self.trials.all(), self.study.patience
        now = self.counts.update(trials)
        self.progress.done, self.progress.stopped = now.done, now.stopped
        self.progress.refused, self.progress.best = now.refused, now.best
        self.progress.longest = now.longest
        self.progress.ended = now.end(self.study, self.size) or all_failed(now.done, self.recorder.failed)
        if patience and not self.progress.ended:
            self.progress.ended = standstill(self.problem, trials, patience)
        if not self.progress.ended and self.is_over():
            self.progress.ended = TIME_OVER
        return bool(self.progress.ended)

    def say(self, label: str, phase: str, epoch: int = 0) -> None:
        """Report the progress of the search to the watcher."""
        self.progress.label, self.progress.phase, self.progress.epoch = label, phase, epoch
        self.watch(self.progress)

    def begin(self, item: str) -> None:
        """Report the item at work to the watcher."""
        self.progress.item = item
        self.watch(self.progress)
