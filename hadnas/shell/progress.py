"""The progress of a search or of one training, live in the terminal: candidate, epoch, best so far, time left."""

import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hadnas.errors import printable
from hadnas.measure.metrics.error import standard_error
from hadnas.measure.metrics.metric import DEFAULT_METRIC, METRICS
from hadnas.search.progress import Progress as SearchProgress
from hadnas.shell.console import PlainConsole
from hadnas.shell.tables.data import show_data
from hadnas.store.study import Study
from hadnas.train.trainer import Epoch


class TrainingDisplay:
    """Displays one training, inside `with display.bar`: a bar in a terminal, and a line per epoch."""

    def __init__(self, epochs: int, val_n: int) -> None:
        console = PlainConsole(stderr=True)
        columns = (TextColumn("epoch"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self.epochs = self.bar.add_task("", total=epochs)
        self.total, self.val_n = epochs, val_n

    def __call__(self, epoch: Epoch) -> None:
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

    def __init__(self, study: Study) -> None:
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
        self.study = self.bar.add_task(study.name, total=study.trials, left="", best="")
        self.candidate = self.bar.add_task("", total=study.recipe.epochs, left="", best="")
        self.first: int | None = None
        self.since = 0.0  # start of the first candidate; the time before it must not enter the time left
        self.label = ""

    def __call__(self, now: SearchProgress) -> None:
        if not now.label:
            self.bar.update(self.candidate, description=now.phase)
            return
        if self.first is None:
            self.first = now.done
            if now.data is not None:
                show_data(now.data, self.console)
            for note in now.notes:
                self.console.print(note, soft_wrap=True)
        fresh = now.done - self.first
        if not fresh and now.label != self.label:
            self.since = time.monotonic()
        remaining = now.budget - now.done  # 0 while the front is timed on other backends
        left = _clock((time.monotonic() - self.since) / fresh * remaining) + " left" if fresh and remaining else ""
        best = "" if now.best is None or now.data is None else f"best {METRICS[now.data.dummy.metric].text(now.best)}"
        self.bar.update(self.study, completed=now.done, total=now.budget, left=left, best=best)
        self.bar.update(self.candidate, description=printable(f"{now.label}: {now.phase}"), completed=now.epoch)
        if not self.console.is_terminal and now.label != self.label:
            stopped = f"{now.stopped} of them stopped" if now.stopped else ""
            parts = [f"{now.study}: {now.done}/{now.budget} done", stopped, best, left, f"now {now.label}"]
            self.console.print(", ".join(part for part in parts if part))
        self.label = now.label


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


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
