"""Audit sealing: every hour gets a seal, and a later change of the audit log is found and named by its hour."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.adapters.crypto.access_tokens import AccessTokens, TokenRejected
from auth_service.cli.audit import audit
from auth_service.db import unit_of_work
from auth_service.wiring import Services
from tests.support.application import MakeApp
from tests.support.maintenance import run
from tests.support.stores import Query

HOURS = 5
ADA = 4711

EVENTS = """
INSERT INTO events (at, user_id, kind, outcome, address, device, request_id, details, actor_type, actor_id)
SELECT %s::timestamptz + number * interval '20 minutes', CASE WHEN number %% 2 = 0 THEN 4711 ELSE number + 1 END,
    'signed_in', 'success', '203.0.113.7', 'Firefox 143 on Linux', 'request-' || number, '{"method": "password"}',
    CASE WHEN number = 9 THEN 'user' END, CASE WHEN number = 9 THEN '4711' END
FROM generate_series(0, %s) AS number WHERE number / 3 <> 2
"""
"""Three events in each hour, and none in the third one."""


@pytest.fixture
def begin() -> datetime:
    """The first sealed hour; at least five complete hours follow."""
    return (datetime.now(UTC) - timedelta(hours=HOURS + 1)).replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def sealed(app: Flask, query: Query, begin: datetime) -> datetime:
    """A sealed audit log; the first sealed hour."""
    query(EVENTS, begin, HOURS * 3 - 1)
    seal(app)
    assert verify(app) == "ok"
    return begin


def seal(app: Flask) -> int:
    """Seal what is complete; returns the number of hours."""
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        return services.audit_sealing.seal()


def command(app: Flask, *arguments: str) -> Any:
    """Run `manage.py audit verify`."""
    runner: FlaskCliRunner = app.test_cli_runner()
    return runner.invoke(audit, ["verify", *arguments])


def verify(app: Flask, *arguments: str) -> str:
    """`ok`, or what `manage.py audit verify` prints about the first wrong hour."""
    result = command(app, *arguments)
    assert (result.exit_code == 0) is ("match their seals" in result.output), result.output
    return "ok" if result.exit_code == 0 else str(result.output)


def named(hour: datetime, number: int = 0) -> str:
    """An hour as the command names it."""
    return f"Error: {hour + timedelta(hours=number):%Y-%m-%dT%H:%MZ}:"


@pytest.mark.clock
def test_au7_every_complete_hour_is_sealed_once_also_an_empty_one(app: Flask, query: Query, begin: datetime) -> None:
    query(EVENTS, begin, HOURS * 3 - 1)

    first = seal(app)

    assert first >= HOURS
    assert seal(app) == 0
    rows = query("SELECT hour, rows, octet_length(digest) FROM audit_seals ORDER BY hour")
    assert rows[:HOURS] == [(begin + timedelta(hours=number), 0 if number == 2 else 3, 32) for number in range(HOURS)]
    assert len(rows) == first
    assert rows[-1][0] + timedelta(hours=1) <= datetime.now(UTC)
    output = command(app).output
    assert f"{first} hours with 12 events match their seals" in output
    assert "--keys" in output


@pytest.mark.clock
def test_au7_the_maintenance_seals_and_catches_up_what_it_missed(app: Flask, query: Query, sealed: datetime) -> None:
    query("DELETE FROM audit_seals WHERE hour >= %s", sealed + timedelta(hours=2))
    assert "has no seal" in verify(app)

    assert run(app).hours_sealed >= 3

    assert verify(app) == "ok"
    assert run(app).hours_sealed == 0


def test_au7_an_empty_audit_log_has_no_seals(app: Flask) -> None:
    assert seal(app) == 0
    assert verify(app) == "ok"


CHANGES = {
    "one byte of the type": (3, "UPDATE events SET kind = 'signed_im' WHERE request_id = 'request-10'"),
    "one byte of the details": (
        3,
        """UPDATE events SET details = '{"method": "passwore"}' WHERE request_id = 'request-10'""",
    ),
    "the user": (3, "UPDATE events SET user_id = user_id + 1 WHERE request_id = 'request-10'"),
    "the IP address": (3, "UPDATE events SET address = '203.0.113.8' WHERE request_id = 'request-10'"),
    "a microsecond": (3, "UPDATE events SET at = at + interval '1 microsecond' WHERE request_id = 'request-10'"),
    "an actor": (3, "UPDATE events SET actor_type = 'system', actor_id = 'x' WHERE request_id = 'request-10'"),
    "a removed event": (1, "DELETE FROM events WHERE request_id = 'request-4'"),
    "a removed hour": (4, "DELETE FROM events WHERE request_id IN ('request-12', 'request-13', 'request-14')"),
    "an added event": (
        2,
        """INSERT INTO events (at, kind, outcome, device, details)
        SELECT min(at) + interval '130 minutes', 'signed_in', 'success', '', '{}' FROM events""",
    ),
    "two swapped users": (
        3,
        """UPDATE events e SET user_id = other.user_id FROM events other WHERE (e.request_id, other.request_id)
        IN (('request-10', 'request-11'), ('request-11', 'request-10'))""",
    ),
    "two swapped times": (
        0,
        """UPDATE events e SET at = other.at FROM events other WHERE (e.request_id, other.request_id)
        IN (('request-0', 'request-1'), ('request-1', 'request-0'))""",
    ),
}


@pytest.mark.clock
@pytest.mark.parametrize("change", CHANGES)
def test_au7_a_change_of_the_audit_log_is_found_and_its_hour_is_named(
    app: Flask, query: Query, sealed: datetime, change: str
) -> None:
    number, statement = CHANGES[change]
    before = query("SELECT events::text FROM events ORDER BY id")
    query(statement)
    assert query("SELECT events::text FROM events ORDER BY id") != before

    assert verify(app).startswith(named(sealed, number))


@pytest.mark.clock
def test_au7_a_changed_or_removed_seal_is_found(app: Flask, query: Query, sealed: datetime) -> None:
    second = sealed + timedelta(hours=1)
    saved = query("SELECT * FROM audit_seals WHERE hour = %s", second)[0]
    for statement in (
        "UPDATE audit_seals SET rows = rows + 1 WHERE hour = %s",
        "UPDATE audit_seals SET digest = sha256(digest) WHERE hour = %s",
        "UPDATE audit_seals a SET seal = (SELECT max(seal) FROM audit_seals b WHERE b.hour <> a.hour) WHERE hour = %s",
        "UPDATE audit_seals SET seal = left(seal, -2) || 'AA' WHERE hour = %s",
        "UPDATE audit_seals SET seal = 'x' WHERE hour = %s",
        "DELETE FROM audit_seals WHERE hour = %s",
    ):
        query(statement, second)
        assert verify(app).startswith(named(second)), statement
        query("DELETE FROM audit_seals WHERE hour = %s", second)
        query("INSERT INTO audit_seals VALUES (%s, %s, %s, %s)", *saved)
    assert verify(app) == "ok"

    query("DELETE FROM audit_seals WHERE hour >= %s", second)
    assert verify(app).startswith(named(second)), "the newest seals are missing"
    query("DELETE FROM audit_seals")
    assert verify(app).startswith(named(sealed)), "all seals are missing"
    query("INSERT INTO audit_seals VALUES (%s, %s, %s, %s)", *saved)
    assert verify(app).startswith(named(sealed)), "the oldest seal is missing"


@pytest.mark.clock
def test_au7_the_seals_stay_valid_when_a_person_is_removed(app: Flask, query: Query, sealed: datetime) -> None:
    services: Services = app.extensions["auth_service"]
    [(before,)] = query("SELECT count(*) FROM events WHERE user_id = 4711 OR actor_id = '4711'")
    assert before == 7
    with app.app_context(), unit_of_work():
        services.audit_log.anonymize_user(ADA)

    assert query("SELECT count(*) FROM events WHERE user_id = 4711 OR actor_id = '4711'") == [(1,)]
    assert query("SELECT count(*) FROM events_forgotten") == [(before,)]
    assert verify(app) == "ok"

    with app.app_context(), unit_of_work():  # the user of the event whose actor was removed first
        services.audit_log.anonymize_user(10)
    assert verify(app) == "ok"
    query("UPDATE events SET device = 'Chrome' WHERE id = (SELECT min(event_id) FROM events_forgotten)")
    assert verify(app).startswith(named(sealed)), "the digest of a forgotten event covers no event with a device"


@pytest.mark.clock
def test_au7_a_person_may_be_removed_before_the_hour_is_sealed(app: Flask, query: Query, begin: datetime) -> None:
    services: Services = app.extensions["auth_service"]
    query(EVENTS, begin, HOURS * 3 - 1)
    with app.app_context(), unit_of_work():
        services.audit_log.anonymize_user(ADA)

    seal(app)

    assert verify(app) == "ok"


@pytest.mark.clock
def test_au7_seals_are_verified_with_keys_from_outside(
    app: Flask, make_app: MakeApp, query: Query, sealed: datetime, tmp_path: Path
) -> None:
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        jwks = services.signing_keys.for_verification().jwks()
    kept, others = tmp_path / "kept.json", tmp_path / "others.json"
    kept.write_text(json.dumps(jwks))
    with app.app_context(), unit_of_work():
        services.signing_keys.replace(distrust=True)
    query("DELETE FROM audit_seals WHERE hour >= %s", sealed + timedelta(hours=2))
    app = make_app(service_name="Another process")  # which has not cached the previous keys
    services = app.extensions["auth_service"]
    with app.app_context():
        others.write_text(json.dumps(services.signing_keys.for_verification().jwks()))

    assert verify(app, "--keys", str(others)).startswith(named(sealed)), "the key of the first seals is unknown"
    seal(app)
    assert verify(app) == "ok", "the keys inside of the seals"
    assert verify(app, "--keys", str(kept)).startswith(named(sealed, 2)), "sealed again with a key from inside"
    for content in ("x", "[]", '{"keys": [{"kid": "x"}]}'):
        kept.write_text(content)
        result = command(app, "--keys", str(kept))
        assert (result.exit_code, "--keys" in result.output) == (2, True), content


@pytest.mark.clock
def test_au7_a_seal_is_no_access_token(app: Flask, query: Query, sealed: datetime) -> None:
    services: Services = app.extensions["auth_service"]
    [(text,)] = query("SELECT seal FROM audit_seals WHERE hour = %s", sealed)
    tokens: AccessTokens = services.sessions.access_tokens
    with app.app_context(), pytest.raises(TokenRejected):
        tokens.verify(text, services.signing_keys.for_verification())


@pytest.mark.clock
def test_au7_seals_and_forgotten_digests_end_with_their_month(app: Flask, query: Query) -> None:
    query("CREATE TABLE events_2020_01 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')")
    query(
        "INSERT INTO events (at, user_id, kind, outcome, device, details)"
        " VALUES ('2020-01-31 22:30Z', 4711, 'x', 'success', '', '{}')"
    )
    query(
        "INSERT INTO audit_seals SELECT hour, 0, sha256(''), 'x' FROM unnest(ARRAY["
        "'2020-01-31 22:00Z'::timestamptz, '2020-01-31 23:00Z', '2020-02-01 00:00Z', date_trunc('hour', now(), 'UTC')"
        "]) AS hour"
    )
    query("INSERT INTO events_forgotten SELECT id, sha256('') FROM events")

    assert run(app).months_dropped == ["events_2020_01"]

    assert query("SELECT min(hour) FROM audit_seals") == [(datetime(2020, 2, 1, tzinfo=UTC),)]
    assert query("SELECT count(*) FROM events_forgotten") == [(0,)]


def test_au7_a_seal_has_a_whole_hour(query: Query) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        query("INSERT INTO audit_seals VALUES ('2026-01-01 00:30Z', 0, sha256(''), 'x')")
