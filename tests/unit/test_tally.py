"""What the trials of a study count, stopped ones among them."""

from optuna.trial import TrialState, create_trial

from hadnas.search.tally import tally

STATES = {"stopped": TrialState.PRUNED, "refused": TrialState.PRUNED, "complete": TrialState.COMPLETE}


def counts(*trials: tuple[str, str]) -> tuple[int, int, int, int, float | None]:
    """Of trials given as (architecture, end), in order: done, stopped, refused, refused in a row, best."""
    made = []
    for fingerprint, end in trials:
        known = {"fingerprint": fingerprint, "figures": {"val/accuracy": 0.5}} | (
            {"rung": 2} if end != "refused" else {}
        )
        values = [0.5] if end == "complete" else None
        made.append(create_trial(state=STATES[end], values=values, user_attrs=known))
    found = tally(made, "val/accuracy")
    return found.done, found.stopped, found.refused, found.refusals, found.best


def test_a_stopped_architecture_counts_in_the_budget_and_is_not_refused() -> None:
    assert counts(("a", "stopped")) == (1, 1, 0, 0, None)
    assert counts(("a", "refused"), ("b", "stopped"), ("a", "refused")) == (1, 1, 2, 1, None)
    assert counts(("a", "complete"), ("b", "stopped"), ("c", "refused")) == (2, 1, 1, 1, 0.5)


def test_an_architecture_that_is_stopped_and_trained_later_counts_once() -> None:
    assert counts(("a", "stopped"), ("a", "stopped")) == (1, 1, 0, 0, None)
    assert counts(("a", "stopped"), ("a", "complete")) == (1, 0, 0, 0, 0.5)
    assert counts(("a", "complete"), ("a", "stopped"), ("b", "stopped")) == (2, 1, 0, 0, 0.5)
