"""The README says what is so."""

from tests.readme import README, written


def test_generated_tables_are_up_to_date() -> None:
    text = README.read_text()
    checked = ["figures", "ops", "shelf"]  # the fourth: test_published
    assert written(text, checked) == text, "run `python -m tests.readme`"


def test_commands_of_the_readme_exist() -> None:
    from hadnas.shell.cli import main

    lines = [line.removeprefix("uv run ") for line in README.read_text().splitlines()]
    named = [line.split()[1] for line in lines if line.startswith("hadnas ")]
    assert len(named) >= 12 and set(named) <= set(main.commands)


def test_ci_runs_the_readmes_test_commands() -> None:
    ci = (README.parent / ".ci" / "run").read_text().splitlines()
    said = [line.partition("  #")[0].rstrip() for line in README.read_text().splitlines()]
    commands = [line for line in said if line.startswith("uv run pytest") or line.endswith("uv run pytest")]
    assert len(commands) == 4 and set(commands) <= set(ci)
