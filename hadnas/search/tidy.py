"""What dead workers left open in MLflow is closed."""

from collections.abc import Collection

import optuna

from hadnas.store.trials import RUN_ID, baseline_entries, draw_of
from hadnas.track import keys
from hadnas.track.runs import Tracker


def end_stale_runs(book: optuna.Study, tracker: Tracker, at_work: Collection[str]) -> None:
    """Close the open runs that no worker is at; `at_work` are the items that living workers hold, read before.

    To be called by one process at a time. A run is noted with its trial or baseline after it was opened: one that is
    not noted yet is left to a living worker.
    """
    open_runs = tracker.runs("RUNNING")
    noted = {
        str(trial.number): (f"draw {draw_of(trial)}", trial.user_attrs) for trial in book.get_trials(deepcopy=False)
    }
    baselines = {name: (f"baseline {name}", entry) for name, entry in baseline_entries(book).items()}
    for run in open_runs:
        number = run.data.tags.get(keys.TRIAL_NUMBER)
        item, attributes = (noted if number is not None else baselines).get(number or run.info.run_name, ("", {}))
        if item not in at_work or attributes.get(RUN_ID) not in (None, run.info.run_id):
            tracker.end_stale(run)
