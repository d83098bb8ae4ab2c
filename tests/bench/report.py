"""Benchmark report: rows with their budgets, as a Markdown table and an SVG chart."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Self

from tests.bench.load import Load


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure and its budget."""

    name: str
    figure: str
    share: float | None
    """The ratio to the floor with one SELECT."""
    p50: float | None
    p99: float | None
    budget: str
    holds: bool

    @classmethod
    def of(cls, name: str, load: Load, base: float, *, share: float | None = None, p99: float | None = None) -> Self:
        """A load with its budget: the minimum share of the floor and the maximum p99 in seconds."""
        budget = [f"≥ {share:g} of the floor"] if share else []
        budget += [f"p99 < {p99 * 1000:.0f} ms"] if p99 else []
        holds = (share is None or load.rate >= share * base) and (p99 is None or load.p99 < p99)
        return cls._row(name, load, base, budget=", ".join(budget), holds=holds)

    @classmethod
    def compared(cls, name: str, load: Load, other: Load, base: float) -> Self:
        """A load whose rate must be at least 0.9 of another one."""
        ratio = load.rate / other.rate
        return cls._row(name, load, base, budget=f"within 10 % of 1,000 users (here {ratio:.2f})", holds=ratio >= 0.9)

    @classmethod
    def as_quick(cls, name: str, load: Load, other: Load, base: float, *, as_what: str) -> Self:
        """A load whose median latency must be within 10 % of that of another one."""
        ratio = load.p50 / other.p50
        budget = f"p50 within 10 % of {as_what} (here {ratio:.2f})"
        return cls._row(name, load, base, budget=budget, holds=ratio <= 1.1)

    @classmethod
    def ratio(cls, name: str, load: Load, maximum: float, *, at_least: float) -> Self:
        """A load with its budget: the minimum share of the maximum rate of this machine."""
        ratio = load.rate / maximum
        return cls(
            name=name,
            figure=f"{load.rate:,.0f} requests/s",
            share=None,
            p50=load.p50,
            p99=load.p99,
            budget=f"≥ {at_least:g} of the {maximum:,.0f} hashes that two processors make (here {ratio:.2f})",
            holds=ratio >= at_least,
        )

    @classmethod
    def single(
        cls, name: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None
    ) -> Self:
        """One number with its budget."""
        holds = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        budget = f"≥ {at_least:g} {unit}" if at_least is not None else f"≤ {at_most:g} {unit}"
        figure = f"{value:,.0f} {unit}" if value >= 10 else f"{value:.2f} {unit}"
        return cls(name=name, figure=figure, share=None, p50=None, p99=None, budget=budget, holds=holds)

    @classmethod
    def _row(cls, name: str, load: Load, base: float, *, budget: str, holds: bool) -> Self:
        return cls(
            name=name,
            figure=f"{load.rate:,.0f} requests/s",
            share=load.rate / base,
            p50=load.p50,
            p99=load.p99,
            budget=budget,
            holds=holds,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """All rows, with the machine and the day of the measurement."""

    day: str
    machine: str
    versions: str
    client: str
    rows: Sequence[Row]

    @classmethod
    def now(cls, rows: Sequence[Row], *, day: str, wrk: bool) -> Self:
        """The figures with the description of this machine."""
        named = ("flask", "sqlalchemy", "gunicorn", "psycopg2-binary", "redis")
        return cls(
            day=day,
            machine=f"{os.cpu_count()} × {_processor()}, {platform.system()} {platform.release()}",
            versions=", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in named)]),
            client="wrk, and a Python client for requests that depend on responses" if wrk else "a Python client",
            rows=rows,
        )


def table(figures: Figures) -> str:
    """The Markdown table of `docs/bench.md`."""
    lines = [
        "| what | figure | share of one SELECT | p50 | p99 | budget | holds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(cells(row))} |" for row in figures.rows]
    summary = (
        f"Measured on {figures.day} on {figures.machine}; {figures.versions}; 32 connections, 2 workers of 4 threads, "
        f"median of three runs taken in turn; client: {figures.client}, on the same processors."
    )
    return "\n".join([*lines, "", summary])


def cells(row: Row) -> list[str]:
    """A row of the table: what, figure, share, p50, p99, budget, and whether it holds."""
    share = f"{row.share:.2f}" if row.share is not None else ""
    p50, p99 = (_milliseconds(value) for value in (row.p50, row.p99))
    return [row.name, row.figure, share, p50, p99, row.budget, ("yes" if row.holds else "no") if row.budget else ""]


def _milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if value < 0.01 else f"{value * 1000:,.0f} ms"


def chart(figures: Figures) -> str:
    """An SVG bar chart of the shares of the floor, readable on light and dark pages."""
    rows = [row for row in figures.rows if row.share is not None]
    longest = max(row.share or 0 for row in rows)
    height, left, width = 30, 270, 420
    bars = []
    for number, row in enumerate(rows):
        top = 44 + number * height
        length = width * (row.share or 0) / longest
        colour = "#8b949e" if row.name.startswith("floor") else "#2f81f7"
        bars.append(
            f'<text x="{left - 10}" y="{top + 15}" text-anchor="end">{escape(row.name.replace("`", ""))}</text>'
            f'<rect x="{left}" y="{top}" width="{length:.0f}" height="20" rx="3" fill="{colour}"/>'
            f'<text x="{left + length + 8:.0f}" y="{top + 15}">{row.share:.2f} · {row.figure}</text>'
        )
    total = 44 + len(rows) * height + 30
    source = escape(f"make bench, {figures.day}, {figures.machine}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {total}" role="img" '
        'aria-label="Requests a second of the service and its floors" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#7d8590">\n'
        '<text x="10" y="22" font-size="15">Requests a second, as a share of a bare Flask view with one SELECT</text>\n'
        + "\n".join(bars)
        + f'\n<text x="10" y="{total - 10}" font-size="11">{source}</text>\n</svg>\n'
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
