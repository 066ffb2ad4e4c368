"""Commands on one network: export it, train it again, measure it."""

from pathlib import Path
from typing import Any

import click

from hadnas.shell.commands import (
    BATCHES,
    BLOCKS_FILE,
    CLASS_COUNTS,
    COUNTS,
    HOME,
    SEEDS,
    SOURCES,
    SPLIT_SEEDS,
    THREAD_COUNTS,
    TRIALS,
    PathType,
    Seconds,
)
from hadnas.shell.commands.data import reading


@click.command("export")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option("--out", required=True, type=PathType(), metavar="DIR", help="Folder to write.")
@click.option("--trial", type=TRIALS, help="A finished trial; the best by default.")
@click.option("--onnx", is_flag=True, help="Write model.onnx, too, for any batch; needs the extra `onnx`.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@click.option("--mlflow-model", is_flag=True, help="Log it as a model of its run and register it in MLflow, too.")
def export_command(
    study: str, home: str | None, out: Path, trial: int | None, onnx: bool, force: bool, mlflow_model: bool
) -> None:
    """Write the best architecture as code that needs torch and timm only, with its weights."""
    from hadnas.exporter.folder import usage
    from hadnas.measure.figures import TABLE, metric_words
    from hadnas.opened import open_study

    results = open_study(study, home)
    found = results.best if trial is None else results.trial(trial)
    if trial is None:
        word = "highest" if TABLE[found.metric].direction == "maximize" else "lowest"
        metric = metric_words(found.metric)
        click.echo(f"chosen: the {word} validation {metric} among feasible trials, ties by fewest MACs")
    if mlflow_model:
        from hadnas.exporter.deliver import example

        example(results, found)  # raises before anything is written
    results.export(found, out, onnx=onnx, force=force)
    click.echo(usage(out, results.task(), onnx=onnx))
    if mlflow_model:
        from hadnas.track.registry import serve_command

        uri = results.register(found, out)
        click.echo(
            f"\nregistered in MLflow as {uri}; to serve it:\n\n    {serve_command(results.home.tracking_uri, uri)}"
        )


@click.command("retrain")
@click.argument("arch")
@click.option("--data", required=True, metavar="DATA", help=f"{SOURCES}.")
@click.option("--out", required=True, type=PathType(), metavar="DIR", help="Folder to write.")
@click.option("--weights", type=PathType(), metavar="FILE", help="Start from these .safetensors.")
@BLOCKS_FILE
@reading
@click.option("--epochs", type=COUNTS, help="50 by default.")
@click.option("--batch", type=BATCHES, help="Images per step; 64 by default.")
@click.option("--lr", type=float, help="Largest learning rate; 0.004 by default.")
@click.option("--augment", metavar="NAME", help="none, shift, shift_flip, timm, or a policy such as rand-m9-mstd0.5.")
@click.option("--scale", type=(float, float), metavar="MIN MAX", help="timm's share of the image in a crop; 0.5 1.")
@click.option("--hflip", type=float, help="timm's share of images mirrored; 0.5 by default.")
@click.option("--color-jitter", type=float, help="timm's, without a policy; 0.4 by default.")
@click.option("--reprob", "re_prob", type=float, help="timm's share of images partly erased; 0 by default.")
@click.option("--mixup", type=float, help="Alpha of mixup, 0 for none; 0.2 by default.")
@click.option("--ema", type=float, help="Decay of the averaged weights; 0.995 by default.")
@click.option("--label-smoothing", type=float, help="0.1 by default.")
@click.option("--seed", default=0, show_default=True, type=SEEDS)
@click.option("--split-seed", default=0, show_default=True, type=SPLIT_SEEDS, help="Seed of random splits.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
def retrain_command(
    arch: str,
    data: str,
    out: Path,
    weights: Path | None,
    seed: int,
    split_seed: int,
    device: str,
    force: bool,
    **settings: Any,
) -> None:
    """Train ARCH (arch.json, an exported folder, a published network) longer, and export it with its new weights."""
    from hadnas.exporter.folder import check_folder, usage
    from hadnas.library import load_architecture
    from hadnas.measure.metrics.metric import METRICS
    from hadnas.retraining import LONG_RECIPE, SEEN, long_recipe, retrain, updated_recipe
    from hadnas.shell.progress import TrainingDisplay
    from hadnas.train.data.spec import READING, DataSpec, load_data

    check_folder(out, force=force)
    given = {name: value for name in READING if (value := settings.pop(name))}
    found, _ = load_architecture(arch), updated_recipe(LONG_RECIPE, settings)  # refused before the images are read
    images = load_data(DataSpec(source=data, split_seed=split_seed, **given))
    for note in images.notes:
        click.echo(f"images: {note}", err=True)
    recipe = updated_recipe(long_recipe(images.target), settings)
    display = TrainingDisplay(recipe.epochs, len(images.val))
    with display.bar:
        done = retrain(found, images, recipe, seed=seed, weights=weights, device=device, on_epoch=display)
    for split, score in (("validation", done.validation), ("test (this split was opened now, once)", done.test)):
        one = done.single(score)
        text, name = METRICS[one.metric].text, one.metric.replace("_", " ")
        click.echo(f"{split}: {name} {text(one.value)} ±{text(one.standard_error)} (n = {one.n})")
    if done.started_from is not None:
        click.echo(SEEN)
    done.export(out, origin={"architecture": arch}, force=force)
    click.echo(usage(out, done.task))


@click.command("measure")
@click.argument("network")
@BLOCKS_FILE
@click.option("--size", default="3x224x224", show_default=True, metavar="CxHxW", help="Channels, height and width.")
@click.option("--classes", default=1000, show_default=True, type=CLASS_COUNTS)
@click.option("--batch", "batches", default=(1, 32), show_default=True, type=COUNTS, multiple=True)
@click.option("--backend", "backends", default=("eager",), show_default=True, multiple=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, or auto.")
@click.option("--threads", default=1, show_default=True, type=THREAD_COUNTS)
@click.option("--dtype", default="float32", type=click.Choice(["float32", "bfloat16", "float16"]), show_default=True)
@click.option("--seconds", default=8.0, show_default=True, type=Seconds(), help="Time to measure one row.")
def measure_command(
    network: str, size: str, classes: int, backends: tuple[str, ...], device: str, **protocol: Any
) -> None:
    """Cost and latency of NETWORK: arch.json, an exported folder or model.py, a published network, or a timm model."""
    from hadnas.arch.task import Task
    from hadnas.library import load_network
    from hadnas.measure.latency.backends import require_backend
    from hadnas.shell.commands.overrides import sides
    from hadnas.shell.tables.measured import show_measured
    from hadnas.train.device import chosen_device

    task, device = Task.image(*sides(size), classes=classes), chosen_device(device)
    for backend in backends:
        require_backend(backend, device)
    show_measured(network, load_network(network, task), task, backends=backends, device=device, **protocol)
