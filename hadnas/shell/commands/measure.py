"""The command that measures networks: cost and latency, at one size or over several."""

from pathlib import Path
from typing import Any

import click

from hadnas.errors import SpecError, cut
from hadnas.limits import WIDTH
from hadnas.shell.commands import BLOCKS_FILE, CLASS_COUNTS, COUNTS, THREAD_COUNTS, PathType, Seconds


@click.command("measure")
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@BLOCKS_FILE
@click.option(
    "--size",
    "sizes",
    default=("3x224x224",),
    multiple=True,
    metavar="CxHxW",
    help="Channels, height and width; for two inputs twice, K of a vector, mask64x64, 9of27 of 9 tokens of 27.",
)
@click.option("--classes", default=1000, type=CLASS_COUNTS, metavar="N", help="Outputs of the head.")
@click.option(
    "--batch",
    "batches",
    default=(1, 32),
    type=COUNTS,
    multiple=True,
    metavar="N",
    help="Examples in a forward pass; may be given several times.",
)
@click.option(
    "--backend",
    "backends",
    default=("eager",),
    multiple=True,
    metavar="NAME",
    help="eager, compile, onnxruntime or int8; may be given several times.",
)
@click.option("--device", default="cpu", metavar="NAME", help="cpu, cuda, cuda:1, or auto.")
@click.option("--threads", default=1, type=THREAD_COUNTS, metavar="N", help="Threads of the CPU.")
@click.option(
    "--dtype",
    default="float32",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    metavar="NAME",
    help="float32, bfloat16 or float16.",
)
@click.option("--seconds", default=8.0, type=Seconds(), metavar="S", help="Time to measure one row.")
@click.option(
    "--sweep",
    "sides",
    metavar="LIST",
    show_default="no sweep",
    help="Sides of square images, such as 32,64,128,256: how MACs, products, memory and latency grow.",
)
@click.option("--csv", type=PathType(), metavar="FILE", help="File for the figures of the sweep.")
@click.option("--out", type=PathType(), metavar="FILE", help="Picture of the sweep: .png, .svg or .pdf.")
@click.option("--force", is_flag=True, help="Overwrite these files.")
def measure_command(
    networks: tuple[str, ...],
    sizes: tuple[str, ...],
    classes: int,
    backends: tuple[str, ...],
    device: str,
    sides: str | None,
    csv: Path | None,
    out: Path | None,
    force: bool,
    **protocol: Any,
) -> None:
    """Cost and latency of NETWORKs: arch.json, an exported folder or model.py, a published network, or a timm model."""
    from hadnas.arch.task import Task
    from hadnas.library import load_network
    from hadnas.measure.latency.backends import require_backend
    from hadnas.shell.commands.overrides import input_size
    from hadnas.shell.tables.measured import show_measured
    from hadnas.train.device import chosen_device

    names = ("image",) if len(sizes) == 1 else [f"input{place}" for place in range(1, len(sizes) + 1)]
    task = Task(tuple(zip(names, map(input_size, sizes), strict=True)), classes)
    device = chosen_device(device)
    for backend in backends:
        require_backend(backend, device)
    if sides is not None:
        _sweep(networks, task, _sides(sides), csv, out, force, backends=backends, device=device, **protocol)
        return
    if csv or out:
        raise click.UsageError("--csv and --out are files of a sweep; give --sweep, such as --sweep 32,64,128.")
    for network in networks:
        show_measured(network, load_network(network, task), task, backends=backends, device=device, **protocol)


def _sides(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= WIDTH for part in parts):
        raise SpecError(f"--sweep {cut(text)} is not allowed; allowed are sides from 1 to {WIDTH:,}, such as 32,64,128")
    return [int(part) for part in parts]


def _sweep(
    networks: tuple[str, ...],
    task: Any,
    sides: list[int],
    csv: Path | None,
    out: Path | None,
    force: bool,
    *,
    batches: tuple[int, ...],
    dtype: str,
    **protocol: Any,
) -> None:
    """Measure networks over sizes, print the figures and exponents, and write them to files."""
    from dataclasses import replace
    from functools import partial

    import torch
    from rich.progress import track

    from hadnas.library import load_network
    from hadnas.measure.latency.sweep import sweep, write_sweep
    from hadnas.paths import new_file
    from hadnas.shell.console import PlainConsole
    from hadnas.shell.tables.measured import draw_sweep, show_sweep

    shape = task.shapes[0]
    if len(task.shapes) > 1 or len(shape) != 3:
        raise SpecError("--sweep is of networks with one image; give one --size, of which it takes the channels")
    if out is not None and out.suffix not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--out {out} is not allowed; allowed are names that end in .png, .svg or .pdf.")

    def build(network: str, side: int) -> torch.nn.Module:
        return load_network(network, replace(task, inputs=((task.inputs[0][0], (shape[0], side, side)),)))

    makers = {network: partial(build, network) for network in dict.fromkeys(networks)}
    protocol |= {"batch": batches[0], "dtype": getattr(torch, dtype)}
    sizes = sweep(makers, sides, shape[0], **protocol)  # refuses what cannot be, before there are files
    for path in filter(None, (csv, out)):
        new_file(path, force=force)
    total = len(makers) * len(sides)
    points = list(track(sizes, "measuring", total=total, console=PlainConsole(stderr=True), transient=True))
    show_sweep(points, **protocol)
    if csv is not None:
        write_sweep(csv, points)
        click.echo(f"wrote {csv}")
    if out is not None:
        draw_sweep(points).savefig(out)
        click.echo(f"wrote {out}")
