"""The progress of a search or of one training, live in the terminal: candidate, epoch, best so far, time left."""

import time
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hadnas.errors import printable
from hadnas.measure.metrics.metric import DEFAULT_METRIC, METRICS
from hadnas.search.progress import Progress as SearchProgress
from hadnas.shell.console import PlainConsole
from hadnas.shell.tables.data import show_data

if TYPE_CHECKING:
    from hadnas.train.trainer import Epoch


class TrainingDisplay:
    """Displays one training, inside `with display.bar`: a bar in a terminal, and a line per epoch."""

    def __init__(self, epochs: int, val_n: int) -> None:
        console = PlainConsole(stderr=True)
        columns = (TextColumn("epoch"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self.epochs = self.bar.add_task("", total=epochs)
        self.total, self.val_n = epochs, val_n

    def __call__(self, epoch: "Epoch") -> None:
        from hadnas.measure.metrics.error import standard_error

        name, value = next((name, value) for name, value in epoch.metrics.items() if name in DEFAULT_METRIC.values())
        error = f" ±{standard_error(value, self.val_n):.4f}" if METRICS[name].share else ""
        self.bar.console.print(
            f"epoch {epoch.epoch}/{self.total}: train/loss {epoch.train_loss:.4f}, val/loss {epoch.val_loss:.4f}, "
            f"val/{name} {METRICS[name].text(value)}{error} (n = {self.val_n}), {epoch.seconds:.1f} s",
            soft_wrap=True,
        )
        self.bar.update(self.epochs, completed=epoch.epoch)


class SearchDisplay:
    """Displays the progress of a search, inside `with display.bar`: a bar in a terminal, else a line per candidate."""

    def __init__(self) -> None:
        self.console = PlainConsole(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[best]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.study = self.bar.add_task("", total=None, left="", best="")
        self.candidates: dict[int, TaskID] = {}  # by worker
        self.labels: dict[int, str] = {}
        self.first: int | None = None
        self.since = 0.0  # start of the first candidate; the time before it must not enter the time left
        self.latest = SearchProgress("", 0)

    def __call__(self, now: SearchProgress, worker: int = 0) -> None:
        if worker not in self.candidates:
            self.candidates[worker] = self.bar.add_task("", total=None, left="", best="")
        candidate = self.candidates[worker]
        if not now.label:
            self.bar.update(self.study, description=printable(now.study), total=now.budget)
            self.bar.update(candidate, description=now.phase)
            return
        if self.first is None:
            self.first = now.done
            if now.data is not None:
                show_data(now.data, self.console)
            for note in now.notes:
                self.console.print(note, soft_wrap=True)
        if now.done >= self.latest.done:  # each worker knows those of all workers, as they were when it last looked
            self.latest = now
        latest, label = self.latest, self.labels.get(worker)
        fresh = latest.done - self.first
        if not fresh and now.label != label:
            self.since = time.monotonic()
        remaining = latest.budget - latest.done  # 0 while the front is timed on other backends
        left = clock((time.monotonic() - self.since) / fresh * remaining) + " left" if fresh and remaining else ""
        best = "" if latest.best is None else f"best {METRICS[latest.metric].text(latest.best)}"
        self.bar.update(self.study, description=printable(now.study), completed=latest.done, total=latest.budget)
        self.bar.update(self.study, left=left, best=best)
        doing = printable(f"{now.label}: {now.phase}")
        self.bar.update(candidate, description=doing, completed=now.epoch, total=now.epochs)
        if not self.console.is_terminal and now.label != label:
            stopped = f"{latest.stopped} of them stopped" if latest.stopped else ""
            parts = [f"{now.study}: {latest.done}/{latest.budget} done", stopped, best, left, f"now {now.label}"]
            self.console.print(", ".join(part for part in parts if part))
        self.labels[worker] = now.label

    def leave(self, worker: int) -> None:
        """Remove the line of a worker that has ended."""
        if worker in self.candidates:
            self.bar.remove_task(self.candidates.pop(worker))


class DistillDisplay:
    """Displays block-wise distillation, inside `with display.bar`: a bar in a terminal, else a line per decision."""

    def __init__(self) -> None:
        self.console = PlainConsole(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeElapsedColumn())
        self.bar = Progress(*columns, TimeRemainingColumn(), console=self.console, disable=not self.console.is_terminal)
        self.steps, self.label = self.bar.add_task("", total=None), ""

    def __call__(self, label: str, done: int, total: int) -> None:
        self.bar.update(self.steps, description=printable(label), completed=done, total=total)
        if not self.console.is_terminal and label != self.label:
            self.console.print(f"{label}: {done}/{total} updates", soft_wrap=True)
        self.label = label


def clock(seconds: float) -> str:
    """Minutes and seconds, as 12:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
