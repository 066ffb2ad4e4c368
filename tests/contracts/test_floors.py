"""Imports go downward only, heavy libraries stay in their rooms, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hadnas

PACKAGE = Path(hadnas.__file__).parent
FLOORS = [
    "errors",
    "inputs",
    "limits",
    "paths",
    "plain",
    "shipped",
    "signals",
    "targets",
    "space",
    "blocks",
    "fusions",
    "arch",
    "hosts",
    "source",
    "measure",
    "contract",
    "train",
    "samplers",
    "replay",
]
FLOORS += [
    "store",
    "track",
    "results",
    "search",
    "objective",
    "exporter",
    "opened",
    "library",
    "retraining",
    "doctor",
    "shell",
    "__main__",
]
"""The rooms from the ground up: a room imports from those before it, and from itself."""

ROOMS = {
    "optuna": {"samplers", "replay", "store", "results", "search", "objective"},
    "sqlalchemy": {"store"},
    "mlflow": {"track"},
    "click": {"shell"},
    "rich": {"shell"},
}
"""Heavy library -> the rooms that may import it."""

ANY_MODULE = {"measure", "train"}
"""Rooms that take any nn.Module and know nothing of architectures."""


def imports(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return names + [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def files() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "__init__":
            found.append((parts[0], path))
    return found


def test_every_room_has_a_floor() -> None:
    assert {room for room, _ in files()} == set(FLOORS)


@pytest.mark.parametrize(
    ("room", "path"), files(), ids=lambda value: str(value.relative_to(PACKAGE)) if isinstance(value, Path) else ""
)
def test_imports_go_downward(room: str, path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for name in imports(path):
        head, *rest = name.split(".")
        if head == "hadnas" and rest:
            other = rest[0]
            below = other == room or FLOORS.index(other) < FLOORS.index(room)
            assert below, f"{place} imports {name}"
            knows = room in ANY_MODULE and place != "train/effects.py"  # which zeroes the product merge by its class
            assert not (knows and other in ("arch", "blocks", "hosts", "source", "space")), f"{place} imports {name}"
        if head in ROOMS:
            assert room in ROOMS[head], f"{place} imports {head}"
        if room == "space":
            assert head not in ("torch", "timm", "numpy"), f"{place} imports {head}"


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_import_runs_in_a_circle() -> None:
    """Imports inside functions and for type checkers count, too."""
    known = {module_of(path): path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        named = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        graph[name] = (named | {node.module or "" for node in nodes}) & set(known) - {name}
        if path.name != "__init__.py":  # a file of a room needs no more of the room than its name
            graph[name].discard(name.rpartition(".")[0])
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_rooms_are_small_and_say_their_noun() -> None:
    for place in sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}):
        files = [path for path in place.glob("*.py") if path.name != "__init__.py"]
        assert place.name == "blocks" or len(files) <= 12, f"{place.name} has {len(files)} files"
        assert ast.get_docstring(ast.parse((place / "__init__.py").read_text())), f"{place.name} says nothing"


def test_no_file_is_long() -> None:
    long = {path.name: n for path in PACKAGE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 300}
    assert not long


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_and_help_load_nothing_heavy() -> None:
    heavy = "{'torch', 'timm', 'mlflow', 'optuna', 'sqlalchemy', 'pandas', 'pydantic', 'rich'} & set(sys.modules)"
    assert run(f"import sys, hadnas; print({heavy})") == "set()\n"
    torch = "{'torch', 'timm', 'mlflow'} & set(sys.modules)"
    assert run(f"import sys, hadnas.store.ledger, hadnas.store.home; print({torch})") == "set()\n"
    code = (
        f"import sys; from hadnas.shell.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint({heavy})"
    )
    out = run(code)
    assert out.endswith("set()\n") and "search" in out
    assert run(f"import sys, hadnas.space; print({heavy})") == "set()\n"


def test_public_names() -> None:
    names = (
        "Arch DataSpec HadnasError Home Mask Recipe Study SurrogateSampler Task Tokens block build cost distill export "
        "graft int_range latency load load_predictor log_trial one_of op open_study product_effects prospects "
        "register repeat retrain run_finals run_study sample suggest write_report"
    )
    assert hadnas.__all__ == names.split()
    for name in hadnas.__all__:
        assert getattr(hadnas, name).__name__ in (name, "SPACE")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hadnas.nothing  # type: ignore[attr-defined]


def test_every_package_is_installed() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    folders = {module_of(path) for path in PACKAGE.rglob("__init__.py")}
    assert folders <= set(project["tool"]["setuptools"]["packages"])
