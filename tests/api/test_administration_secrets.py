"""Secrets in administration: no answer of an administrative endpoint contains a hash, secret, code, token or digest."""

import base64
import itertools
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel
from werkzeug.test import TestResponse

from auth_service.api.contract.contract import Contract
from auth_service.models.permission import Permission
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import Administration
from tests.support.contracts import contracts
from tests.support.stores import Query

pytestmark = pytest.mark.slow

FORBIDDEN_NAMES = re.compile(
    r"(^|_)(hash|digest|secret|code|token|payload|password|key|seal|salt)s?$|^(access|refresh)_token$"
)
"""Names of members that would hold a secret."""
ARGUMENT = r"<(?:\w+:)?(\w+)>"
"""A parameter in the path of a route."""

GRACE = "grace@example.org"


def samples(query: Query, user_id: int) -> dict[str, list[Any]]:
    """Values for the parameters of paths, query strings and bodies, by their names."""
    [(session_id,)] = query("SELECT id FROM sessions WHERE user_id = %s AND ended_at IS NULL LIMIT 1", user_id)
    messages = [str(message_id) for (message_id,) in query("SELECT id FROM letters ORDER BY state")]
    [(invitation_id,)] = query("SELECT id FROM invitations")
    return {
        "user_id": [user_id],
        "session_id": [session_id],
        "message_id": messages,
        "invitation_id": [invitation_id],
        "name": ["ROLE_EDITOR"],
        "role_id": ["ROLE_EDITOR"],
        "role": ["ROLE_PORTAL_USER"],
        "role_name": ["ROLE_NEW"],
        "roles": [["ROLE_EDITOR"]],
        "description": ["A role."],
        "permissions": [["films:edit"]],
        "permission": ["films:edit"],
        "email": [ADA, "new@example.org"],
        "query": [ADA[:3]],
        "status": ["active", "temporary", "banned"],
        "state": ["waiting", "sent", "expired", "dead", "open"],
        "provider": ["google"],
        "language": ["en"],
        "reason": ["because of a test"],
        "until": ["2100-01-01T00:00:00Z"],
        "actor": [f"user:{user_id}"],
        "target": [f"user:{user_id}"],
        "action": ["signed_in"],
        "outcome": ["success", "failure"],
        "from": ["2020-01-01T00:00:00Z"],
        "to": ["2100-01-01T00:00:00Z"],
        "limit": ["50"],
    }


class Canaries:
    """Everything secret that the service stores or has sent, in every spelling that an answer could have."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()

    def plant(self, secret: str | bytes) -> None:
        """Add a secret."""
        raw = secret.encode() if isinstance(secret, str) else secret
        for encoded in (raw, base64.b64encode(raw), base64.urlsafe_b64encode(raw), raw.hex().encode()):
            self._spellings.add(encoded.decode("latin-1").rstrip("="))

    def found_in(self, text: str) -> list[str]:
        """The secrets in a text."""
        # Codes have six digits, which could be a part of an id or of a time: as a whole value only.
        return [
            secret
            for secret in self._spellings
            if (f'"{secret}"' in text or f": {secret}," in text if len(secret) < 8 else secret in text)
        ]

    def __len__(self) -> int:
        return len(self._spellings)


def binary_values(query: Query) -> Iterator[bytes]:
    """The values of all columns with binary data in all tables: digests, sealed payloads and keys."""
    columns = query(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND (data_type = 'bytea' OR column_name LIKE '%hash%')"
    )
    assert ("users", "password_hash") in columns
    for table, column in columns:
        for (value,) in query(f'SELECT DISTINCT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL'):
            raw = value.encode() if isinstance(value, str) else bytes(value)
            if len(raw) >= 8:
                yield raw


@pytest.fixture
def canaries(app: Flask, api: ApiClient, mailbox: Mailbox, query: Query) -> Canaries:
    """A user with as many secrets as the service has kinds of them."""
    planted = Canaries()
    api.register(ADA, mailbox, password=PASSWORD)
    tokens = [api.signed_in(ADA, PASSWORD) for _ in range(2)]
    for each in tokens:
        planted.plant(each["access_token"])
        planted.plant(each["refresh_token"])
    # On a device that is not known: a security notification with the token of an account revert link.
    query("UPDATE users SET verified_at = now() - interval '2 days'")
    ApiClient(app, address="198.51.100.9").signed_in(ADA, PASSWORD)
    planted.plant(mailbox.undo_sent_to(ADA, about="sign-in"))
    assert api.ask_to_sign_in(ADA).status_code == 200
    planted.plant(mailbox.code_sent_to(ADA))
    assert api.ask_to_recover(ADA).status_code == 200
    planted.plant(mailbox.code_sent_to(ADA))
    grace = api.sign_up(GRACE)
    assert api.ask_for_code(grace, "75057505").status_code == 200  # waits in the outbox
    planted.plant("75057505")
    planted.plant(PASSWORD)
    query(
        "INSERT INTO invitations (id, email, email_key, language, roles, digest, invited_by, expires_at)"
        " VALUES (gen_random_uuid(), 'x@example.org', 'x@example.org', 'en', '{}', sha256('canary'), 'system:x',"
        " now() + interval '1 day')"
    )
    return planted


def administrative(app: Flask) -> Iterator[tuple[str, str, Contract]]:
    """Every GET and POST endpoint that needs a permission, or a service key of administration."""
    for method, rule, contract in contracts(app):
        if contract is None or method not in ("GET", "POST"):
            continue
        if contract.access.permission is not None or rule.startswith("/api/srv/"):
            yield method, rule, contract


def values_of(model: type[BaseModel], known: dict[str, list[Any]], *, every: bool) -> dict[str, Any]:
    """Values for the required fields of a request, or for all fields with a known value."""
    values = {}
    for name, field in model.model_fields.items():
        wire_name = field.alias or name
        if field.is_required():
            assert wire_name in known, f"add a value of {wire_name} to `samples`"
        if field.is_required() or (every and wire_name in known):
            values[wire_name] = known[wire_name][0]
    return values


def requests_of(contract: Contract, known: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Query strings and bodies: the required fields, each further value of a parameter, and all fields."""
    if contract.query:
        required = values_of(contract.query, known, every=False)
        yield {"query_string": {name: str(value) for name, value in required.items()}}
        for name in (field.alias or name for name, field in contract.query.model_fields.items()):
            for value in known.get(name, []):
                yield {"query_string": {**required, name: str(value)}}
    elif contract.body:
        for every in (False, True):
            yield {"json": values_of(contract.body, known, every=every)}
    else:
        yield {}


def paths_of(rule: str, known: dict[str, list[Any]]) -> Iterator[str]:
    """The paths of a route, with each value of its parameters."""
    names = re.findall(ARGUMENT, rule)
    for name in names:
        assert name in known, f"add a value of {name} to `samples`"
    for values in itertools.product(*(known[name] for name in names)):
        remaining = iter(values)
        yield re.sub(ARGUMENT, lambda _, remaining=remaining: str(next(remaining)), rule)  # type: ignore[misc]


def names_in(value: Any) -> Iterator[str]:
    """The names of all members of an answer."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from names_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)


def test_ad9_no_answer_of_administration_contains_a_secret(
    app: Flask, canaries: Canaries, mailbox: Mailbox, query: Query
) -> None:
    administration = Administration(app, mailbox)
    administrator = administration.administrator()
    service = administration.service(*Permission, base="")
    administration.role("ROLE_EDITOR", "films:edit")
    for client in (administrator, service):
        planted = client.headers["Authorization"].removeprefix("Bearer ")
        canaries.plant(planted)
    [(ada,)] = query("SELECT id FROM users WHERE email = %s", ADA)
    known = samples(query, ada)
    for raw in binary_values(query):
        canaries.plant(raw)
    assert len(canaries) > 40
    leaks: list[tuple[str, str, str]] = []
    answered: set[tuple[str, str]] = set()

    def inspect(method: str, rule: str, answer: TestResponse) -> None:
        assert answer.status_code < 500, (method, rule, answer.text)
        text = f"{answer.text}\n{answer.headers}"
        leaks.extend((method, rule, secret) for secret in canaries.found_in(text))
        if answer.status_code < 300:
            answered.add((method, rule))
            if answer.is_json:
                members = names_in(answer.get_json().get("data"))
                leaks.extend((method, rule, name) for name in members if FORBIDDEN_NAMES.search(name))

    for method, rule, contract in administrative(app):
        for path in paths_of(rule, known):
            for options in requests_of(contract, known):
                key = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
                if contract.access.permission is not None:
                    path_of_user = path.removeprefix("/api/v1")
                    inspect(method, rule, administrator.call(method, path_of_user, headers=key, **options))
                inspect(method, rule, service.call(method, path, headers=key, **options))

    assert leaks == []
    reading = {(method, rule) for method, rule, _ in administrative(app) if method == "GET"}
    assert reading <= answered, f"these were refused: {sorted(reading - answered)}"
    assert any(method == "POST" for method, _ in answered)


def test_ad9_the_search_for_secrets_finds_each_spelling() -> None:
    canaries = Canaries()
    canaries.plant(b"\x01\x02 a digest of 32 bytes, or so \xff")
    canaries.plant("123456")

    for text in (
        '{"x": "010220612064696765737420"}',
        '{"data": {"at": "2026-01-01T00:00:00.123456Z", "id": 51234567}}',
    ):
        assert canaries.found_in(text) == []
    raw = b"\x01\x02 a digest of 32 bytes, or so \xff"
    for text in (raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(), '{"x": "123456"}'):
        assert canaries.found_in(f'{{"data": "{text}"}}'), text
