"""Retention periods: docs/retention.md names every table, Redis key and setting, with the periods of the source."""

import re
from datetime import timedelta

import pytest

from auth_service.db import db
from auth_service.settings import Settings
from auth_service.settings.service import RetentionSettings
from tests.support.documents import CODE, RETENTION, ROOT, section


def rows(title: str) -> dict[str, list[str]]:
    """The cells of each row of a section, by the name in its first cell."""
    table = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section(RETENTION, title), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in table}


def test_every_table_has_a_retention_period() -> None:
    assert set(rows("PostgreSQL")) == {*db.metadata.tables, "alembic_version"}
    assert all(kept for _, kept, _ in rows("PostgreSQL").values())


def test_every_redis_key_has_a_retention_period() -> None:
    adapters = "".join(path.read_text("utf-8") for path in (ROOT / "src/auth_service/adapters").rglob("*.py"))

    assert {key.partition(":")[0] for key in rows("Redis")} == set(re.findall(r'f"([a-z]+):\{', adapters))
    assert all(kept for kept, _ in rows("Redis").values())


def test_every_retention_setting_is_named_with_its_default() -> None:
    cells = {name: row for row in rows("PostgreSQL").values() for name in CODE.findall(row[2])}

    assert {name.upper() for name in RetentionSettings.model_fields} <= set(cells)
    for name, (_, kept, _) in cells.items():
        default = Settings.model_fields[name.lower()].default
        assert f"{default // timedelta(days=1)} days" in kept, name


@pytest.mark.parametrize("table", ["sessions", "users", "events", "letters"])
def test_tables_with_personal_data_say_so(table: str) -> None:
    assert rows("PostgreSQL")[table][0] != "none"
