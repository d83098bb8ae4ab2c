"""Benchmark figures, written into the documents that show them, so that no figure is typed by hand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import Figures, cells, drawn, table

SIGN_IN = "sign-in (Argon2id m=19456,t=2,p=1)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Locale:
    """How a README shows figures: the rows that it has, and how its language writes numbers and units."""

    head: str
    names: Mapping[str, str]
    """The rows, by their names in the table of all figures."""
    replacements: Mapping[str, str]
    """What `figure` replaces; of several that overlap, the first."""

    def figure(self, text: str) -> str:
        """A figure as this language writes it."""
        if not self.replacements:
            return text
        return re.sub("|".join(map(re.escape, self.replacements)), lambda match: self.replacements[match[0]], text)


LOCALES = {
    "README.md": Locale(
        head="| what | figure | share of one SELECT | p99 |",
        names={name: name for name in ("registration, six requests", "who am I", "refresh", SIGN_IN)},
        replacements={},
    ),
    "README.ru.md": Locale(
        head="| что | значение | доля одного SELECT | p99 |",
        names={
            "registration, six requests": "регистрация, шесть запросов",
            "who am I": "текущий пользователь",
            "refresh": "обновление токенов",
            SIGN_IN: "вход (Argon2id m=19456,t=2,p=1)",
        },
        replacements={" requests/s": "\u00a0запр./с", " ms": "\u00a0мс", ",": "\u00a0", ".": ","},
    ),
}


def publish(figures: Figures, *, root: Path) -> None:
    """Write the figures between the markers of `docs/bench.md` and the READMEs of `root`, and draw `docs/bench.svg`."""
    (root / "docs" / "bench.svg").write_text(drawn(figures), "utf-8")
    _between(root / "docs" / "bench.md", table(figures))
    for name, locale in LOCALES.items():
        shown = [cells(row) for row in figures.rows if row.name in locale.names]
        rows = [
            f"| {' | '.join([locale.names[name], *map(locale.figure, (figure, share, p99))])} |"
            for name, figure, share, _, p99, *_ in shown
        ]
        _between(root / name, "\n".join([locale.head, "| --- | --- | --- | --- |", *rows]))


def _between(page: Path, figures: str) -> None:
    text = page.read_text("utf-8")
    new, times = re.subn(
        r"<!-- figures -->\n.*?<!-- /figures -->",
        lambda _: f"<!-- figures -->\n{figures}\n<!-- /figures -->",
        text,
        flags=re.DOTALL,
    )
    if times != 1:
        raise ValueError(f"{page.name} has {times} places for figures")
    page.write_text(new, "utf-8")
