"""Prints who works at a study, at what, since when, and how long it will take."""

from hadnas.search.status import StudyStatus, status
from hadnas.shell.progress import clock
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import Column, Grid
from hadnas.store.home import Home
from hadnas.store.worker import Activity


def show_status(name: str, home: Home) -> None:
    """Print a line on the budget, a row per unfinished candidate, and the time left. Raises as `status`."""
    now = status(name, home)
    console.print(f"{name}: {now.done} of {now.trials} architectures, {now.refused} draws refused")
    grid = Grid(
        Column("at work", name=True), Column("phase"), Column("since", right=True), Column("host"), Column("process")
    )
    for label, activity in now.at_work.items():
        since = "-" if activity.seconds is None else clock(activity.seconds)
        grid.add(label, _phase(activity, now.epochs), since, activity.host or "-", str(activity.pid or "-"))
    if now.at_work:
        grid.print()
    if now.done < now.trials:
        console.print(_time_left(name, now), soft_wrap=True)


def _phase(activity: Activity, epochs: int) -> str:
    if activity.pid is None:
        return f"left by a dead worker, attempt {activity.attempt}"
    return "measure" if activity.epoch is None else f"train, {activity.epoch} of {epochs} epochs done"


def _time_left(name: str, now: StudyStatus) -> str:
    if not now.workers:
        return f"no worker is at a candidate; `hadnas work {name}` continues the search"
    if now.left is None or now.each is None:
        return "time left: not known before the first architecture is trained"
    return (
        f"about {clock(now.left)} left: {now.trials - now.done} architectures, each {clock(now.each)} "
        f"(the median of the last {now.basis}); workers: {now.workers}"
    )
