"""What the package finds by itself: every file of a room is imported, so adding one thing means adding its file."""

import importlib
import pkgutil
from functools import cache


@cache
def import_all(package: str) -> None:
    """Import every module of a package and of those in it, once in a process."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
        if module.ispkg:
            import_all(f"{package}.{module.name}")
