"""hadnas: neural architecture search over Hadamard, additive, convolutional and attention building blocks."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hadnas.blocks.registry import block, register
    from hadnas.effects import product_effects
    from hadnas.errors import HadnasError
    from hadnas.exporter.folder import export
    from hadnas.library import load
    from hadnas.measure.cost import cost
    from hadnas.measure.latency import latency
    from hadnas.models.arch import Arch
    from hadnas.models.build import build
    from hadnas.models.random import sample
    from hadnas.models.task import Task
    from hadnas.report import write_report
    from hadnas.retraining import retrain
    from hadnas.search.finals import run_finals
    from hadnas.search.predictor import load_predictor
    from hadnas.search.results import open_study
    from hadnas.search.run import run_study
    from hadnas.search.storage import Home
    from hadnas.search.study import Study
    from hadnas.space import int_range, one_of, op, repeat
    from hadnas.train.data import DataSpec
    from hadnas.train.recipe import Recipe

# Public name -> where it lives; imported when first asked for, so that `import hadnas` costs nothing.
_PUBLIC = {
    "Arch": "hadnas.models.arch",
    "DataSpec": "hadnas.train.data",
    "HadnasError": "hadnas.errors",
    "Home": "hadnas.search.storage",
    "Recipe": "hadnas.train.recipe",
    "Study": "hadnas.search.study",
    "Task": "hadnas.models.task",
    "block": "hadnas.blocks.registry",
    "build": "hadnas.models.build",
    "cost": "hadnas.measure.cost",
    "export": "hadnas.exporter.folder",
    "int_range": "hadnas.space",
    "latency": "hadnas.measure.latency",
    "load": "hadnas.library",
    "load_predictor": "hadnas.search.predictor",
    "one_of": "hadnas.space",
    "op": "hadnas.space",
    "open_study": "hadnas.search.results",
    "product_effects": "hadnas.effects",
    "register": "hadnas.blocks.registry",
    "repeat": "hadnas.space",
    "retrain": "hadnas.retraining",
    "run_finals": "hadnas.search.finals",
    "run_study": "hadnas.search.run",
    "sample": "hadnas.models.random",
    "write_report": "hadnas.report",
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
