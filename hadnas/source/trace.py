"""The source of an architecture: the definitions of the classes that its call tree uses.

The classes are copied unchanged from hadnas and from users' files, with every definition they need and no other;
decorators that register ops are removed. The result imports installed packages only: torch, timm and those of
user-defined blocks.
"""

import ast
import hashlib
import inspect
import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

from timm.models import build_model_with_cfg, load_checkpoint, register_model

from hadnas.errors import BuildError
from hadnas.hosts.host import ENTRY
from hadnas.source.statements import binds, changes, meaning, names_read, text_of

_REGISTRY = "hadnas.blocks.registry"
_MODULE_ATTRIBUTES = frozenset({"__name__", "__file__", "__doc__"})

EVERYWHERE = frozenset({"torch", "timm", *sys.stdlib_module_names})
"""The modules that every exported file may import."""


_PREDEFINED = {
    "Any": ("imported by the exported file", Any),
    "Path": ("imported by the exported file", Path),
    "build_model_with_cfg": ("imported by the exported file", build_model_with_cfg),
    "register_model": ("imported by the exported file", register_model),
    "load_checkpoint": ("imported by the exported file", load_checkpoint),
    "default_cfgs": ("defined by the exported file", object()),
    ENTRY: ("defined by the exported file", object()),
}
"""Names that every exported file defines or imports -> their origin and value."""


@dataclass
class Definitions:
    """Definitions, each after those it needs, and the imports they share."""

    texts: dict[str, str] = field(default_factory=dict)  # top-level name -> source
    imports: dict[str, str] = field(default_factory=dict)  # name -> statement
    origins: dict[str, tuple[str, Any]] = field(default_factory=dict)  # name -> its origin in words, its value

    def claim(self, name: str, origin: str, value: Any) -> bool:
        """Whether `name` is new. Raises BuildError if it has another value already."""
        if name not in self.origins:
            self.origins[name] = origin, value
            return True
        first, other = self.origins[name]
        if other is not value:
            raise BuildError(f"{name} is {first} and {origin}; rename one to build a network of both")
        return False

    def add_import(self, name: str, statement: str, module: str) -> None:
        """Add an import statement of `module`. Raises BuildError if the name has another value already."""
        if self.claim(name, f"imported in {module} by `{statement}`", vars(sys.modules[module]).get(name)):
            self.imports[name] = statement

    def add(self, other: "Definitions") -> None:
        """Add the definitions of `other`. Raises BuildError if a name has another value there."""
        for name, (origin, value) in other.origins.items():
            if self.claim(name, origin, value) and name in other.imports:
                self.imports[name] = other.imports[name]
        self.texts = {**self.texts, **other.texts}

    @property
    def beside(self) -> list[str]:
        """The imported packages other than torch, timm and the standard library."""
        nodes = [ast.parse(statement).body[0] for statement in self.imports.values()]
        modules = [n.module or "" if isinstance(n, ast.ImportFrom) else n.names[0].name for n in nodes]  # type: ignore[attr-defined]
        return sorted({module.partition(".")[0] for module in modules} - EVERYWHERE)

    def source(self) -> str:
        """The imports, then the definitions, as unformatted Python."""
        statements = sorted(set(self.imports.values()))
        return "\n".join([*statements, *("\n\n" + text for text in self.texts.values())]) + "\n"


def definitions(classes: Iterable[Any]) -> Definitions:
    """The definitions of `classes` and of all they need.

    Raises BuildError for a class without readable source, or if one name has two values.
    """
    found = Definitions(origins=dict(_PREDEFINED))
    for cls in sorted(classes, key=lambda cls: (cls.__module__, cls.__name__)):
        found.add(_needed(cls))
    return found


@cache
def _needed(cls: Any) -> Definitions:
    found = Definitions()
    _collect(cls.__module__, cls.__qualname__, found)
    return found


def hash_of(classes: frozenset[Any]) -> str:
    """A hash of the `meaning` of `classes` and of all they need. 16 hexadecimal digits.

    Raises BuildError as `definitions` does, so that a network that cannot be exported is refused before its training.
    """
    definitions(classes)
    return hashlib.sha256("".join(sorted(map(_hash, classes))).encode()).hexdigest()[:16]


@cache
def _hash(cls: Any) -> str:
    statements = ast.parse(_needed(cls).source()).body
    # Sorted, so that the order of definitions in a file does not change the hash.
    return hashlib.sha256("\n".join(sorted(map(meaning, statements))).encode()).hexdigest()


@cache
def _parsed(module_name: str, module: ModuleType | None) -> tuple[str, ast.Module, ModuleType]:
    """Read once per module: an edited file that is loaded anew is another one."""
    try:
        if module is None:
            raise OSError("the module is not loaded")
        text = inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise BuildError(
            f"the source of {module_name} cannot be read ({error}); to be exported, a block must be defined in a file"
        ) from None
    return text, ast.parse(text), module


def _collect(module_name: str, name: str, found: Definitions) -> None:
    """Add the top-level definition `name` of a module after everything it needs."""
    text, tree, module = _parsed(module_name, sys.modules.get(module_name))
    node = _top_level(tree, name)
    if node is None:
        raise BuildError(f"{module_name} does not define {name} at top level; only such definitions can be exported")
    if not found.claim(name, f"defined in {module_name}", vars(module).get(name)):
        return
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        node.decorator_list = [item for item in node.decorator_list if not _registers(item, tree)]
    for used in names_read(node):
        known = used in vars(module) and used not in _MODULE_ATTRIBUTES
        if not _resolve(module_name, tree, used, found) and known:
            raise BuildError(
                f"{module_name}: no definition or import of {used} is found; to be exported, it must be defined or "
                "imported by its name at top level, outside `if` and `try`"
            )
    if (lines := text_of(node, text)) not in found.texts.values():  # KERNEL, PAD = 7, 3 defines two names
        found.texts[name] = lines


def _resolve(module_name: str, tree: ast.Module, name: str, found: Definitions) -> bool:
    """Add the definition or import of a name that a definition uses; whether the module has one."""
    if _top_level(tree, name) is not None:
        _collect(module_name, name, found)
        return True
    for_types = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    statements = itertools.chain(tree.body, *(node.body for node in for_types))
    for node in [item for item in statements if isinstance(item, ast.Import | ast.ImportFrom)]:
        for alias in node.names:
            if (alias.asname or alias.name.partition(".")[0]) == name:
                _follow(module_name, node, alias, found)
                return True
    return False


def _follow(module_name: str, node: ast.Import | ast.ImportFrom, alias: ast.alias, found: Definitions) -> None:
    """Add an imported name: the import of an installed package, else the definition itself."""
    name = alias.asname or alias.name.partition(".")[0]
    rename = f" as {alias.asname}" if alias.asname else ""
    if isinstance(node, ast.Import):
        if not _installed(alias.name):
            raise BuildError(f"{module_name} imports {alias.name} whole; import what it needs by name to export it")
        found.add_import(name, f"import {alias.name}{rename}", module_name)
        return
    source = resolve_name("." * node.level + (node.module or ""), vars(sys.modules[module_name]).get("__package__"))
    if _installed(source):
        found.add_import(name, f"from {source} import {alias.name}{rename}", module_name)
    elif alias.asname:
        raise BuildError(f"{module_name} imports {alias.name} as {name}; import it by its own name to export")
    else:
        _collect(source, alias.name, found)


def _installed(module_name: str) -> bool:
    """Whether a module belongs to an installed package other than hadnas, so that the exported file may import it."""
    root = module_name.partition(".")[0]
    if root in EVERYWHERE or root == "hadnas":
        return root != "hadnas"
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is not None and bool({"site-packages", "dist-packages"} & set(Path(file).parts))


def _top_level(tree: ast.Module, name: str) -> ast.stmt | None:
    """The statement that binds a name.

    Raises BuildError if two statements bind it, or if another changes its object: the export would miss one of them.
    """
    found = [node for node in tree.body if name in binds(node)]
    if found and (changed := [str(node.lineno) for node in tree.body if name in changes(node)]):
        raise BuildError(
            f"{name} is bound in line {found[0].lineno} and changed at top level in line {' and '.join(changed)}; to "
            "be exported, it must be bound once and not changed"
        )
    if len(found) > 1:
        lines = " and ".join(str(node.lineno) for node in found)
        raise BuildError(f"{name} is bound at top level in the lines {lines}; to be exported it must be bound once")
    return found[0] if found else None


def _registers(decorator: ast.expr, tree: ast.Module) -> bool:
    """Whether a decorator is imported from the registry."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module in (_REGISTRY, "hadnas")
        for alias in node.names
    }
    return isinstance(target, ast.Name) and target.id in imported
