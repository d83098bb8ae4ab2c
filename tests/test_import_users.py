"""`manage.py users import`: people who are brought along from another system sign in as they did there."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.cli.users import users
from auth_service.services.users import import_users as imports
from auth_service.services.users.import_users import BATCH
from tests.support.actors import ApiClient, Mailbox
from tests.support.legacy_hashes import CHEAP, PASSWORD

ADA, GRACE = "ada@example.org", "grace@example.org"
HASHES = list(CHEAP.values())


def line(email: str = ADA, **said: Any) -> str:
    """A line about a user whose address the other system has confirmed."""
    return json.dumps({"email": email, "verified": True, **said})


def bring(app: Flask, *lines: str) -> Any:
    """Import these lines from standard input."""
    runner: FlaskCliRunner = app.test_cli_runner()
    said = runner.invoke(users, ["import", "-"], input="\n".join(lines))
    assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
    return said


def test_people_sign_in_with_the_passwords_that_they_had(app: Flask) -> None:
    people = [f"user{number}@example.org" for number in range(len(HASHES))]

    said = bring(
        app, *(line(email, password_hash=known) for email, known in zip(people, HASHES, strict=True)), line(GRACE)
    )

    assert said.output == f"imported {len(people) + 1}, already there 0, not verified 0, refused 0\n"
    api = ApiClient(app)
    for email in people:
        assert api.sign_in(email, PASSWORD).status_code == 200, email
    assert api.sign_in(GRACE, PASSWORD).status_code == 401, "who has no password signs in by code"
    assert api.look_up(GRACE).get_json()["data"] == {
        "id": api.look_up(GRACE).get_json()["data"]["id"],
        "email": GRACE,
        "roles": ["ROLE_PORTAL_USER"],
        "verified_mail": True,
    }


@pytest.mark.clock
def test_the_audit_log_says_from_which_system_a_user_was_imported(app: Flask) -> None:
    bring(app, line(password_hash=HASHES[0], language="ru"))
    api = ApiClient(app)
    token = api.signed_in(ADA, PASSWORD)["access_token"]

    first = api.with_token(token, "GET", "/me/login_history").get_json()["data"][-1]
    profile = api.with_token(token, "GET", "/me/export").get_json()["data"]["profile"]

    assert (first["kind"], first["outcome"], first["method"]) == ("registered", "success", "import")
    assert (first["address"], first["device"], first["session_id"]) == (None, "", None)
    assert profile["language"] == "ru"


def test_again_it_does_only_what_is_left_to_do(app: Flask, mailbox: Mailbox) -> None:
    api = ApiClient(app)
    api.register(GRACE, mailbox, password="correct horse battery staple")
    lines = [
        line(password_hash=HASHES[0]),
        line("ADA@example.org", password_hash=HASHES[1]),
        line(GRACE, password_hash=HASHES[0]),
        line("new@example.org", verified=False, password_hash=HASHES[0]),
        "",
    ]

    assert bring(app, *lines).output == "imported 1, already there 2, not verified 1, refused 0\n"
    assert bring(app, *lines).output == "imported 0, already there 3, not verified 1, refused 0\n"

    assert api.sign_in(GRACE, PASSWORD).status_code == 401, "a user who exists already keeps the password"
    assert api.look_up("new@example.org").status_code == 404


def test_who_only_signed_up_here_makes_room(app: Flask) -> None:
    squatted = ApiClient(app).sign_up(ADA)

    assert bring(app, line(password_hash=HASHES[0])).output.startswith("imported 1,")

    assert ApiClient(app).sign_in(ADA, PASSWORD).status_code == 200
    assert ApiClient(app).look_up(ADA).get_json()["data"]["id"] != squatted


ODD = {
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
    "password_hash: must have a supported form and cost": [
        line(password_hash=PASSWORD),
        line(password_hash="5f4dcc3b5aa765d61d8327deb882cf99"),
        line(password_hash=""),
        line(password_hash=7505),
        line(password_hash=HASHES[0].replace("1024", "536870912")),
    ],
}


@pytest.mark.parametrize("why", ODD)
def test_what_does_not_fit_is_named_by_its_line_and_left_out(app: Flask, why: str) -> None:
    said = bring(app, line(GRACE), "", *ODD[why], line("last@example.org"))

    assert said.exit_code == 1
    assert said.stderr.splitlines() == [f"line {number} {why}" for number in range(3, 3 + len(ODD[why]))]
    assert said.stdout == f"imported 2, already there 0, not verified 0, refused {len(ODD[why])}\n"


def test_nothing_of_a_line_is_ever_printed(app: Flask) -> None:
    known = HASHES[0].replace("1024", "536870912")

    said = bring(app, line(password_hash=known), line("nobody @example.org"), json.dumps({ADA: known}))

    assert "example.org" not in said.output
    assert known[:20] not in said.output
    assert known[:20] not in repr(imports.read(line(password_hash=HASHES[0]).encode()))


def test_many_users_are_imported_in_batches(app: Flask) -> None:
    count = BATCH + 1
    lines = [line(f"user{number}@example.org") for number in range(count)]

    assert bring(app, *lines, lines[0]).output == f"imported {count}, already there 1, not verified 0, refused 0\n"


def test_a_database_that_is_away_is_a_sentence(make_app: Any) -> None:
    said = bring(make_app(database_url="postgresql://auth@127.0.0.1:9/auth"), line())

    assert said.exit_code == 1
    assert said.output == "Error: database_away after 0 imported users; run the command again to import the others\n"
