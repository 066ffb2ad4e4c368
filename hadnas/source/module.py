"""The text of `model.py`: the call tree of an architecture, read as source."""

import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import timm
import torch
from ruff.__main__ import find_ruff_bin

from hadnas.arch.node import Arch
from hadnas.arch.read import Call, lower
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op
from hadnas.errors import BuildError
from hadnas.hosts.build import Moments, normalisation, timm_config
from hadnas.source.expression import calls, expression
from hadnas.source.trace import ENTRY, Definitions, definitions


def model_source(
    arch: Arch,
    task: Task,
    facts: Mapping[str, Any],
    moments: Moments | None = None,
    class_names: Sequence[str] = (),
) -> str:
    """The formatted source of a file that builds `arch` for `task` with torch and timm only.

    `facts` are written into the docstring on top, `moments` and `class_names` into timm's configuration. Raises
    BuildError where a definition cannot be taken over.
    """
    call = lower(arch, task)
    found = definitions({part.cls for part in calls(call)})
    found.imports |= {"Any": "from typing import Any", "Path": "from pathlib import Path"}
    body = (
        _timm_body(call, moments, class_names)
        if not isinstance(call.cls, type)
        else _pyramid_body(call, timm_config(arch, task, moments, class_names), moments, found)
    )
    return _formatted("\n\n".join([_docstring(arch, task, facts), found.source(), body]))


def _docstring(arch: Arch, task: Task, facts: Mapping[str, Any]) -> str:
    lines = [f"hadnas architecture {arch.fingerprint} for {task}.", ""]
    said = (
        f"Written by hadnas; needs {listed(needed(arch, task))} only. The classes are those it was built from; their "
        "docstrings name the papers they come from."
    )
    lines += [*textwrap.wrap(said, 118), "", *textwrap.wrap(f"Licence: {licence(arch, task)}", 116), ""]
    lines += [f"torch {torch.__version__}, timm {timm.__version__}"]
    lines += [f"{name}: {value}" for name, value in facts.items()]
    lines += ["", *arch.tree().splitlines()]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', r"\"\"\"")  # a name in it may be anybody's, and is run
    return f'"""{text}\n"""'


def needed(arch: Arch, task: Task) -> list[str]:
    """The packages that the code imports: torch and timm, and what classes of one's own bring."""
    return ["torch", "timm", *definitions({part.cls for part in calls(lower(arch, task))}).beside]


def listed(names: list[str]) -> str:
    """`a, b and c`, of at least two."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def licence(arch: Arch, task: Task) -> str:
    """Under what the code may be used: hadnas's own, and which classes are others'."""
    classes = {part.cls for part in calls(lower(arch, task))}
    others = sorted(cls.__name__ for cls in classes if cls.__module__.partition(".")[0] != "hadnas")
    own = "Apache-2.0, that of hadnas, whose code this is."
    return own if not others else f"{own} Not hadnas's, and under their author's licence: {', '.join(others)}."


def _pyramid_body(call: Call, config: dict[str, Any], moments: Moments | None, found: Definitions) -> str:
    found.imports |= {"register_model": "from timm.models import build_model_with_cfg, register_model"}
    name = config["architecture"]
    kwargs = {**call.kwargs, "stem": _for_channels(call.kwargs["stem"])}
    channels = kwargs.pop("in_chans")
    parts = "\n".join(f"        {key}={expression(value)}," for key, value in kwargs.items() if _is_part(value))
    plain = {key: value for key, value in kwargs.items() if not _is_part(value)}
    settings = ", ".join(f"{key!r}: {value!r}" for key, value in plain.items())
    known = ", ".join(f"{key!r}: {value!r}" for key, value in config.items())
    return f'''
# {normalisation(moments, "`mean`", "`std`")}
# timm reads this when the network is registered.
default_cfgs = {{{name!r}: {{{known}, "file": str(Path(__file__).with_name("model.safetensors"))}}}}


@register_model
def {name}(
    pretrained: bool = False, *, in_chans: int = {channels}, device: Any = None, dtype: Any = None, **kwargs: Any
) -> {call.cls.__name__}:
    """The network, for `timm.create_model` by this name; `pretrained` loads model.safetensors beside this file."""
    dd = {{"device": device, "dtype": dtype}}
    return build_model_with_cfg(
        {call.cls.__name__},
        {name!r},
        pretrained,
        feature_cfg={{"out_indices": {tuple(range(len(call.kwargs["stages"])))!r}, "flatten_sequential": True}},
{parts}
        in_chans=in_chans,
        **{{{settings}, **kwargs}},
        **dd,
    )


{ENTRY} = {name}
'''


def _timm_body(call: Call, moments: Moments | None, class_names: Sequence[str]) -> str:
    known: dict[str, Any] = {} if moments is None else {"mean": moments[0], "std": moments[1]}
    known |= {"label_names": tuple(class_names)} if class_names else {}
    given = (
        ""
        if moments is None
        else """
    # Images are pixels scaled to 0..1, minus `mean`, over `std`: those it was trained on, not timm's."""
    )
    if known:
        given += f"""
    network.pretrained_cfg = {{**network.pretrained_cfg, **{known!r}}}"""
    return f'''
def {ENTRY}(pretrained: bool = False, *, device: Any = None, dtype: Any = None) -> nn.Module:
    """The network; `pretrained` loads model.safetensors beside this file."""
    network = {expression(call, "device=device, dtype=dtype")}{given}
    if pretrained:
        timm.models.load_checkpoint(network, str(Path(__file__).with_name("model.safetensors")))
    return network
'''


class _Name(str):
    """A name in code, where a string would stand in quotes."""

    __repr__ = str.__str__


def _for_channels(stem: Call) -> Call:
    """The stem's call for `in_chans` channels, whatever their number."""
    names = [name for name in find_op(stem.op).given if name in ("in_dim", "dim")]
    given = zip(names, stem.args, strict=True)
    return replace(stem, args=tuple(_Name("in_chans") if name == "in_dim" else value for name, value in given))


def _is_part(value: Any) -> bool:
    return isinstance(value, Call) or (isinstance(value, list) and any(isinstance(item, Call) for item in value))


def _formatted(text: str) -> str:
    """`text` with sorted imports and ruff's format. Raises BuildError for what would not run: a name without meaning.

    Style is mended as far as ruff does by itself: the code of one's own blocks may have one of its own.
    """
    rules = ["--isolated", "--line-length", "120", "--stdin-filename", "model.py"]
    for command in (
        ["check", "--fix-only", "--quiet", "--select", "E4,E7,F,I"],
        ["check", "--quiet", "--select", "E9,F821,F822,F823", "--output-format", "concise"],
        ["format", "--quiet"],
    ):
        done = subprocess.run(
            [find_ruff_bin(), *command, *rules, "-"], input=text, capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode:
            raise BuildError(f"the exported source is faulty: {(done.stdout or done.stderr).strip()}")
        text = done.stdout or text  # of a check that only looks nothing comes back
    return text
