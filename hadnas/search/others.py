"""The other workers of a study: what dead ones left running is ended, and the last of the budget is not done twice."""

from contextlib import suppress

import optuna
from optuna.trial import FrozenTrial, TrialState

from hadnas.search.budget import tally
from hadnas.store.study_store import baseline_entries, is_running
from hadnas.store.worker import is_dead
from hadnas.track.runs import Tracker


def running(book: optuna.Study) -> list[FrozenTrial]:
    """The trials that a worker is at, or was at when it died."""
    return book.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def end_dead(book: optuna.Study) -> None:
    """Fail the trials of workers that are known to be dead: their draws are taken up again."""
    for trial in filter(_is_left, running(book)):
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another worker that was faster
            book._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def end_stale_runs(book: optuna.Study, tracker: Tracker) -> None:
    """Close the runs that no worker is at, and those that were closed before their trial was told of; see `end_dead`.

    To be called by one process at a time. The runs are read before the trials and baselines, each of which is noted
    before its run is opened.
    """
    open_runs = tracker.runs("RUNNING")
    trials = {str(trial.number) for trial in running(book)}
    held = {name: entry for name, entry in baseline_entries(book).items() if is_running(entry)}
    for run in open_runs:
        number, name = run.data.tags.get("optuna.trial"), run.info.run_name
        baseline = name in held and held[name].get("run_id") in (None, run.info.run_id)
        if number not in trials and not baseline:
            tracker.end_stale(run)
    failed = book.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    named = {trial.user_attrs["run_id"] for trial in failed if "run_id" in trial.user_attrs}
    for run in tracker.runs("FINISHED") if named else ():
        if run.info.run_id in named:
            tracker.end_stale(run)


def is_surplus(book: optuna.Study, number: int, budget: int) -> bool:
    """Whether workers at earlier trials than `number` will meet the budget, unless one of these is refused."""
    trials = book.get_trials(deepcopy=False)  # looked at once: one that ends meanwhile is not counted twice
    earlier = sum(t.number < number and t.state == TrialState.RUNNING and not _is_left(t) for t in trials)
    return earlier >= budget - tally(trials).done


def at_work(book: optuna.Study) -> bool:
    """Whether any worker is at a trial, as far as is known."""
    return not all(map(_is_left, running(book)))


def _is_left(trial: FrozenTrial) -> bool:
    return is_dead(*trial.user_attrs.get("worker", ("", 0)))
