"""Markdown documents as data: fenced blocks, code spans, links, sections, tables, and the commands they name."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README, RUSSIAN = ROOT / "README.md", ROOT / "README.ru.md"
API, ERRORS, FRONT_END = (ROOT / "docs" / name for name in ("api.md", "errors.md", "front-end.md"))
ARCHITECTURE, OPERATIONS = ROOT / "docs" / "architecture.md", ROOT / "docs" / "operations.md"
KEYS, MONITORING, SCALING, SETTINGS = (
    ROOT / "docs" / name for name in ("keys.md", "monitoring.md", "scaling.md", "settings.md")
)
IMPORT_USERS, RUNBOOK = ROOT / "docs" / "import-users.md", ROOT / "docs" / "runbook.md"
BACKUP, RETENTION = ROOT / "docs" / "backup.md", ROOT / "docs" / "retention.md"
THREATS = ROOT / "docs" / "threats.md"
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
    return [(match[1], match[2]) for match in FENCE.finditer(text)]


def section(page: Path, title: str) -> str:
    """The text under a title, up to the next title of any level."""
    _, heading, rest = page.read_text("utf-8").partition(f"# {title}\n")
    assert heading, f"{page.name} has no section {title}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def transcript(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a section, each with its output: the block of JSON after it, or nothing."""
    blocks = fences(text)
    for (language, command), (next_language, output) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "bash":
            yield command, output if next_language == "json" else ""


def code(page: Path) -> list[str]:
    """The text in code font: the lines of shell blocks, and the code spans of the text."""
    text = page.read_text("utf-8")
    lines = [line for language, block in fences(text) if language == "bash" for line in block.splitlines()]
    return lines + CODE.findall(FENCE.sub("", text))


def commands(page: Path) -> set[str]:
    """Every `flask` and `manage.py` command that a page names, as it can be typed."""
    matches = {match for snippet in code(page) for match in COMMAND.findall(snippet)}
    return {f"{'python ' if program == 'manage.py' else ''}{program} {rest.strip()}" for program, rest in matches}


def anchors(page: Path) -> set[str]:
    """The anchors of the sections of a page, as links name them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
