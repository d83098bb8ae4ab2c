"""What was measured, written into the pages that show it, so that no figure is typed by hand."""

import re
from pathlib import Path

from tests.bench.report import Figures, Row, cells, drawn, table

SHOWN = {
    "registration, six requests": "регистрация, шесть запросов",
    "who am I": "«кто я»",
    "refresh": "обновление токенов",
    "sign-in (Argon2id m=19456,t=2,p=1)": "вход (Argon2id m=19456,t=2,p=1)",
}
"""The rows that the READMEs show, and what the Russian one calls them."""

HEADS = {
    "README.md": "| what | figure | share of one SELECT | p99 |",
    "README.ru.md": "| что | величина | доля одного SELECT | p99 |",
}


def publish(figures: Figures, *, root: Path) -> None:
    """Write the figures between the markers of `docs/bench.md` and the READMEs of `root`, and draw `docs/bench.svg`."""
    (root / "docs" / "bench.svg").write_text(drawn(figures), "utf-8")
    _between(root / "docs" / "bench.md", table(figures))
    for name, head in HEADS.items():
        rows = [_shown(row, russian=name.endswith(".ru.md")) for row in figures.rows if row.name in SHOWN]
        _between(root / name, "\n".join([head, "| --- | --- | --- | --- |", *rows]))


def _shown(row: Row, *, russian: bool) -> str:
    name, figure, share, _, p99, *_ = cells(row)
    return f"| {SHOWN[row.name] if russian else name} | {figure} | {share} | {p99} |"


def _between(page: Path, figures: str) -> None:
    said = page.read_text("utf-8")
    new, times = re.subn(
        r"<!-- figures -->\n.*?<!-- /figures -->",
        lambda _: f"<!-- figures -->\n{figures}\n<!-- /figures -->",
        said,
        flags=re.DOTALL,
    )
    if times != 1:
        raise ValueError(f"{page.name} has {times} places for figures")
    page.write_text(new, "utf-8")
