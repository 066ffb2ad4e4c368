"""`hadnas.export`: code, weights, data and a model card in one folder, verified before anything is there."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hadnas.arch.node import FORMAT, Arch
from hadnas.arch.task import Task
from hadnas.errors import ARCHITECTURE, BuildError, SpecError, StudyError, check_kind
from hadnas.exporter.card import OUTPUTS, Facts, card
from hadnas.exporter.onnx_file import LOGIT_TOLERANCE, write_onnx
from hadnas.hosts.build import build_plan, save_weights, trained
from hadnas.hosts.host import ENTRY, Plan, make_plan
from hadnas.inputs import AllMoments, drawn, example_text
from hadnas.measure.onnx import require_onnx
from hadnas.source.module import licence, listed, needed, plan_source

FILES = ("model.py", "model.safetensors", "arch.json", "README.md")
ONNX = "model.onnx"
CLASS_MAP = "class_map.txt"
"""The class names, a line each, in the order of the logits, for the option `--class-map` of timm's scripts."""


def export(
    arch: Arch | Plan,
    task: Task,
    out: str | Path,
    weights: str | Path | None = None,
    *,
    facts: Facts | None = None,
    moments: AllMoments | None = None,
    class_names: Sequence[str] = (),
    onnx: bool = False,
    force: bool = False,
) -> Path:
    """Write `arch` for `task` as code, weights, data and model card into the folder `out` and return its path.

    arch     an architecture, or its plan for `task`, if there is one
    weights  a .safetensors file of the network; fresh weights (seed 0) if None
    facts    what the model card says: the origin of the network, figures, data, recipe; no figures if None
    moments  mean and standard deviation per channel that the images were normalised with, for timm's configuration;
             of several inputs those of each by name; code and card say that they are not known if None
    class_names
             in the order of the logits: for arch.json, the weights' metadata, timm's configuration and class_map.txt;
             () if they are not known
    onnx     write model.onnx, too, for any batch, checked in ONNX Runtime; needs the extra `onnx`
    force    write into a folder that has other files; those stay, and files of an earlier export are replaced

    The code is verified first, in a process in which hadnas cannot be imported: same state-dict keys, bit-equal logits.
    If anything fails, the folder is unchanged. Raises StudyError if the folder is not empty or cannot be written,
    SpecError if weights or class names do not fit, BuildError if code or ONNX model cannot be made or differ.
    """
    check_kind(arch, (Arch, dict, Plan), "arch", ARCHITECTURE)
    plan = arch if isinstance(arch, Plan) else make_plan(arch, task)
    folder, facts = Path(out), facts or Facts()
    if len(class_names) not in (0, task.outputs):
        raise SpecError(
            f"class_names has {len(class_names)} names; allowed is one for each of {task.outputs} {task.target}"
        )
    check_folder(folder, onnx=onnx, force=force)
    if onnx:
        require_onnx()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_plan(plan).eval() if weights is None else trained(plan, Path(weights))
    source = plan_source(plan, facts.origin, moments, class_names)
    libraries = listed(needed(plan))
    mappable = task.target == "classes" and _is_mappable(class_names)
    text = card(
        plan,
        facts,
        moments,
        class_names,
        licence(plan),
        libraries,
        trained=weights is not None,
        class_map=CLASS_MAP if mappable else "",
        onnx=onnx,
    )
    beside = {"class_names": list(class_names)} if class_names else {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "model.py").write_text(source, encoding="utf-8")
        images = {"mean": moments[0], "std": moments[1], "shape": task.shape} if isinstance(moments, tuple) else None
        save_weights(network, place / FILES[1], class_names, images)
        (place / "arch.json").write_text(json.dumps({"format": FORMAT, **plan.arch.node, **beside}, indent=1) + "\n")
        if mappable:
            (place / CLASS_MAP).write_text(_class_map(class_names), encoding="utf-8")
        (place / "README.md").write_text(text, encoding="utf-8")
        verify(place, network, task)
        if onnx:
            write_onnx(network, task, place / ONNX, plan.name)
        _move(place, folder)
    return folder


def check_folder(folder: Path, *, onnx: bool = False, force: bool = False) -> None:
    """Raise StudyError unless an export may be written into `folder`; other files are never overwritten."""
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder} is a file; name a folder")
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=place):  # before any work: a training may come first
            pass
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror}") from error
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not force:
        raise StudyError(f"{folder} already has files; name another folder, or write into it with --force")
    code = folder / "model.py"
    ours = code.is_file() and code.read_bytes().startswith(b'"""hadnas architecture ')
    for name in (*FILES, CLASS_MAP, ONNX):
        if not (folder / name).exists():
            continue
        other = name == "README.md" and not (folder / name).read_bytes().startswith(b"# hadnas_")
        if not ours or other or (name == CLASS_MAP and not _is_of_export(folder)):
            raise StudyError(f"{folder / name} is not of an earlier export; move it, or name another folder")
        if name == ONNX and not onnx:
            raise StudyError(
                f"{folder / name} is of an earlier network; move it, or have it replaced by an export with --onnx"
            )


def _is_mappable(class_names: Sequence[str]) -> bool:
    """Whether timm reads these names from a class map: it strips every line, and of equal names counts the last."""
    lines = _class_map(class_names).splitlines()
    return lines != [] and list(dict.fromkeys(line.strip() for line in lines)) == list(class_names)


def _class_map(class_names: Sequence[str]) -> str:
    return "".join(f"{name}\n" for name in class_names)


def _is_of_export(folder: Path) -> bool:
    """Whether the class map in `folder` has the class names of its arch.json."""
    try:
        names = json.loads((folder / "arch.json").read_text())["class_names"]
        return (folder / CLASS_MAP).read_text(encoding="utf-8") == _class_map(names)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _move(place: Path, folder: Path) -> None:
    """Move the files of `place` into `folder`, all or none: copy them to its file system, then rename them."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In a folder that exists: it may be of another file system than its parent, or its parent not writable.
        near = folder if folder.exists() else folder.parent
        with tempfile.TemporaryDirectory(prefix=".hadnas-", dir=near) as scratch:
            beside = Path(scratch) / "export"
            beside.mkdir()
            for file in place.iterdir():
                shutil.copyfile(file, beside / file.name)  # with the modes of files made here, not those of scratch
            if not folder.exists():
                os.rename(beside, folder)
                return
            for file in sorted(beside.iterdir()):
                os.replace(file, folder / file.name)
            if not (place / CLASS_MAP).exists():
                (folder / CLASS_MAP).unlink(missing_ok=True)  # that of an earlier network
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror}") from error


def usage(folder: Path, task: Task, *, onnx: bool = False) -> str:
    """Instructions to load an exported folder, as text."""
    out = OUTPUTS[task.target]
    checked = "verified without hadnas: same keys, bit-equal logits" + (
        f"; in ONNX Runtime: logits within {LOGIT_TOLERANCE:g} of the largest" if onnx else ""
    )
    written = [name for name in (*FILES, CLASS_MAP, ONNX) if (folder / name).exists()]
    return (
        f"wrote {', '.join(written)} to {folder}/ ({checked})\n\n"
        f"    import sys, torch\n    sys.path.insert(0, {str(folder)!r})\n    from model import {ENTRY}\n\n"
        f"    network = {ENTRY}(pretrained=True).eval()\n    {out} = network({example_text(task.shapes)})\n\n"
        + (
            "images are pixels scaled to 0..1, minus network.pretrained_cfg['mean'], over network.pretrained_cfg['std']"
            if len(task.inputs) == 1
            else "inputs are pixels scaled to 0..1, vectors and maps, minus `mean`, over `std` of "
            "network.pretrained_cfg['inputs']; masks and tokens as they are"
        )
    )


def verify(folder: Path, network: nn.Module, task: Task) -> None:
    """Compare keys and logits of `model.py` in `folder`, run without access to hadnas, with those of `network`.

    Raises BuildError with the difference.
    """
    inputs = drawn(task.shapes, 2, torch.randn, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.eval()(*inputs)
    with tempfile.TemporaryDirectory() as scratch:
        question, answer = Path(scratch) / "question.safetensors", Path(scratch) / "answer.safetensors"
        save_file({str(place): one for place, one in enumerate(inputs)}, question)
        arguments = str(folder), str(question), str(answer), str(torch.get_num_threads())
        command = [sys.executable, "-P", "-c", _CHECK, *arguments]  # -P: torch must not import a random.py of the user
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
            raise BuildError(f"the exported code does not run: {lines[-1]}")
        logits = load_file(answer)["logits"]
    keys = json.loads(done.stdout.splitlines()[-1])
    if keys != list(network.state_dict()):
        raise BuildError("the exported code has other state-dict keys than the network")
    if not torch.equal(logits, expected):
        difference = (logits - expected).abs().max().item()
        raise BuildError(f"the exported code gives other logits than the network (largest difference {difference:.3g})")


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
    inputs = load_file(question)
    save_file({{"logits": network(*(inputs[str(place)] for place in range(len(inputs))))}}, answer)
print(json.dumps(list(network.state_dict())))
"""
