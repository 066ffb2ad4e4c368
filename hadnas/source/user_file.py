"""Runs a user's file, which registers its blocks."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from hadnas.errors import HadnasError, SpecError, first_line


def run_file(path: Path) -> ModuleType:
    """The module of a Python file, run once per process; one path always gives one module name.

    It may import files of its own folder, as a script may; installed packages take precedence. Raises SpecError if the
    file fails; HadnasError and pydantic's ValidationError pass unchanged.
    """
    name = f"hadnas_file_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, HadnasError | ValidationError | KeyboardInterrupt):
            raise
        raise SpecError(f"the file cannot be run: {type(error).__name__}: {first_line(error)}") from error
    return module
