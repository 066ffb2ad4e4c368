"""A command that searches, supervised: with workers it starts them, as a worker or without any it searches itself."""

import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from hadnas.errors import StudyError, printable
from hadnas.shell.commands import Duration
from hadnas.shell.workers.link import this_link

if TYPE_CHECKING:
    from hadnas.search.progress import Progress
    from hadnas.store.home import Home
    from hadnas.store.study import Study

MOST_WORKERS = 256


class Need(click.FloatRange):
    """What a worker needs of a device, up to 1024."""

    def __init__(self, least: float = 0.0) -> None:
        super().__init__(least, 1024)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):  # FloatRange accepts it: every comparison with NaN is false
            self.fail(f"{value} is not a number.", param, ctx)
        return found


def supervised(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its workers; it must have `home` and `timeout`.

    The process that the user starts supervises; the workers are processes with the same command line.
    """

    @click.option(
        "--workers",
        type=click.IntRange(0, MOST_WORKERS),
        show_default="1; with --ray as many as the cluster has room for",
        envvar="HADNAS_WORKERS",
        metavar="N",
        help="Processes that search, each on one CUDA device or on its share of the processors; a dead one is "
        "replaced. With 0 the command itself searches, unsupervised, as for a debugger.",
    )
    @click.option(
        "--time-limit",
        type=Duration(),
        metavar="TIME",
        show_default="10 times the longest so far, at least 10m",
        help="Time for one candidate: then its worker is killed and the candidate refused.",
    )
    @click.option(
        "--ray",
        is_flag=False,
        flag_value="local",
        metavar="[ADDRESS]",
        help="Let Ray place the workers on the cluster at ADDRESS, such as auto or host:6379; without ADDRESS "
        "on this machine.",
    )
    @click.option(
        "--cpus",
        type=Need(least=0.01),
        metavar="N",
        show_default="1",
        help="Processors that a worker needs, with --ray.",
    )
    @click.option(
        "--gpus",
        type=Need(),
        metavar="N",
        show_default="1 if the cluster has one and the device may be one",
        help="GPUs that a worker needs, with --ray.",
    )
    @click.pass_obj
    @wraps(command)
    def run(
        arguments: Sequence[str],
        /,
        workers: int | None,
        time_limit: float | None,
        ray: str | None,
        cpus: float | None,
        gpus: float | None,
        **options: Any,
    ) -> None:
        if ray is None and (cpus, gpus) != (None, None):
            raise click.UsageError("--cpus and --gpus are the needs of a worker on Ray: give --ray, too.")
        if (ray is None and workers == 0) or this_link() is not None:
            command(**options)
            return
        if ray is not None and workers == 0:
            raise click.UsageError("--ray places workers: --workers 0 is not allowed with it.")
        from hadnas.shell.workers.process import Failure, on_this_machine
        from hadnas.shell.workers.supervisor import Supervisor

        # Python puts the current folder into the path of a module; the workers' path shall be that of this process.
        safe = [] if {"", os.getcwd()} & set(sys.path) else ["-P"]
        process = [*safe, "-m", "hadnas", *arguments]
        home = options["home"]
        try:
            with ExitStack() as opened:
                if ray is None:
                    workers = workers or 1
                    start = on_this_machine(process, workers)
                else:
                    from hadnas.shell.workers.cluster import cluster, gpu_count, on_cluster, room

                    opened.enter_context(cluster(ray))
                    cpus = 1.0 if cpus is None else cpus
                    if gpus is None:
                        gpus = float(gpu_count() > 0 and options["device"] in ("auto", "cuda"))
                    try:
                        most = min(room(cpus, gpus), MOST_WORKERS)
                    except StudyError as error:  # a cluster may grow
                        if workers is None:
                            raise
                        click.echo(f"waiting for room: {error}", err=True)
                    else:
                        workers = workers or most
                    start = on_cluster(process, home, cpus=cpus, gpus=gpus)
                Supervisor(start, workers, home=home, time_limit=time_limit, timeout=options["timeout"]).run()
        except Failure as failure:
            click.echo(printable(failure.said), err=True)
            sys.exit(failure.status)

    return run


def run_search(
    study: "Study", home: "Home", *, device: str, timeout: float | None, retry: bool = True, **how: Any
) -> "Progress | None":
    """Run a study in this process; its last progress, or None in a worker if another one prints the results."""
    import signal
    from contextlib import redirect_stdout

    from hadnas.search.run import ELSEWHERE, run_study
    from hadnas.shell.progress import SearchDisplay
    from hadnas.signals import interrupted_by

    link = this_link()
    if link is None:
        display = SearchDisplay()
        with display.bar, interrupted_by(signal.SIGTERM, signal.SIGHUP):
            return run_study(study, home, device=device, timeout=timeout, watch=display, retry=retry, **how)
    link.share_device(device)
    with redirect_stdout(sys.stderr):  # what the code of candidates prints, beside the progress
        how |= {"watch": link.watch, "retry": retry and link.first}
        progress = run_study(study, home, device=device, timeout=link.timeout, **how)
    reason = link.end(progress.ended, elsewhere=progress.ended == ELSEWHERE)
    if reason is None:
        return None
    progress.ended = reason
    return progress
