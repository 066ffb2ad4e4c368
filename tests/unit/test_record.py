"""What is written of a candidate: its trial, its run, its item; trainings are those of a ledger that knows them all."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import optuna
import pytest
from mlflow.entities import Metric, Run

from hadnas.arch.read import complete
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import Plan, make_plan
from hadnas.measure.cost import cost
from hadnas.results.table import StudyResults
from hadnas.search.evaluator import Evaluator
from hadnas.search.job import Outcome
from hadnas.search.mirror.candidates import Mirror
from hadnas.search.mirror.overview import overview_of
from hadnas.search.mirror.restore import OpenMirror
from hadnas.search.mirror.writer import Writer
from hadnas.search.proposals.propose import Proposal
from hadnas.search.record import Recorder
from hadnas.space import op
from hadnas.store.ledger import Ledger
from hadnas.store.study_store import open_trials
from hadnas.store.trials import baseline_entries, mark_behind, noted_run
from hadnas.track import server
from hadnas.track.runs import Tracker
from hadnas.train.data.spec import load_data
from tests.homes import new_home, study
from tests.networks import pyramid, residual
from tests.pictures import npz
from tests.shell import hadnas

BLOCKS = ("star", "mlp", "conv_next", "basic", "depthwise")
DRAWN = {name: pyramid((8, [residual(op(name))])) for name in BLOCKS}


class Made:
    """A study whose candidates were all trained before but for the star, which failed."""

    def __init__(self, home: Any, source: str) -> None:
        self.home, self.ledger, self.other = home, Ledger(home.url), Ledger(home.url, stale=-1.0)
        self.study = study(data=source, recipe={"epochs": 1, "batch": 64})
        self.evaluator = Evaluator(self.study, load_data(source), home, self.ledger, "cpu")
        self.trials = open_trials(self.study, home, self.evaluator.facts)
        self.tracker = Tracker(home.tracking_uri, home.artifacts, "tiny")
        self.said: list[tuple[str, str, int]] = []
        data = self.evaluator.data
        mirror = Mirror(self.tracker, (data.mean, data.std), data.class_names)
        overview = overview_of(StudyResults("tiny", home), self.tracker)
        opened = OpenMirror(self.tracker, mirror, overview, self.ledger.worker.id)
        self.writer = Writer(lambda breathe: opened, lambda behind: None, "MLflow is away")
        self.writer.open(None)
        self.recorder = Recorder(self.evaluator, self.trials, self.writer, lambda *said: self.said.append(said))
        for name in BLOCKS:
            plan = self.plan(name)
            self.evaluator.keep(plan)
            claim = self.ledger.claim(self.evaluator.key(plan))
            if name == "star":
                self.ledger.fail(claim, "loss is nan")
            else:
                self.ledger.add_epoch(claim, 1, train_loss=1.5, val_loss=0.5, metrics={"accuracy": 0.75}, seconds=1.0)
                self.ledger.finish(claim, metrics={"accuracy": 0.75}, val_loss=0.5, val_n=24, seconds=1.0)

    def plan(self, name: str) -> Plan:
        return make_plan(complete(DRAWN[name], self.evaluator.task), self.evaluator.task)

    def proposal(self, draw: int, node: Any) -> Proposal:
        held = self.ledger.claims.take("tiny", [f"draw {draw}"])
        assert held is not None
        return Proposal(held, self.trials.add(draw, {}, {}, {}).number, node, {"block": draw}, None, 0.25)

    def told(self, proposal: Proposal) -> optuna.trial.FrozenTrial:
        self.writer.wait(None)
        return self.trials.book.trials[proposal.number]

    def run(self, proposal: Proposal) -> Run:
        trial = self.told(proposal)
        attributes = self.trials.book.user_attrs
        return self.tracker.client.get_run(noted_run(attributes, trial.number) or trial.user_attrs["run_id"])

    def history(self, run: Run, name: str) -> list[Metric]:
        found: list[Metric] = self.tracker.client.get_metric_history(run.info.run_id, name)
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    place = tmp_path_factory.mktemp("record")
    found = Made(new_home(place / "home"), npz(place))
    yield found
    found.writer.close("FINISHED", None)
    found.ledger.close()
    found.other.close()


def test_a_trained_candidate_is_told_with_its_objectives_and_noted_in_all_three(made: Made) -> None:
    chosen = made.proposal(0, DRAWN["mlp"])
    made.recorder.candidate(chosen)
    trial, plan = made.told(chosen), made.plan("mlp")
    counted = cost(build_plan(plan, device="meta"), made.evaluator.task.shape)
    assert trial.state.name == "COMPLETE" and trial.values == [0.75, counted.macs]
    assert trial.constraints == {"trains": 0.0} and "reason" not in trial.user_attrs
    kept = trial.user_attrs
    assert kept["fingerprint"] == plan.arch.fingerprint and kept["figures"]["macs"] == counted.macs
    assert kept["notes"]["reused"] and kept["notes"]["val_n"] == 24 and kept["phases"]["sample"] == 0.25
    assert made.ledger.measured.architecture(plan.arch.fingerprint) == plan.arch.json
    run = made.run(chosen)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "trial-0000")
    assert run.data.metrics["macs"] == counted.macs and run.data.params["block"] == "0"
    assert "hadnas.reused" in run.data.tags  # and its curve is there all the same
    assert [(p.step, p.value) for p in made.history(run, "val/accuracy")] == [(1, 0.75)]
    assert made.ledger.claims.at_work("tiny") == set() and ("trial 0", "measure", 0) in made.said


def test_a_refused_candidate_is_pruned_with_its_reason_and_what_was_found(made: Made) -> None:
    chosen = made.proposal(1, DRAWN["star"])
    made.recorder.candidate(chosen)
    trial, run = made.told(chosen), made.run(chosen)
    assert trial.state.name == "PRUNED" and trial.constraints == {"trains": 1.0}
    assert trial.user_attrs["reason"] == "loss is nan" and trial.user_attrs["figures"]["macs"] > 0
    assert run.info.status == "KILLED" and run.data.tags["hadnas.reason"] == "loss is nan"
    made.recorder.candidate(again := made.proposal(10, DRAWN["star"]))  # and is not tried again
    trial = made.told(again)
    assert (trial.state.name, trial.constraints) == ("PRUNED", {"trains": 1.0})
    assert trial.user_attrs["reason"] == "loss is nan" and "figures" not in trial.user_attrs
    assert made.ledger.claims.at_work("tiny") == set()


@pytest.mark.parametrize(("draw", "closed"), [(11, False), (12, True)])
def test_the_run_of_a_candidate_that_was_killed_gets_the_reason(made: Made, draw: int, closed: bool) -> None:
    chosen = made.proposal(draw, DRAWN["mlp"])
    left = made.tracker.start_trial(chosen.number, "trial", "left", {}, {}, note="the tree")
    if closed:  # by the next worker when it began
        made.tracker.interrupt(left)
    held = replace(chosen.held, attempt=3, fault="it exceeded the time limit")
    made.recorder.candidate(replace(chosen, left=left, held=held))
    run = made.run(chosen)
    assert (run.info.run_id, run.info.status) == (left, "KILLED")
    assert run.data.tags["hadnas.reason"] == "it exceeded the time limit"
    assert run.data.tags["mlflow.note.content"] == "**killed**: it exceeded the time limit\n\nthe tree"


def test_the_ui_names_a_study_that_mlflow_lacks(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "serve", lambda *arguments: None)
    for behind in (False, True):
        mark_behind(made.trials.book, behind)
        done = hadnas("ui", "--home", made.home.path)
        assert done.exit_code == 0 and ("`hadnas sync tiny`" in done.output) == behind
    mark_behind(made.trials.book, False)


def test_a_stopped_candidate_is_pruned_with_its_rung_and_is_no_refusal(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a study's candidates are held to the rule; its run has the curve up to the rung."""
    asked: list[Any] = []

    def stopped(plan: Plan, shown: Any, *, held: bool, rule: Any) -> Outcome:
        asked.append((held, rule is not None))
        shown.measured(outcome := Outcome(figures={"macs": 5.0}, notes={"code": "c"}))
        training = made.ledger.training(made.evaluator.key(plan))
        assert training is not None
        outcome.training, outcome.reason, outcome.rung = training, "no better", 1
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(made.evaluator, "evaluate", stopped)
        made.recorder.candidate(chosen := made.proposal(9, DRAWN["mlp"]))
        made.recorder.baselines({"held": made.plan("mlp")})
    trial, run = made.told(chosen), made.run(chosen)
    assert trial.state.name == "PRUNED" and trial.constraints == {"trains": 0.0}
    assert (trial.user_attrs["rung"], trial.user_attrs["reason"]) == (1, "no better")
    assert trial.user_attrs["figures"] == {"macs": 5.0} and trial.user_attrs["notes"]["reused"] is False
    assert (run.info.status, run.data.tags["hadnas.rung"], run.data.tags["hadnas.reason"]) == (
        "KILLED",
        "1",
        "no better",
    )
    assert asked == [(True, True), (False, False)]


def test_a_draw_that_is_no_network_or_kills_workers_gets_no_run(made: Made) -> None:
    invalid = made.proposal(2, pyramid((8, [residual(op("attention", heads=3))])))
    deadly = made.proposal(3, DRAWN["basic"])
    deadly = replace(deadly, held=replace(deadly.held, attempt=3))
    for chosen, broken, reason in (
        (invalid, "valid", "heads = 3 must divide dim = 8"),
        (deadly, "trains", "2 workers"),
    ):
        made.recorder.candidate(chosen)
        trial = made.told(chosen)
        assert trial.state.name == "PRUNED" and trial.constraints == {broken: 1.0}
        assert reason in trial.user_attrs["reason"] and "run_id" not in trial.user_attrs
    assert made.ledger.claims.at_work("tiny") == set()


def test_a_trained_candidate_is_told_how_far_it_is_below_a_limit(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    macs = cost(build_plan(made.plan("mlp"), device="meta"), made.evaluator.task.shape).macs
    limited = made.study.model_copy(update={"constraints": {"macs": 2 * macs}})
    monkeypatch.setattr(made.evaluator, "study", limited)
    made.recorder.candidate(chosen := made.proposal(7, DRAWN["mlp"]))
    assert made.told(chosen).constraints == {"macs": -0.5, "trains": 0.0}


def test_a_draw_that_was_taken_over_is_left_to_who_took_it(made: Made) -> None:
    chosen = made.proposal(4, DRAWN["conv_next"])
    held = made.other.claims.take("tiny", ["draw 4"])  # for which every other worker is dead
    assert held is not None and held.attempt == 2
    made.recorder.candidate(chosen)
    assert made.told(chosen).state.name == "RUNNING" and made.run(chosen).info.status == "KILLED"
    made.other.claims.give_back(held)


def test_what_is_no_fault_of_the_candidate_ends_its_run_and_gives_the_draw_back(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    for draw, error, status in ((5, ZeroDivisionError("broken"), "FAILED"), (6, KeyboardInterrupt(), "KILLED")):
        chosen = made.proposal(draw, DRAWN["depthwise"])

        def fails(*asked: Any, error: BaseException = error, **options: Any) -> None:
            raise error

        with monkeypatch.context() as patch, pytest.raises(type(error)):
            patch.setattr(made.evaluator, "evaluate", fails)
            made.recorder.candidate(chosen)
        assert made.told(chosen).state.name == "RUNNING" and made.run(chosen).info.status == status
        again = made.ledger.claims.take("tiny", [f"draw {draw}"])
        assert again is not None and again.attempt == 1  # that was no death
        made.ledger.claims.end(again)


def test_baselines_are_noted_once_a_command_and_are_no_trials(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = made.study.model_copy(update={"constraints": {"macs": 1.0}})  # to which baselines are not held
    monkeypatch.setattr(made.evaluator, "study", limited)
    trials = len(made.trials.book.trials)
    plans = {"good": made.plan("mlp"), "bad": made.plan("star")}
    made.recorder.baselines(plans)
    entries = baseline_entries(made.trials.book)
    made.recorder.baselines(plans)
    assert baseline_entries(made.trials.book) == entries
    assert entries["good"]["figures"]["val/accuracy"] == 0.75 and "reason" not in entries["good"]
    assert entries["bad"]["reason"] == "loss is nan"
    made.writer.wait(None)
    first = {name: noted_run(made.trials.book.user_attrs, name) for name in plans}
    runs = {name: made.tracker.client.get_run(first[name]) for name in plans}
    assert {name: run.info.status for name, run in runs.items()} == {"good": "FINISHED", "bad": "KILLED"}
    assert len(made.trials.book.trials) == trials and made.ledger.claims.at_work("tiny") == set()
    replacement = Recorder(made.evaluator, made.trials, made.writer, lambda *said: None, retry=False)
    replacement.baselines(plans)
    assert baseline_entries(made.trials.book) == entries
    next_command = Recorder(made.evaluator, made.trials, made.writer, lambda *said: None)
    next_command.baselines(plans)  # tries the refused one again, and the other not
    again = baseline_entries(made.trials.book)
    made.writer.wait(None)
    runs_now = {name: noted_run(made.trials.book.user_attrs, name) for name in plans}
    assert again == entries and runs_now["good"] == first["good"] and runs_now["bad"] != first["bad"]
