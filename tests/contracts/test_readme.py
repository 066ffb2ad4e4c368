"""README, CONTRIBUTING and docs/ are true as far as a test can see."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from PIL import Image

import hadnas
from docs.generate import PAGES as GENERATED
from docs.generate import published_page
from hadnas.library import load, shipped
from tests.contracts.test_floors import FLOORS, PACKAGE
from tests.readme import DOCS, PAGES, README, ROOT, anchors, commands, fenced, links, rooms, shell_lines

CI = (ROOT / ".ci" / "run").read_text().splitlines()
PYTEST = "uv run --group dev pytest"


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("name", sorted(set(GENERATED) - {"published.md"}))
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert GENERATED[name]() == (DOCS / name).read_text(), "run `python -m docs.generate`"


def test_the_page_of_published_networks_is_whole() -> None:
    """Its rows are compared in test_published, which counts every network anyway."""
    text = (DOCS / "published.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == shipped("published")
    assert published_page(rows) == text, "run `python -m docs.generate`"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_their_options_exist(page: Path) -> None:
    from hadnas.shell.cli import main

    for name, *words in commands(page):
        if name in ("...", "COMMAND", "--help"):
            continue
        assert name in main.commands, f"hadnas {name}"
        known = {"--help"}.union(*(option.opts for option in main.commands[name].params))
        for word in words:
            assert not word.startswith("-") or word in known, f"hadnas {name} {word}"
    anywhere = {"--class-map"}.union(*(option.opts for found in main.commands.values() for option in found.params))
    for line in shell_lines(page):
        for word in line.split() if line.startswith("--") else ():  # options named without their command
            assert not word.startswith("-") or word in anywhere, word  # --class-map is of timm's training script


def test_the_pages_together_show_every_command() -> None:
    from hadnas.shell.cli import main

    shown = {name for page in PAGES if page.name not in GENERATED for name, *_ in commands(page)}
    assert set(main.commands) <= shown
    assert len(commands(README)) >= 10


def test_ci_runs_the_test_commands_of_the_readme_and_of_contributing() -> None:
    whole = re.compile(rf"(python3 -m pip install uv && )?{PYTEST}( -m \w+)?")
    shown = [line for page in (README, ROOT / "CONTRIBUTING.md") for line in shell_lines(page) if whole.fullmatch(line)]
    left_out = {line for line in shown if not any(run.endswith(line) for run in CI)}
    assert len(shown) == 6 and left_out == {f"{PYTEST} -m faults"}  # minutes of kills; the slow tests have a short form
    assert shown[0] in CI
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    marks = {mark.partition(":")[0] for mark in settings["tool"]["pytest"]["ini_options"]["markers"]}
    asked = {word for line in CI if " -m " in line for word in re.findall(r"\w+", line.rpartition(" -m ")[2])}
    assert marks - asked == {"faults"}, "a kind of test that CI never runs"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_tests_and_benchmarks_run_with_the_group_that_they_need(page: Path) -> None:
    """`uv run` alone installs what users need, without pytest."""
    for line in [*(line for block in fenced(page, "sh") for line in block.splitlines()), *CI]:
        if "uv run" in line and re.search(r"pytest|tests/", line):
            assert "uv run --group dev " in line, line
        for file in re.findall(r"tests/\w+/\w+\.py", line):
            assert (ROOT / file).is_file(), file


def test_every_benchmark_is_listed() -> None:
    page = (DOCS / "benchmarks.md").read_text()
    benches = sorted(path.name for path in (ROOT / "tests" / "bench").glob("*.py") if path.name != "__init__.py")
    assert benches and [name for name in benches if f"tests/bench/{name}" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    assert {page.name for page in PAGES if page != README} <= {Path(link).name for link in links(README)}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_code_uses_public_names(page: Path) -> None:
    used = set(re.findall(r"\bhadnas\.(\w+)\(", page.read_text()))
    for code in fenced(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hadnas":
                used.add(node.attr)
            if isinstance(node, ast.ImportFrom) and node.module == "hadnas":
                used.update(alias.name for alias in node.names)
    assert used <= set(hadnas.__all__)


def test_files_that_pages_name_exist() -> None:
    """Paths from the root of the repository, such as `hadnas/errors.py`; NAME stands for any."""
    for page in PAGES:
        for place in re.findall(r"`((?:hadnas|tests|studies|search_spaces|docs)/[\w./]*)`", page.read_text()):
            assert "NAME" in place or (ROOT / place).exists(), f"{named(page)}: {place}"


def test_the_file_tree_shows_the_rooms_in_the_order_of_their_floors() -> None:
    assert rooms(README) == [name for name in FLOORS if (PACKAGE / name).is_dir()]


def test_the_readme_says_how_large_the_default_study_is() -> None:
    study = load("studies/digits")
    assert f"{study.trials} architectures, {len(study.baselines)} baselines" in README.read_text()


def test_the_results_are_those_of_the_studys_docstring() -> None:
    from hadnas.studies import star_or_sum

    differences = re.findall(r"[+-][\d.]+ \(.*?\), p [=<] [\d.]+", star_or_sum.__doc__ or "")
    page = (DOCS / "results.md").read_text()
    assert len(differences) == 12 and [found for found in differences if found not in page] == []


def test_the_picture_is_small() -> None:
    picture = DOCS / "digits.png"
    assert picture.stat().st_size < 150_000
    with Image.open(picture) as image:
        assert image.format == "PNG" and image.width >= 1200
