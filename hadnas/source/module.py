"""The text of `model.py`, from the call tree of an architecture."""

import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from ruff.__main__ import find_ruff_bin

from hadnas.errors import BuildError
from hadnas.hosts.host import Plan
from hadnas.inputs import AllMoments
from hadnas.source.trace import definitions


def plan_source(
    plan: Plan, facts: Mapping[str, Any], moments: AllMoments | None = None, class_names: Sequence[str] = ()
) -> str:
    """The formatted source of a file that builds the network of a plan with torch and timm only.

    `facts` are written into the module's docstring, `moments` and `class_names` into timm's configuration. Raises
    BuildError if a definition cannot be copied.
    """
    found = definitions(plan.classes)
    # Imports that the host's code may use; ruff removes the unused ones.
    found.imports |= {"Any": "from typing import Any", "Path": "from pathlib import Path"}
    found.imports |= {"load_checkpoint": "from timm.models import load_checkpoint"}
    found.imports |= {"register_model": "from timm.models import build_model_with_cfg, register_model"}
    body = plan.host.source(plan, moments, class_names)
    return _formatted("\n\n".join([_docstring(plan, facts), found.source(), body]))


def _docstring(plan: Plan, facts: Mapping[str, Any]) -> str:
    lines = [f"hadnas architecture {plan.arch.fingerprint} for {plan.task}.", ""]
    note = (
        f"Written by hadnas; needs {listed(needed(plan))} only. The classes are those it was built from; their "
        "docstrings name the papers they come from."
    )
    if plan.task.target == "values":
        note += " It gives values in the units of its training data."
    lines += [*textwrap.wrap(note, 118), "", *textwrap.wrap(f"Licence: {licence(plan)}", 116), ""]
    lines += [f"torch {torch.__version__}, timm {timm.__version__}"]
    lines += [f"{name}: {value}" for name, value in facts.items()]
    lines += ["", *plan.arch.tree().splitlines()]
    text = (
        "\n".join(lines).replace("\\", "\\\\").replace('"""', r"\"\"\"")
    )  # names in it are a user's; unescaped, they would run as code
    return f'"""{text}\n"""'


def needed(plan: Plan) -> list[str]:
    """The packages that the code imports: torch, timm and those of user-defined classes."""
    return ["torch", "timm", *definitions(plan.classes).beside]


def listed(names: list[str]) -> str:
    """`a, b and c`, for two names or more."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def licence(plan: Plan) -> str:
    """The licence of the code: hadnas's, and the classes that are not hadnas's."""
    others = sorted(cls.__name__ for cls in plan.classes if cls.__module__.partition(".")[0] != "hadnas")
    ours = "Apache-2.0, that of hadnas, whose code this is."
    return ours if not others else f"{ours} Not hadnas's, and under their author's licence: {', '.join(others)}."


def _formatted(text: str) -> str:
    """`text` with sorted imports and ruff's format. Raises BuildError for a syntax error or an undefined name.

    Other style errors, as in user-defined blocks, remain unless ruff can fix them.
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
        text = done.stdout or text  # a check without --fix prints nothing
    return text
