"""The progress of a search, live in the terminal: candidate, epoch, best so far, time left."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hadnas.search.progress import Progress as Standing
from hadnas.search.study import Study


class Shown:
    """Draws what a search reports: a bar in a terminal, a line per finished candidate elsewhere."""

    def __init__(self, study: Study) -> None:
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[best]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.study = self.bar.add_task(f"[bold]{study.name}", total=study.trials, left="", best="")
        self.candidate = self.bar.add_task("", total=study.recipe.epochs, left="", best="")
        self.first: int | None = None
        self.label = ""

    def __enter__(self) -> "Shown":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, now: Standing) -> None:
        if self.first is None:
            self.first = now.done
        fresh = now.done - self.first
        spent = time.monotonic() - now.started
        left = _clock(spent / fresh * (now.budget - now.done)) + " left" if fresh else ""
        best = "" if now.best is None else f"best {now.best:.4f}"
        self.bar.update(self.study, completed=now.done, total=now.budget, left=left, best=best)
        self.bar.update(self.candidate, description=f"{now.label}: {now.phase}", completed=now.epoch)
        if not self.console.is_terminal and now.label != self.label:
            parts = [f"{now.study}: {now.done}/{now.budget} done", best, left, f"now {now.label}"]
            self.console.print(", ".join(part for part in parts if part))
        self.label = now.label


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
