"""hadnas: neural architecture search over Hadamard, additive, convolutional and attention building blocks."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hadnas.arch.node import Arch
    from hadnas.arch.random import sample
    from hadnas.arch.task import Task
    from hadnas.blocks.registry import block, register
    from hadnas.errors import HadnasError
    from hadnas.exporter.folder import export
    from hadnas.hosts.build import build
    from hadnas.hosts.graft.space import graft
    from hadnas.inputs import Mask, Tokens
    from hadnas.library import load
    from hadnas.measure.cost import cost
    from hadnas.measure.latency.latency import latency
    from hadnas.objective import log_trial, suggest
    from hadnas.opened import open_study
    from hadnas.results.report import write_report
    from hadnas.retraining import retrain
    from hadnas.samplers.surrogate import SurrogateSampler
    from hadnas.search.distill.distill import distill
    from hadnas.search.finals import run_finals
    from hadnas.search.latency.predictor import load_predictor
    from hadnas.search.proposals.prospects import prospects
    from hadnas.search.run import run_study
    from hadnas.space import int_range, one_of, op, repeat
    from hadnas.store.home import Home
    from hadnas.store.study import Study
    from hadnas.train.data.spec import DataSpec
    from hadnas.train.effects import product_effects
    from hadnas.train.recipe import Recipe

# Public name -> its module, imported at first use, so that `import hadnas` loads no torch.
_PUBLIC = {
    "Arch": "hadnas.arch.node",
    "DataSpec": "hadnas.train.data.spec",
    "HadnasError": "hadnas.errors",
    "Home": "hadnas.store.home",
    "Mask": "hadnas.inputs",
    "Recipe": "hadnas.train.recipe",
    "Study": "hadnas.store.study",
    "SurrogateSampler": "hadnas.samplers.surrogate",
    "Task": "hadnas.arch.task",
    "Tokens": "hadnas.inputs",
    "block": "hadnas.blocks.registry",
    "build": "hadnas.hosts.build",
    "cost": "hadnas.measure.cost",
    "distill": "hadnas.search.distill.distill",
    "export": "hadnas.exporter.folder",
    "graft": "hadnas.hosts.graft.space",
    "int_range": "hadnas.space",
    "latency": "hadnas.measure.latency.latency",
    "load": "hadnas.library",
    "load_predictor": "hadnas.search.latency.predictor",
    "log_trial": "hadnas.objective",
    "one_of": "hadnas.space",
    "op": "hadnas.space",
    "open_study": "hadnas.opened",
    "product_effects": "hadnas.train.effects",
    "prospects": "hadnas.search.proposals.prospects",
    "register": "hadnas.blocks.registry",
    "repeat": "hadnas.space",
    "retrain": "hadnas.retraining",
    "run_finals": "hadnas.search.finals",
    "run_study": "hadnas.search.run",
    "sample": "hadnas.arch.random",
    "suggest": "hadnas.objective",
    "write_report": "hadnas.results.report",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'hadnas' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
