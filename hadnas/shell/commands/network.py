"""Commands on one network: export it, train it again, measure it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadnas.errors import printable
from hadnas.shell.commands import (
    BATCHES,
    BLOCKS_FILE,
    COUNTS,
    HOME,
    SEEDS,
    SOURCES,
    SPLIT_SEEDS,
    TRIALS,
    PathType,
)
from hadnas.shell.commands.data import reading
from hadnas.shell.commands.overrides import AUGMENTATIONS, at_most, chosen_limits

if TYPE_CHECKING:
    from hadnas.opened import OpenStudy
    from hadnas.results.candidate import Found


def exporting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of an export, except `--out`."""
    for option in (
        click.option(
            "--prune",
            metavar="KIND:SHARE",
            show_default="not pruned",
            help="Prune it first: weights:0.8 sets this share of its weights to 0, channels:0.5 removes channels.",
        ),
        click.option(
            "--mlflow-model", is_flag=True, help="Log it as a model of its run and register it in MLflow, too."
        ),
        click.option("--force", is_flag=True, help="Write into a folder that is not empty."),
        click.option("--onnx", is_flag=True, help="Write model.onnx, too, for any batch; needs the extra `onnx`."),
    ):
        command = option(command)
    return command


@click.command("export")
@click.argument("study")
@HOME
@BLOCKS_FILE
@click.option("--out", required=True, type=PathType(), metavar="DIR", help="Folder to write.")
@click.option("--trial", type=TRIALS, metavar="N", show_default="the best", help="A finished trial.")
@exporting
def export_command(study: str, home: str | None, out: Path, trial: int | None, **options: Any) -> None:
    """Write the best architecture as code that needs torch and timm only, with its weights.

    The best is that by the study's metric among feasible trials, ties by fewest MACs; `hadnas pick` chooses another.
    """
    from hadnas.opened import open_study

    results = open_study(study, home)
    found = results.best if trial is None else results.trial(trial)
    written = _export(results, found, out, **options)
    best = f", the {_best_words(found)} among feasible trials, ties by fewest MACs" if trial is None else ""
    click.echo(f"exported {found.name}{best}\n{written}")


def _best_words(found: "Found") -> str:
    """What the best of a study is, in words: "highest validation accuracy"."""
    from hadnas.measure.figures import TABLE, metric_words

    word = "highest" if TABLE[found.metric].direction == "maximize" else "lowest"
    return f"{word} validation {metric_words(found.metric)}"


@click.command("pick")
@click.argument("study")
@HOME
@BLOCKS_FILE
@at_most
@click.option(
    "--metric",
    metavar="FIGURE",
    show_default="the study's metric",
    help="Best in this figure: a metric such as accuracy, or macs, latency_ratio and so on.",
)
@click.option("--out", type=PathType(), metavar="DIR", show_default="no export", help="Folder to export it to.")
@exporting
def pick_command(
    study: str,
    home: str | None,
    metric: str | None,
    out: Path | None,
    onnx: bool,
    force: bool,
    mlflow_model: bool,
    prune: str | None,
    **most: Any,
) -> None:
    """Choose the best trained network of a study within limits, print it and, with --out, export it.

    For example `hadnas pick digits --macs 200k --latency 1.5 --out small`.
    """
    from hadnas.measure.figures import TABLE, VAL
    from hadnas.opened import open_study
    from hadnas.shell.tables.study import show_picked

    if out is None and (onnx or force or mlflow_model or prune):
        raise click.UsageError("--onnx, --force, --mlflow-model and --prune need --out.")
    limits = chosen_limits(most)
    results = open_study(study, home)
    figure = metric or results.study.metric_figure
    figure = f"{VAL}{figure}" if f"{VAL}{figure}" in TABLE else figure
    found = results.pick(limits, figure)
    written = ""
    if out is not None:
        written = _export(results, found, out, onnx=onnx, force=force, mlflow_model=mlflow_model, prune=prune)
    show_picked(results, found, limits, figure)
    if written:
        click.echo(written)


def _export(
    results: "OpenStudy", found: "Found", out: Path, *, onnx: bool, force: bool, mlflow_model: bool, prune: str | None
) -> str:
    """Export a trial; how to load it, as text."""
    from hadnas.exporter.folder import usage

    if mlflow_model and prune:
        raise click.UsageError("--mlflow-model registers a network as it was trained; --prune is not allowed with it.")

    if mlflow_model:
        from hadnas.exporter.deliver import example

        example(results, found)  # raises before anything is written
    results.export(found, out, onnx=onnx, force=force, prune=prune)
    text = usage(out, results.task(), onnx=onnx)
    if mlflow_model:
        from hadnas.track.registry import serve_command

        uri = results.register(found, out)
        command = serve_command(results.home.tracking_uri, uri)
        text += f"\n\nregistered in MLflow as {uri}; to serve it:\n\n    {command}"
    return text


@click.command("retrain")
@click.argument("arch")
@click.option("--data", required=True, metavar="DATA", help=f"{SOURCES}.")
@click.option("--out", required=True, type=PathType(), metavar="DIR", help="Folder to write.")
@click.option("--weights", type=PathType(), metavar="FILE", help="Start from these .safetensors.")
@BLOCKS_FILE
@reading
@click.option("--epochs", type=COUNTS, metavar="N", show_default="50", help="Epochs of the training.")
@click.option("--batch", type=BATCHES, metavar="N", show_default="64", help="Examples in a training batch.")
@click.option("--lr", type=float, metavar="RATE", show_default="0.004", help="Largest learning rate.")
@click.option("--augment", metavar="NAME", show_default="rand-m9-mstd0.5-inc1", help=f"{AUGMENTATIONS}.")
@click.option(
    "--scale", type=(float, float), metavar="MIN MAX", show_default="0.5 1", help="timm's share of the image in a crop."
)
@click.option("--hflip", type=float, metavar="SHARE", show_default="0.5", help="timm's share of images mirrored.")
@click.option("--color-jitter", type=float, metavar="X", show_default="0.4", help="timm's, without a policy.")
@click.option(
    "--reprob", "re_prob", type=float, metavar="SHARE", show_default="0", help="timm's share of images partly erased."
)
@click.option("--mixup", type=float, metavar="ALPHA", show_default="0.2", help="Alpha of mixup, 0 for none.")
@click.option("--ema", type=float, metavar="DECAY", show_default="0.995", help="Decay of the averaged weights.")
@click.option("--label-smoothing", type=float, metavar="SHARE", show_default="0.1", help="Share of smoothed labels.")
@click.option("--seed", default=0, type=SEEDS, metavar="N", help="Seed of weights and batches.")
@click.option("--split-seed", default=0, type=SPLIT_SEEDS, metavar="N", help="Seed of random splits.")
@click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, or auto.")
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
    """Train ARCH longer, and export it with its new weights.

    ARCH is an arch.json, an exported folder, a published network or one of timm, as timm:resnet18. The exported
    model.safetensors of a network of timm is a start for grafts: `hadnas search timm:MODEL --weights FILE`.
    """
    from hadnas.exporter.folder import check_folder, usage
    from hadnas.library import load_architecture
    from hadnas.measure.metrics.metric import METRICS
    from hadnas.retraining import LONG_RECIPE, SEEN, images_for, long_recipe, retrain, updated_recipe
    from hadnas.shell.progress import TrainingDisplay
    from hadnas.train.data.spec import READING, DataSpec, load_data

    check_folder(out, force=force)
    given = {name: value for name in READING if (value := settings.pop(name))}
    found, _ = load_architecture(arch), updated_recipe(LONG_RECIPE, settings)  # refused before the images are read
    spec = DataSpec(source=data, split_seed=split_seed, **given)
    images = load_data(images_for(spec, found, weights))
    for note in images.notes:
        click.echo(printable(f"images: {note}"), err=True)
    recipe = updated_recipe(long_recipe(images), settings)
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
