"""Imports go downward only, heavy libraries stay in their rooms, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hadnas

PACKAGE = Path(hadnas.__file__).parent
FLOORS = ["errors", "space", "blocks", "arch", "hosts", "source", "measure", "contract", "train", "samplers"]
FLOORS += ["store", "track", "results", "search", "exporter", "library", "retraining", "shell", "__main__"]
"""The rooms from the ground up: a room imports from those before it, and from itself."""

ROOMS = {
    "optuna": {"samplers", "store", "results", "search"},
    "sqlalchemy": {"store"},
    "mlflow": {"track"},
    "click": {"shell"},
    "rich": {"shell"},
}
"""Heavy library -> the rooms that may import it."""

ANY_MODULE = {"measure", "train"}
"""Rooms that take any nn.Module and know nothing of architectures."""

UPWARD = {
    ("results/sections.py", "hadnas.search.compare"),
    ("results/table.py", "hadnas.exporter.folder"),
    ("results/table.py", "hadnas.exporter.deliver"),
    ("samplers/optuna.py", "hadnas.store.worker"),
}
"""Imports that still run upward."""


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
        if head == "hadnas" and rest and (place, name) not in UPWARD:
            other = rest[0]
            below = other == room or FLOORS.index(other) < FLOORS.index(room)
            assert below, f"{place} imports {name}"
            knows = room in ANY_MODULE and place != "train/effects.py"  # which zeroes the product merge by its class
            assert not (knows and other in ("arch", "blocks", "hosts", "source", "space")), f"{place} imports {name}"
        if head in ROOMS:
            assert room in ROOMS[head], f"{place} imports {head}"
        if room == "space":
            assert head not in ("torch", "timm", "numpy"), f"{place} imports {head}"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_and_help_load_nothing_heavy() -> None:
    heavy = "{'torch', 'timm', 'mlflow', 'optuna', 'sqlalchemy', 'pandas', 'pydantic', 'rich'} & set(sys.modules)"
    assert run(f"import sys, hadnas; print({heavy})") == "set()\n"
    code = (
        f"import sys; from hadnas.shell.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint({heavy})"
    )
    out = run(code)
    assert out.endswith("set()\n") and "search" in out
    assert run(f"import sys, hadnas.space; print({heavy})") == "set()\n"


def test_public_names() -> None:
    names = (
        "Arch DataSpec HadnasError Home Recipe Study Task block build cost export int_range latency load "
        "load_predictor one_of op open_study product_effects register repeat retrain run_finals run_study sample "
        "write_report"
    )
    assert hadnas.__all__ == names.split()
    for name in hadnas.__all__:
        assert getattr(hadnas, name).__name__ in (name, "SPACE")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hadnas.nothing  # type: ignore[attr-defined]
