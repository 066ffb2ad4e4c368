"""Imports go downward only, heavy libraries stay in their rooms, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hadnas

PACKAGE = Path(hadnas.__file__).parent
FLOORS = {
    "__main__": 10,
    "errors": -1,
    "limits": 0,
    "paths": 0,
    "plain": 0,
    "console": 1,
    "space": 1,
    "blocks": 1,
    "models": 2,
    "measure": 3,
    "train": 3,
    "track": 3,
    "exporter": 3,
    "search": 5,
    "cases": 2,
    "formula": 2,
    "onnx_model": 1,
    "state_dict": 3,
    "contract": 4,
    "effects": 4,
    "library": 6,
    "retraining": 6,
    "sections": 6,
    "report": 7,
    "progress": 7,
    "tables": 7,
    "commands": 8,
    "cli": 9,
}
"""Room -> floor: a room imports from lower floors, and from itself."""

ROOMS = {
    "optuna": {"search"},
    "sqlalchemy": {"search"},
    "mlflow": {"track"},
    "click": {"cli", "commands"},
    "rich": {"console", "progress", "tables"},
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
        if parts[0] not in ("__init__",):
            found.append((parts[0], path))
    return found


def test_every_room_has_a_floor() -> None:
    assert {room for room, _ in files()} == set(FLOORS)


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda value: value.name if isinstance(value, Path) else "")
def test_imports_go_downward(room: str, path: Path) -> None:
    for name in imports(path):
        head, *rest = name.split(".")
        if head == "hadnas" and rest:
            other = rest[0]
            assert other == room or FLOORS[other] < FLOORS[room], f"{path.name} ({room}) imports {name}"
            assert not (room in ANY_MODULE and other in ("models", "blocks", "space")), f"{path.name} imports {name}"
        if head in ROOMS:
            assert room in ROOMS[head], f"{path.name} ({room}) imports {head}"
        if room == "space":
            assert head not in ("torch", "timm", "numpy"), f"{path.name} imports {head}"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_and_help_load_nothing_heavy() -> None:
    heavy = "{'torch', 'timm', 'mlflow', 'optuna', 'sqlalchemy', 'pandas', 'pydantic', 'rich'} & set(sys.modules)"
    assert run(f"import sys, hadnas; print({heavy})") == "set()\n"
    code = f"import sys; from hadnas.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint({heavy})"
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
