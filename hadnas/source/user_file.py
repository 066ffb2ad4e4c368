"""Runs a user's file, which registers its blocks."""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from hadnas.errors import HadnasError, SpecError, first_line


def run_file(path: Path) -> ModuleType:
    """The module of a Python file, run once per process; one path always gives one module name.

    It may import files of its own folder, as a script may; installed packages take precedence. A file of a package, in
    a folder with `__init__.py`, is imported by its name there, so that its relative imports work. Raises SpecError if
    the file fails; HadnasError and pydantic's ValidationError pass unchanged.
    """
    if (path.resolve().parent / "__init__.py").is_file():
        return _of_package(path.resolve())
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
        with _errors():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _of_package(path: Path) -> ModuleType:
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        root, parts = root.parent, [root.name, *parts]
    if str(root) not in sys.path:
        sys.path.append(str(root))
    name = ".".join(parts).removesuffix(".__init__")
    with _errors():
        module = importlib.import_module(name)
    if module.__file__ is None or Path(module.__file__).resolve() != path:
        raise SpecError(f"the module {name} is {module.__file__}, another file; rename the package {parts[0]}")
    return module


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (HadnasError, ValidationError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SpecError(f"the file cannot be run: {type(error).__name__}: {first_line(error)}") from error
