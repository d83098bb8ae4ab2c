"""`manage.py users import`: imported users sign in with their legacy password hashes."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.adapters.crypto import legacy_hashes
from auth_service.cli.users import users
from auth_service.services.users import import_users as imports
from auth_service.services.users.import_users import BATCH
from tests.support.actors import ApiClient, Mailbox
from tests.support.documents import IMPORT_USERS
from tests.support.legacy_hashes import CHEAP, PASSWORD

ADA, GRACE = "ada@example.org", "grace@example.org"
KEYCLOAK = (
    "$pbkdf2-sha256$275$c2FsdCBvZiBLZXljbG9haw==$"
    + base64.b64encode(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt of Keycloak", 275, dklen=64)).decode()
)
"""As Keycloak before 24 stores it: the key is twice as long as the output of SHA-256."""
HASHES = [*CHEAP.values(), KEYCLOAK]


def line(email: str = ADA, **fields: Any) -> str:
    """A line about a user whose address the other system has confirmed."""
    return json.dumps({"email": email, "verified": True, **fields})


def import_lines(app: Flask, *lines: str) -> Any:
    """Import these lines from standard input."""
    runner: FlaskCliRunner = app.test_cli_runner()
    result = runner.invoke(users, ["import", "-"], input="\n".join(lines))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_imported_users_sign_in_with_their_existing_passwords(app: Flask) -> None:
    emails = [f"user{number}@example.org" for number in range(len(HASHES))]

    result = import_lines(
        app, *(line(email, password_hash=known) for email, known in zip(emails, HASHES, strict=True)), line(GRACE)
    )

    assert result.output == f"imported {len(emails) + 1}, already there 0, not verified 0, refused 0\n"
    api = ApiClient(app)
    for email in emails:
        assert api.sign_in(email, f"{PASSWORD}!").status_code == 401, email
        assert api.sign_in(email, PASSWORD).status_code == 200, email
    assert api.sign_in(GRACE, PASSWORD).status_code == 401, "a user without a password signs in by code"
    assert api.look_up(GRACE).get_json()["data"] == {
        "id": api.look_up(GRACE).get_json()["data"]["id"],
        "email": GRACE,
        "roles": ["ROLE_PORTAL_USER"],
        "verified_mail": True,
    }


@pytest.mark.clock
def test_the_audit_log_records_that_a_user_was_imported(app: Flask) -> None:
    import_lines(app, line(password_hash=HASHES[0], language="ru"))
    api = ApiClient(app)
    token = api.signed_in(ADA, PASSWORD)["access_token"]

    first = api.with_token(token, "GET", "/me/login_history").get_json()["data"][-1]
    profile = api.with_token(token, "GET", "/me/export").get_json()["data"]["profile"]

    assert (first["kind"], first["outcome"], first["method"]) == ("registered", "success", "import")
    assert (first["address"], first["device"], first["session_id"]) == (None, "", None)
    assert profile["language"] == "ru"


def test_a_repeated_import_adds_only_missing_users(app: Flask, mailbox: Mailbox) -> None:
    api = ApiClient(app)
    api.register(GRACE, mailbox, password="correct horse battery staple")
    lines = [
        line(password_hash=HASHES[0]),
        line("ADA@example.org", password_hash=HASHES[1]),
        line(GRACE, password_hash=HASHES[0]),
        line("new@example.org", verified=False, password_hash=HASHES[0]),
        "",
    ]

    assert import_lines(app, *lines).output == "imported 1, already there 2, not verified 1, refused 0\n"
    assert import_lines(app, *lines).output == "imported 0, already there 3, not verified 1, refused 0\n"

    assert api.sign_in(GRACE, PASSWORD).status_code == 401, "an existing user keeps the password"
    assert api.look_up("new@example.org").status_code == 404


def test_an_imported_user_replaces_a_temporary_user_with_the_same_address(app: Flask) -> None:
    temporary_id = ApiClient(app).sign_up(ADA)

    assert import_lines(app, line(password_hash=HASHES[0])).output.startswith("imported 1,")

    assert ApiClient(app).sign_in(ADA, PASSWORD).status_code == 200
    assert ApiClient(app).look_up(ADA).get_json()["data"]["id"] != temporary_id


INVALID_LINES = {
    "must be a JSON object in UTF-8 without repeated names": [
        "ada@example.org",
        "[" * 100_000,
        '{"email": "ada@example.org", "email": "grace@example.org", "verified": true}',
    ],
    "must be a JSON object": ["[]", "7505", "null"],
    "must have no names other than email, language, password_hash, verified": [line(passwordHash=HASHES[0])],
    "email: must be an address that this service accepts": [
        line("no address"),
        line("a" * 300),
        json.dumps({"verified": True}),
    ],
    "verified: must be true or false": [json.dumps({"email": ADA}), line(verified=1), line(verified="true")],
    "language: must be one of en, ru": [line(language="de"), line(language=None)],
    "password_hash: must be a string or null": [line(password_hash=7505), line(password_hash=[HASHES[0]])],
    "password_hash: must have a supported form": [
        line(password_hash=PASSWORD),
        line(password_hash="5f4dcc3b5aa765d61d8327deb882cf99"),
        line(password_hash=""),
        line(password_hash="pbkdf2:sha256:1000$salt$" + "0" * 30),
    ],
    "password_hash: must have parameters that can be computed": [
        line(password_hash="scrypt:3:8:1$salt$" + "0" * 128),
        line(password_hash="scrypt:0:0:0$salt$" + "0" * 128),
        line(password_hash="$argon2id$v=19$m=0,t=0,p=0$7LLO4aTIABzxUf4/EEqW5Q$7LLO4aTIABzxUf4/EEqW5Q"),
    ],
    "password_hash: must not exceed the cost limits in docs/import-users.md": [
        line(password_hash=HASHES[0].replace("1024", "536870912")),
        line(password_hash="$2b$31$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86"),
    ],
}


@pytest.mark.parametrize("reason", INVALID_LINES)
def test_an_invalid_line_is_reported_by_its_number_and_skipped(app: Flask, reason: str) -> None:
    result = import_lines(app, line(GRACE), "", *INVALID_LINES[reason], line("last@example.org"))

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"line {number} {reason}" for number in range(3, 3 + len(INVALID_LINES[reason]))
    ]
    assert result.stdout == f"imported 2, already there 0, not verified 0, refused {len(INVALID_LINES[reason])}\n"


def test_the_content_of_a_line_is_never_printed(app: Flask) -> None:
    known = HASHES[0].replace("1024", "536870912")

    result = import_lines(app, line(password_hash=known), line("invalid @example.org"), json.dumps({ADA: known}))

    assert "example.org" not in result.output
    assert known[:20] not in result.output
    assert known[:20] not in repr(imports.read(line(password_hash=HASHES[0]).encode()))


def test_the_page_about_the_import_is_right_about_hashes_and_limits() -> None:
    page = IMPORT_USERS.read_text("utf-8")
    [example] = re.findall(r'^\{.*"password_hash": "(\$pbkdf2-sha256\$27500\$.*?)".*\}$', page, re.MULTILINE)
    of_keycloak = legacy_hashes.check(example)

    assert of_keycloak is not None
    assert of_keycloak(PASSWORD.encode())
    assert f"cost 4 to {legacy_hashes.BCRYPT_COST};" in page
    rounds = legacy_hashes.PBKDF2_BLOCKS
    assert rounds["sha1"] == rounds["sha256"]
    assert f"up to {rounds['sha1']:,} with SHA-1 or SHA-256, {rounds['sha512']:,} with SHA-512" in page
    assert page.count(f"{legacy_hashes.MEMORY_KIB // 1024} MiB of memory") == 2
    assert (legacy_hashes.ARGON2_BLOCKS, legacy_hashes.SCRYPT_BLOCKS) == (2**19, 2**20)
    assert "passes up to 2¹⁹" in page
    assert "N × r × p up to 2²⁰" in page


def test_many_users_are_imported_in_batches(app: Flask) -> None:
    count = BATCH + 1
    lines = [line(f"user{number}@example.org") for number in range(count)]

    assert (
        import_lines(app, *lines, lines[0]).output == f"imported {count}, already there 1, not verified 0, refused 0\n"
    )


def test_an_unavailable_database_is_reported_without_a_traceback(make_app: Any) -> None:
    result = import_lines(make_app(database_url="postgresql://auth@127.0.0.1:9/auth"), line())

    assert result.exit_code == 1
    assert result.output == (
        "Error: DATABASE_URL: 127.0.0.1:9 refused the connection: nothing listens there, or a firewall rejects it;"
        " imported 0 users before that; run the command again to import the others\n"
    )
