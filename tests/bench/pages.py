"""Benchmark figures in documents: writes the tables of `docs/bench.md` and the READMEs, and the chart."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import Figures, cells, chart, table

SIGN_IN = "sign-in (Argon2id m=19456,t=2,p=1)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Locale:
    """The figures of one README: its rows, and the numbers and units of its language."""

    head: str
    names: Mapping[str, str]
    """The names of its rows, by the names in the table of all figures."""
    replacements: Mapping[str, str]
    """The replacements in a figure; of overlapping ones the first applies."""

    def figure(self, text: str) -> str:
        """A figure with the numbers and units of this language."""
        if not self.replacements:
            return text
        return re.sub("|".join(map(re.escape, self.replacements)), lambda match: self.replacements[match[0]], text)


LOCALES = {
    "README.md": Locale(
        head="| what | figure | share of one SELECT | p99 |",
        names={name: name for name in ("registration, six requests", "current user", "refresh", SIGN_IN)},
        replacements={},
    ),
    "README.ru.md": Locale(
        head="| что | значение | доля одного SELECT | p99 |",
        names={
            "registration, six requests": "регистрация, шесть запросов",
            "current user": "текущий пользователь",
            "refresh": "обновление токенов",
            SIGN_IN: "вход (Argon2id m=19456,t=2,p=1)",
        },
        replacements={" requests/s": "\u00a0запр./с", " ms": "\u00a0мс", ",": "\u00a0", ".": ","},
    ),
}


def publish(figures: Figures, *, root: Path) -> None:
    """Write the figures between the markers of `docs/bench.md` and the READMEs of `root`, and draw `docs/bench.svg`."""
    (root / "docs" / "bench.svg").write_text(chart(figures), "utf-8")
    _replace_figures(root / "docs" / "bench.md", table(figures))
    for name, locale in LOCALES.items():
        shown_rows = [cells(row) for row in figures.rows if row.name in locale.names]
        rows = [
            f"| {' | '.join([locale.names[name], *map(locale.figure, (figure, share, p99))])} |"
            for name, figure, share, _, p99, *_ in shown_rows
        ]
        _replace_figures(root / name, "\n".join([locale.head, "| --- | --- | --- | --- |", *rows]))


def _replace_figures(page: Path, figures: str) -> None:
    text = page.read_text("utf-8")
    new, times = re.subn(
        r"<!-- figures -->\n.*?<!-- /figures -->",
        lambda _: f"<!-- figures -->\n{figures}\n<!-- /figures -->",
        text,
        flags=re.DOTALL,
    )
    if times != 1:
        raise ValueError(f"{page.name} has {times} pairs of markers for figures")
    page.write_text(new, "utf-8")
