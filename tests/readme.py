"""The pages for users, and what of them a test can check: their commands, code, links and file tree."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


def fenced(page: Path, language: str) -> list[str]:
    """The blocks of code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def shell_lines(page: Path) -> list[str]:
    """The commands of a page, one a line, without comments: those of its blocks, and those within its text."""
    blocks = [line.partition("  #")[0].rstrip() for block in fenced(page, "sh") for line in block.splitlines()]
    within = re.findall(r"`([^`]+)`", prose(page))
    return blocks + [" ".join(found.split()) for found in within]


def commands(page: Path) -> list[list[str]]:
    """The `hadnas` commands of a page as words, behind `uv run` too, without the first word."""
    found = (re.search(r"(?:^|uv run (?:--extra \w+ )?)hadnas (.*)", line) for line in shell_lines(page))
    return [shlex.split(match[1]) for match in found if match]


def links(page: Path) -> list[str]:
    """Where a page points to, other addresses of the web left out."""
    return [to for to in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in to]


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes links of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rooms(page: Path) -> list[str]:
    """The folders of hadnas/ in the file tree of a page, from the top."""
    tree = re.search(r"^```\nhadnas/\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    assert tree is not None
    return re.findall(r"^  (\w+)/", tree[1], re.M)
