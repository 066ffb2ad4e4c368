"""The shell: thin commands over the library; everything heavy is imported inside the command that needs it."""

import sys
from pathlib import Path
from typing import Any

import click

from hadnas.errors import HadnasError, Interrupted, unknown

HOME = click.option("--home", envvar="HADNAS_HOME", metavar="DIR", help="Where studies live; runs/ by default.")


class Shell(click.Group):
    """A group that says an error of hadnas in one sentence and exits with 2, and a Ctrl-C with 130."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            return super().main(*args, **kwargs)
        except Interrupted as error:
            click.echo(str(error), err=True)
            sys.exit(130)
        except HadnasError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            sys.exit(130)


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hadnas")
def main() -> None:
    """Search for small, fast vision backbones over Hadamard, additive, convolutional and attention blocks."""


@main.command("list")
@click.argument("what", type=click.Choice(["blocks", "spaces", "studies"]), required=False)
def list_command(what: str | None) -> None:
    """List what is shipped: blocks, search spaces, studies, published networks."""
    from hadnas.tables.shelf import show_shelf

    show_shelf(what)


@main.command()
@click.argument("name")
def show(name: str) -> None:
    """Show a block, a search space, a study or an architecture, by name or path."""
    from hadnas.tables.shelf import show_item

    show_item(name)


@main.command()
@click.argument("name")
@click.option("--to", "folder", default=".", metavar="DIR", help="Where to; here by default.")
def copy(name: str, folder: str) -> None:
    """Copy a shipped search space or study, to change it."""
    from hadnas.library import copy

    click.echo(f"copied to {copy(name, folder)}")


@main.command()
@click.argument("file")
def check(file: str) -> None:
    """Hold the blocks of a file of one's own against the contract that every shipped block keeps."""
    from hadnas.contract import check
    from hadnas.library import own_ops
    from hadnas.tables.shelf import show_findings

    faulty = 0
    for op in own_ops(file):
        findings = check(op)
        faulty += bool(findings)
        show_findings(op.name, findings)
    sys.exit(2 if faulty else 0)


@main.command()
@click.argument("study")
@HOME
@click.option("--trials", type=click.IntRange(1), help="Budget: distinct architectures.")
@click.option("--data", metavar="DATA", help="digits, a .npz file or an image folder.")
@click.option("--size", type=click.IntRange(4), help="Side length to which the images of a folder are resized.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs per candidate.")
@click.option("--seed", type=click.IntRange(0))
@click.option("--sampler", metavar="NAME", help="tpe, nsga2, random or exhaustive.")
@click.option("--name", help="Name under which the study is kept; that of its file by default.")
@click.option("--max-macs", metavar="N", help="Largest number of MACs, such as 50M.")
@click.option("--max-params", metavar="N", help="Largest number of parameters, such as 1M.")
@click.option("--max-latency", metavar="MS", help="Largest latency in milliseconds, such as 5 or 5ms.")
@click.option("--backends", metavar="LIST", help="Time front and baselines on these, too: compile,onnxruntime.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def search(study: str, home: str | None, device: str, **changes: Any) -> None:
    """Run a study by name or path; the same command again goes on to the same total."""
    from hadnas.library import load_study
    from hadnas.progress import Shown
    from hadnas.search.changes import changed
    from hadnas.search.run import run_study
    from hadnas.search.storage import Home
    from hadnas.tables.study import show_top

    chosen = changed(load_study(study), **changes)
    place = Home(home)
    shown = Shown(chosen)
    with shown.bar:
        progress = run_study(chosen, place, device=device, watch=shown)
    click.echo(f"{progress.ended}; {progress.refused} draws were refused")
    show_top(chosen.name, place, 5)


@main.command()
@click.argument("study")
@HOME
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(1), help="Rows of the leaderboard.")
def top(study: str, home: str | None, count: int) -> None:
    """Leaderboard, Pareto front and best of each family of a study."""
    from hadnas.search.storage import Home
    from hadnas.tables.study import show_top

    show_top(study, Home(home), count)


@main.command()
@click.argument("study")
@HOME
@click.option("--trial", type=click.IntRange(0), help="A finished trial; the best by default.")
def products(study: str, home: str | None, trial: int | None) -> None:
    """What each product of a trained candidate adds, and what accuracy it loses without."""
    from hadnas.search.results import open_study
    from hadnas.tables.study import show_effects

    results = open_study(study, home)
    show_effects(results, results.best if trial is None else results.trial(trial))


@main.command()
@click.argument("study")
@HOME
@click.option("--top", type=click.IntRange(1), help="The K best; the Pareto front by default.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Fresh seeds of every network.")
@click.option("--candidates", type=click.IntRange(0), help="Random ones beside; by default as many as the search had.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def finals(study: str, home: str | None, **options: Any) -> None:
    """Train the best and their controls with fresh seeds, and score them once on the test split."""
    from hadnas.progress import Shown
    from hadnas.search.finals import run_finals
    from hadnas.search.results import open_study
    from hadnas.search.storage import Home
    from hadnas.tables.study import show_finals

    place = Home(home)
    shown = Shown(open_study(study, place.path).study)
    with shown.bar:
        found = run_finals(study, place, watch=shown, **options)
    show_finals(study, found)


@main.command()
@click.argument("study")
@HOME
@click.option("-n", "count", default=120, show_default=True, type=click.IntRange(100), help="Candidates to time.")
@click.option("--backend", default="eager", show_default=True)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
def predict(study: str, home: str | None, count: int, device: str, **options: Any) -> None:
    """Which cost predicts latency in a study's space; fits a predictor on random untrained candidates."""
    from hadnas.search.predictor import fit_predictor
    from hadnas.search.results import open_study
    from hadnas.search.run import chosen_device
    from hadnas.tables.rankings import show_predictor

    results = open_study(study, home)
    with click.progressbar(length=count, label="candidates timed", file=sys.stderr) as bar:
        found = fit_predictor(
            results.study.space,
            results.task(),
            results.ledger,
            n=count,
            device=chosen_device(device),
            say=lambda done: bar.update(1),
            **options,
        )
    show_predictor(study, found)


@main.command()
@click.argument("study")
@HOME
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="By default report.html in the study's folder."
)
def report(study: str, home: str | None, out: Path | None) -> None:
    """Write what the study found as one HTML page, and log it to MLflow."""
    from hadnas.report import write_report
    from hadnas.search.results import open_study

    click.echo(f"wrote {write_report(open_study(study, home), out)}")


@main.command()
@click.argument("study")
@HOME
def proxies(study: str, home: str | None) -> None:
    """How scores without training (nwot, synflow, parameters, MACs) rank what a study trained."""
    from hadnas.search.results import open_study
    from hadnas.tables.rankings import show_scores

    show_scores(open_study(study, home))


@main.command()
@HOME
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.argument("study", required=False)
def ui(home: str | None, port: int, study: str | None) -> None:
    """Serve MLflow's UI, on this machine only, until Ctrl-C; opens at STUDY, or the latest one."""
    from hadnas.search.opening import study_names
    from hadnas.search.storage import Home
    from hadnas.track.server import serve

    place = Home(home)
    names = study_names(place)
    if study is not None and study not in names:
        raise unknown("study", study, names)
    chosen = study or (names[-1] if names else None)
    serve(place.tracking_uri, place.artifacts, chosen, port, lambda url: click.echo(f"{url}\n(Ctrl-C ends it)"))


@main.command()
@click.argument("study")
@HOME
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder to write.")
@click.option("--trial", type=click.IntRange(0), help="A finished trial; the best by default.")
@click.option("--onnx", is_flag=True, help="Write model.onnx, too, for any batch; needs the extra `onnx`.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@click.option("--mlflow-model", is_flag=True, help="Log it as a model of its run and register it in MLflow, too.")
def export(
    study: str, home: str | None, out: Path, trial: int | None, onnx: bool, force: bool, mlflow_model: bool
) -> None:
    """Write the best architecture as code that needs torch and timm only, with its weights."""
    from hadnas.exporter.folder import usage
    from hadnas.search.results import open_study

    results = open_study(study, home)
    found = results.best if trial is None else results.trial(trial)
    if trial is None:
        click.echo("chosen: the highest validation accuracy among feasible trials, ties by fewest MACs")
    results.export(found, out, onnx=onnx, force=force)
    click.echo(usage(out, results.task(), onnx=onnx))
    if mlflow_model:
        from hadnas.search.delivery import register
        from hadnas.track.registry import serve_command

        uri = register(results, found, out)
        click.echo(
            f"\nregistered in MLflow as {uri}; to serve it:\n\n    {serve_command(results.home.tracking_uri, uri)}"
        )


@main.command()
@click.argument("arch")
@click.option("--data", required=True, metavar="DATA", help="digits, a .npz, an image folder, torch/cifar10:DIR, ...")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder to write.")
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Start from these .safetensors.")
@click.option("--size", type=click.IntRange(4), help="Side length to which the images of a folder are resized.")
@click.option("--epochs", type=click.IntRange(1), help="50 by default.")
@click.option("--batch", type=click.IntRange(2), help="Images per step; 64 by default.")
@click.option("--lr", type=float, help="Largest learning rate; 0.004 by default.")
@click.option("--augment", type=click.Choice(["none", "shift", "shift_flip"]), help="shift_flip by default.")
@click.option("--mixup", type=float, help="Alpha of mixup, 0 for none; 0.2 by default.")
@click.option("--ema", type=float, help="Decay of the averaged weights; 0.995 by default.")
@click.option("--label-smoothing", type=float, help="0.1 by default.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
def retrain(
    arch: str,
    data: str,
    out: Path,
    weights: Path | None,
    size: int | None,
    seed: int,
    device: str,
    force: bool,
    **settings: Any,
) -> None:
    """Train ARCH (arch.json, an exported folder, a published network) longer, and export it with its new weights."""
    from hadnas.exporter.folder import check_folder, usage
    from hadnas.library import load_architecture
    from hadnas.progress import ShownTraining
    from hadnas.retraining import FULLER, changed, retrain
    from hadnas.train.data import DataSpec, load_data

    check_folder(out, force=force)
    found, recipe = load_architecture(arch), changed(FULLER, settings)
    images = load_data(DataSpec(source=data, size=size))
    shown = ShownTraining(recipe.epochs, len(images.val))
    with shown.bar:
        done = retrain(found, images, recipe, seed=seed, weights=weights, device=device, on_epoch=shown)
    done.export(out, origin={"architecture": arch, "started from": weights or "fresh weights"}, force=force)
    for split, score in (("validation", done.validation), ("test (this split was opened now, once)", done.test)):
        click.echo(f"{split}: accuracy {score.accuracy:.4f} ±{score.standard_error:.4f} (n = {score.n})")
    click.echo(usage(out, done.task))


@main.command()
@click.argument("network")
@click.option("--size", default="3x224x224", show_default=True, metavar="CxHxW", help="Channels, height and width.")
@click.option("--classes", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--batch", "batches", default=(1, 32), show_default=True, type=click.IntRange(1), multiple=True)
@click.option("--backend", "backends", default=("eager",), show_default=True, multiple=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--dtype", default="float32", type=click.Choice(["float32", "bfloat16", "float16"]), show_default=True)
def measure(network: str, size: str, classes: int, **protocol: Any) -> None:
    """Cost and latency of NETWORK: an architecture by name or .json, an exported model.py, or a timm model."""
    from hadnas.library import load_network
    from hadnas.models.task import Task
    from hadnas.search.changes import sides
    from hadnas.tables.measured import show_measured

    task = Task.image(*sides(size), classes=classes)
    show_measured(network, load_network(network, task), task.shape, **protocol)


@main.command()
@click.argument("table", required=False)
@HOME
@click.option("--csv", type=click.Path(path_type=Path), metavar="FILE", help="Write the table into a file.")
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(1), help="Rows shown, the last ones.")
def ledger(table: str | None, home: str | None, csv: Path | None, count: int) -> None:
    """What was ever measured: the ledger's tables, the rows of one, or one as CSV."""
    from hadnas.search.ledger import Ledger
    from hadnas.search.listing import export_csv
    from hadnas.search.storage import Home
    from hadnas.tables.measured import show_ledger

    book = Ledger(Home(home).url)
    if csv is not None:
        export_csv(book, csv, table or "trainings")
        click.echo(f"wrote {table or 'trainings'} to {csv}")
    else:
        show_ledger(book, table, count)
