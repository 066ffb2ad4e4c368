"""The README says what is so."""

from tests.readme import README, written


def test_generated_tables_are_up_to_date() -> None:
    text = README.read_text()
    assert written(text) == text, "run `python -m tests.readme`"


def test_commands_of_the_readme_exist() -> None:
    from hadnas.cli import main

    text = README.read_text()
    for line in text.splitlines():
        words = line.strip().split()
        if words[:3] == ["uv", "run", "hadnas"]:
            assert words[3] in main.commands, line


def test_ci_runs_the_readmes_test_command() -> None:
    ci = (README.parent / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert ci in README.read_text().splitlines()
