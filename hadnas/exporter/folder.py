"""`hadnas.export`: model.py, model.safetensors and arch.json in one folder, verified before it is there."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hadnas.errors import BuildError, SpecError, StudyError
from hadnas.exporter.module import ENTRY, model_source
from hadnas.models.arch import FORMAT, Arch
from hadnas.models.build import Moments, build
from hadnas.models.task import Task

FILES = ("model.py", "model.safetensors", "arch.json")


def export(
    arch: Arch,
    task: Task,
    out: str | Path,
    weights: str | Path | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    moments: Moments | None = None,
    force: bool = False,
) -> Path:
    """Write `arch` for `task` as code, weights and data into the folder `out` and return its path.

    weights  a .safetensors file of the network; fresh weights (seed 0) if None
    facts    what to write on top of the code: study, figures, ...
    moments  mean and standard deviation per channel that the images were normalised with, for timm's configuration
    force    write into a folder that holds other files; those stay

    The code is verified first, in a process in which hadnas cannot be imported: same state-dict keys, bit-equal logits.
    Raises StudyError if the folder is not empty, SpecError if the weights do not fit, BuildError if the code differs.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise StudyError(f"{folder} holds files already; name another folder, or write into it with --force")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(arch, task).eval()
    if weights is not None:
        _load(network, Path(weights))
    source = model_source(arch, task, facts or {}, moments)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "model.py").write_text(source)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, place / FILES[1])
        (place / "arch.json").write_text(json.dumps({"format": FORMAT, **arch.node}, indent=1) + "\n")
        verify(place, network, task)
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).write_bytes((place / name).read_bytes())
    return folder


def usage(folder: Path, task: Task) -> str:
    """How to load an exported folder, for people."""
    shape = ", ".join(map(str, task.shape))
    return (
        f"wrote {', '.join(FILES)} to {folder}/ (verified without hadnas: same keys, bit-equal logits)\n\n"
        f"    import sys, torch\n    sys.path.insert(0, {str(folder)!r})\n    from model import {ENTRY}\n\n"
        f"    network = {ENTRY}(pretrained=True).eval()\n    logits = network(torch.zeros(1, {shape}))\n\n"
        "images are pixels scaled to 0..1, minus network.pretrained_cfg['mean'], over network.pretrained_cfg['std']"
    )


def verify(folder: Path, network: nn.Module, task: Task) -> None:
    """Run `model.py` of `folder` where hadnas cannot be imported and compare keys and logits with `network`.

    Raises BuildError with what differs.
    """
    images = torch.randn(2, *task.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.eval()(images)
    with tempfile.TemporaryDirectory() as scratch:
        question, answer = Path(scratch) / "question.safetensors", Path(scratch) / "answer.safetensors"
        save_file({"images": images}, question)
        command = [sys.executable, "-c", _CHECK, str(folder), str(question), str(answer), str(torch.get_num_threads())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"the exported code does not run: {done.stderr.strip().splitlines()[-1]}")
        given = load_file(answer)
    keys = json.loads(done.stdout.splitlines()[-1])
    if keys != list(network.state_dict()):
        raise BuildError("the exported code has other state-dict keys than the network")
    if not torch.equal(given["logits"], expected):
        difference = (given["logits"] - expected).abs().max().item()
        raise BuildError(f"the exported code gives other logits than the network (largest difference {difference:.3g})")


def _load(network: nn.Module, weights: Path) -> None:
    if not weights.is_file():
        raise StudyError(f"there is no file {weights}")
    try:
        network.load_state_dict(load_file(weights))
    except Exception as error:
        raise SpecError(f"{weights} does not fit the architecture: {str(error).splitlines()[0]}") from error


_CHECK = f"""
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hadnas":
            raise ImportError("hadnas is blocked")
sys.meta_path.insert(0, Blocked())
folder, question, answer, threads = sys.argv[1:]
sys.path.insert(0, folder)
sys.dont_write_bytecode = True
import torch
from safetensors.torch import load_file, save_file
torch.set_num_threads(int(threads))
from model import {ENTRY}
network = {ENTRY}(pretrained=True).eval()
with torch.inference_mode():
    save_file({{"logits": network(load_file(question)["images"])}}, answer)
print(json.dumps(list(network.state_dict())))
"""
