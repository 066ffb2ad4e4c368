"""The finals: what a study chose, trained again with fresh seeds and scored on the test split, beside its controls.

The search chose by validation images with one seed, so the figures of its best are too good. In the finals every
network is trained with the same fresh seeds at full length, and only when all are trained is the test split opened.
Beside each finalist stand its additive twin and its one-branch control; beside them all the study's baselines, and
the best (by the study's metric) of as many random candidates as the search had. Every training and every test score
is in the ledger, so the same command again opens nothing twice; finals with other seeds or another field open the
split once more, which is counted and said.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from hadnas.arch.node import Arch
from hadnas.arch.random import distinct
from hadnas.arch.twins import additive_twin, one_branch
from hadnas.errors import Interrupted, SpecError, StudyError, check_kind
from hadnas.hosts.build import trained
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.figures import TABLE, VAL
from hadnas.results.finals.finals import Final, read_finals
from hadnas.results.table import StudyResults
from hadnas.search.evaluator import Evaluator
from hadnas.search.job import Outcome
from hadnas.search.mirror.candidates import mirror_finals
from hadnas.search.mirror.restore import open_mirror, without_mlflow
from hadnas.search.progress import Progress, Watch
from hadnas.search.stress import score_stressed
from hadnas.search.tally import REFUSALS
from hadnas.store.database import clear_errors
from hadnas.store.health.outage import through_outages
from hadnas.store.home import Home, score_of
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
from hadnas.store.study import Study
from hadnas.store.trials import OPENINGS, FinalEntry, Kind, final_entries, mark_behind, note_finals
from hadnas.track.failure import STORE_ERRORS, reason_of
from hadnas.track.weights import fetched_weights
from hadnas.train.device import chosen_device
from hadnas.train.own import OwnTraining, Train
from hadnas.train.score import check_defined, score_module
from hadnas.train.stress.stress import Stress, check_stress, find_stress
from hadnas.train.trainer import Epoch

CONTROLS: dict[Kind, Callable[..., Arch | None]] = {"additive twin": additive_twin, "one branch": one_branch}


@dataclass(frozen=True)
class Entry:
    """A network in the field; `against` is the finalist it is compared with."""

    name: str
    kind: Kind
    plan: Plan
    against: str | None


def run_finals(
    name: str,
    home: Home,
    *,
    seeds: int = 3,
    top: int | None = None,
    candidates: int | None = None,
    device: str = "auto",
    under: Sequence[str] = (),
    watch: Watch = lambda progress: None,
    evaluate: Train | None = None,
) -> list[Final]:
    """Hold the finals of a study: `seeds` trainings of the front, or of the `top` best, and of their controls.

    `evaluate` is the function by which the study was trained, if it was (see `run_study`). Each network is scored under
    the stresses `under`, too, such as "noise:0.1" (`hadnas.train.stress.stress.Stress`). `candidates` random ones are
    drawn to be compared with, as many as the study met where None. Raises StudyError where the study has no finished
    trial or its data have changed, SpecError for a number that is too small, UnknownName, SpecError or DataError for a
    stress that does not exist or fit the data, Interrupted on Ctrl-C; the same command goes on.
    """
    check_kind(name, str, "name", "the name of a stored study: study.name")
    check_kind(home, Home, "home", "a home: hadnas.Home(folder)")
    for what, number, least in (("seeds", seeds, 1), ("top", top, 1), ("candidates", candidates, 0)):
        if number is not None and number < least:
            raise SpecError(f"{what} = {number} is not allowed; allowed: {least} or more")
    stresses = list(dict.fromkeys(map(find_stress, under)))
    results = StudyResults(name, home)
    results.check_blocks()
    _ = results.best  # says where there is none
    data = results.data()
    check_defined(results.study.metric_figure.removeprefix(VAL), data, "test")
    for stress in stresses:
        check_stress(stress, data)
    if data.sizes["test"] < 2:
        raise StudyError(f"{data.name}: the test split has {data.sizes['test']} image; finals need two or more")
    ledger = Ledger(home.url)
    with clear_errors(home.url):
        try:
            own = OwnTraining(evaluate) if evaluate else None
            judge = Evaluator(_plain(results), data, home, ledger, chosen_device(device), own)
            candidates = results.num_met if candidates is None else candidates
            with ledger.worker.alive():
                through_outages(lambda: _Finals(results, ledger, judge, watch).hold(seeds, top, candidates, stresses))
        except KeyboardInterrupt:
            raise Interrupted(f"the finals of {name!r} were interrupted; the same command goes on from here") from None
        finally:
            ledger.close()
        found = read_finals(results)
        try:
            mirror = open_mirror(results)
            with mirror.tracker.alone():  # a search that starts now would close these runs as left open
                mirror_finals(results, mirror.tracker)
            mirror.overview.close(data)
            mirror.leave()
        except STORE_ERRORS as error:
            mark_behind(results.book, True)
            logging.getLogger(__name__).warning("%s (%s)", without_mlflow(results), reason_of(error))
    return found


def _plain(results: StudyResults) -> Study:
    """The study without latency, unless that is constrained: random candidates need be held against nothing else."""
    timed = any(TABLE[name].source == "latency" for name in results.study.constraints)
    return results.study if timed else results.study.model_copy(update={"latency": None})


@dataclass(frozen=True)
class _Shown:
    """Progress alone: the finals are shown in MLflow when all are scored."""

    say: Callable[[int], None]

    def measured(self, outcome: Outcome) -> None:
        """Nothing to see."""

    def epoch(self, epoch: Epoch) -> None:
        self.say(epoch.epoch)

    def quiet(self) -> AbstractContextManager[None]:
        """Nothing is written meanwhile."""
        return nullcontext()


class _Finals:
    def __init__(self, results: StudyResults, ledger: Ledger, searcher: Evaluator, watch: Watch) -> None:
        self.results, self.ledger, self.searcher, self.watch = results, ledger, searcher, watch
        self.progress = Progress(results.name, 0, epochs=results.study.recipe.epochs)
        self.by_hits = results.study.metric_figure == f"{VAL}accuracy"  # the only metric that needs no outputs

    def hold(self, seeds: int, top: int | None, candidates: int, under: Sequence[Stress]) -> None:
        """Train everything, then open the test split, score under stress, and note who took part."""
        study = self.searcher.study
        first = study.seed + 1
        judges = [
            Evaluator(
                study.model_copy(update={"seed": seed}),
                self.searcher.data,
                self.searcher.home,
                self.ledger,
                self.searcher.device,
                self.searcher.own,
            )
            for seed in range(first, first + seeds)
        ]
        field = self._field(top)
        self.progress.budget = candidates + len(field) * seeds + (seeds if candidates else 0)
        chosen, trained = self._best_random(candidates)
        if chosen is not None:
            asked = "" if trained == candidates else f" ({candidates} asked for)"
            field.append(Entry(f"best of {trained} random{asked}", "random", chosen, field[0].name))
        reasons: dict[str, str] = {}
        for entry in field:
            for judge in judges:
                if entry.name not in reasons:
                    outcome = self._evaluate(judge, entry.plan, f"{entry.name}, seed {judge.study.seed}", held=False)
                    if outcome.reason:
                        seed = f"seed {judge.study.seed}: " if outcome.training is not None else ""
                        reasons[entry.name] = f"{seed}{outcome.reason}"
                self.progress.done += 1
        scored = [(judge, entry.plan) for entry in field if entry.name not in reasons for judge in judges]
        self._open_test(scored)
        entries, known = [], {(old.name, tuple(old.keys)): old.stressed for old in final_entries(self.results.book)}
        for entry in field:
            seen, reason = [judge.key(entry.plan) for judge in judges], reasons.get(entry.name)
            fingerprint = entry.plan.arch.fingerprint
            stressed = known.get((entry.name, tuple(seen)), {})
            if reason is None:
                stressed = stressed | self._under(under, entry, list(zip(judges, seen, strict=True)))
            entries.append(FinalEntry(entry.name, entry.kind, fingerprint, entry.against, seen, reason, stressed))
        note_finals(self.results.book, entries)

    def _under(
        self, stresses: Sequence[Stress], entry: Entry, trainings: Sequence[tuple[Evaluator, TrainingKey]]
    ) -> dict[str, dict[str, int]]:
        """The sizes that remain of a network under each stress that it can have."""
        found: dict[str, dict[str, int]] = {}
        for stress in stresses:
            self._say(f"{entry.name} under {stress}", 0)
            finished = [(judge, self.ledger.training(key)) for judge, key in trainings]
            size = score_stressed(
                stress, entry.name, entry.plan, [(judge, one) for judge, one in finished if one is not None]
            )
            if size is not None:
                found[str(stress)] = size
        return found

    def _field(self, top: int | None) -> list[Entry]:
        """Finalists, each with its controls, and the study's baselines."""
        finalists = self.results.front if top is None else self.results.ranked[:top]
        field = []
        for found in finalists:
            assert found.arch is not None
            field.append(Entry(found.name, "finalist", self.results.plan(found), None))
            for kind, control in CONTROLS.items():
                if (arch := control(found.arch, self.searcher.task)) is not None:
                    field.append(Entry(f"{found.name} {kind}", kind, make_plan(arch, self.searcher.task), found.name))
        baselines = [found for found in self.results.baselines if found.feasible and found.arch is not None]
        return field + [Entry(b.name, "baseline", self.results.plan(b), field[0].name) for b in baselines]

    def _best_random(self, count: int) -> tuple[Plan | None, int]:
        """The best by the study's metric, ties by MACs, of `count` random architectures, and how many were trained.

        They are held to the constraints and trained as the search does its own. Fewer where the space has no more to
        give, or `REFUSALS` in a row were refused.
        """
        study = self.searcher.study
        ranks: list[tuple[float, float, Plan]] = []
        refused = 0
        for arch in distinct(study.space, self.searcher.task, study.seed):
            if len(ranks) == count or refused == REFUSALS:
                break
            plan = make_plan(arch, self.searcher.task)
            outcome = self._evaluate(self.searcher, plan, f"random {len(ranks)}", held=True)
            if outcome.reason:
                refused += 1
                continue
            refused = 0
            value = outcome.figures[study.metric_figure]
            upward = TABLE[study.metric_figure].direction == "maximize"
            ranks.append((-value if upward else value, outcome.figures["macs"], plan))
            self.progress.done += 1
        best = min(ranks, key=lambda rank: rank[:2], default=None)
        return (None if best is None else best[2]), len(ranks)

    def _evaluate(self, judge: Evaluator, plan: Plan, label: str, *, held: bool) -> Outcome:
        self._say(label, 0)
        return judge.evaluate(plan, _Shown(partial(self._say, label)), held=held)

    def _say(self, label: str, epoch: int) -> None:
        self.progress.label, self.progress.phase, self.progress.epoch = label, "train", epoch
        self.watch(self.progress)

    def _open_test(self, scored: list[tuple[Evaluator, Plan]]) -> None:
        """Score finished trainings on the test split, each once; cut short and gone on with, it is one opening."""
        unscored = []
        for judge, plan in scored:
            key = judge.key(plan)
            training = self.ledger.training(key)
            assert training is not None
            place = score_of(training, judge.home, "test")
            if self.ledger.get_test(key) is None or not (self.by_hits or place.exists()):
                weights = fetched_weights(training, judge.home)  # before the split is opened
                unscored.append((judge, plan, key, weights, place))
        if not unscored:
            return
        field = hashlib.sha256(repr([judge.key(plan) for judge, plan in scored]).encode()).hexdigest()[:16]
        opened = self.results.book.user_attrs.get(OPENINGS, [])
        self.results.book.set_user_attr(OPENINGS, list(dict.fromkeys([*opened, field])))
        for judge, plan, key, weights, place in unscored:
            network = trained(plan, weights)
            batch = judge.study.recipe.evaluation_batch
            score = score_module(network, judge.data, "test", batch=batch, device=judge.device)
            score.save(place)
            self.ledger.put_test(key, score.hits.tolist(), score.loss)
