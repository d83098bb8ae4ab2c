"""The documents as data: their blocks, their code font, their links, and the commands that they name."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, RUSSIAN = ROOT / "README.md", ROOT / "README.ru.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CLIENTS, OPERATIONS = ROOT / "docs" / "clients.md", ROOT / "docs" / "operations.md"
PAGES = [
    README,
    RUSSIAN,
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "node_modules" not in page.parts),
]

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\b(flask|manage\.py) ([a-z][^#|&;]*)")


def fences(text: str) -> list[tuple[str, str]]:
    """The fenced blocks, each with its language."""
    return [(found[1], found[2]) for found in FENCE.finditer(text)]


def section(page: Path, title: str) -> str:
    """What stands under a title, up to the next one of any level."""
    _, found, rest = page.read_text("utf-8").partition(f"# {title}\n")
    assert found, f"{page.name} has no section {title}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def transcript(text: str) -> Iterator[tuple[str, str]]:
    """What to type, each with what is printed: the block of JSON after it, or nothing."""
    blocks = fences(text)
    for (language, typed), (next_language, printed) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "bash":
            yield typed, printed if next_language == "json" else ""


def code(page: Path) -> list[str]:
    """What is in code font: the lines of commands, and the words in the text."""
    text = page.read_text("utf-8")
    lines = [line for language, block in fences(text) if language == "bash" for line in block.splitlines()]
    return lines + CODE.findall(FENCE.sub("", text))


def commands(page: Path) -> set[str]:
    """Every command of ours that a page names, as it can be typed."""
    found = {match for snippet in code(page) for match in COMMAND.findall(snippet)}
    return {f"{'python ' if program == 'manage.py' else ''}{program} {rest.strip()}" for program, rest in found}


def anchors(page: Path) -> set[str]:
    """The names that links can give to the sections of a page."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
