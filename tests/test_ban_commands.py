"""`manage.py users ban|unban`: bans from the command line, recorded with the actor `system`."""

from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from auth_service.cli.users import users
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.stores import Query


@pytest.fixture
def ada(app: Flask, mailbox: Mailbox) -> int:
    """Ada is a user of the portal, with a password."""
    return ApiClient(app).register(ADA, mailbox, password=PASSWORD)


def run(app: Flask, *arguments: str) -> Result:
    result: Result = app.test_cli_runner().invoke(users, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_users_ban_and_unban(app: Flask, ada: int, query: Query) -> None:
    api = ApiClient(app)
    token = api.signed_in(ADA, PASSWORD)["access_token"]

    banned = run(app, "ban", ADA.upper(), "--until", "2099-01-31T12:00Z", "--reason", "Spam in the comments")

    assert (banned.exit_code, banned.output) == (0, f"{ADA.upper()} is banned\n")
    assert not api.is_signed_in(token)
    error: dict[str, Any] = refusal(api.sign_in(ADA, PASSWORD))
    assert (error["until"], error["reason"]) == ("2099-01-31T12:00:00Z", "Spam in the comments")

    assert run(app, "unban", ADA).output == f"{ADA} is not banned\n"
    assert api.sign_in(ADA, PASSWORD).status_code == 200
    assert query("SELECT kind, actor_type FROM events WHERE kind LIKE 'user.%%' AND user_id = %s ORDER BY id", ada) == [
        ("user.banned", "system"),
        ("user.unbanned", "system"),
    ]


def test_users_ban_without_options_has_no_end(app: Flask, ada: int) -> None:
    assert run(app, "ban", ADA).exit_code == 0

    assert refusal(ApiClient(app).sign_in(ADA, PASSWORD))["until"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--until", "tomorrow"), "--until: must be a time with its UTC offset"),
        (("--until", "2099-01-31T12:00"), "--until: must be a time with its UTC offset"),
        (("--until", "2020-01-31T12:00Z"), "validation_failed"),
        (("--reason", "no"), "--reason: Send a reason of 3 to 500 characters."),
        (("--reason", "two\nlines"), "--reason: Send the reason as one line"),
    ],
)
def test_users_ban_explains_what_is_wrong(
    app: Flask, ada: int, query: Query, arguments: tuple[str, ...], message: str
) -> None:
    result = run(app, "ban", ADA, *arguments)

    assert result.exit_code == 1
    assert message in result.output
    assert query("SELECT banned_until FROM users WHERE id = %s", ada) == [(None,)]


def test_r2_users_ban_keeps_the_last_administrator(app: Flask, mailbox: Mailbox) -> None:
    Administration(app, mailbox).administrator(ADA)

    assert "last_administrator" in run(app, "ban", ADA).output


def test_users_ban_of_an_unknown_address_is_an_error(app: Flask) -> None:
    for command in ("ban", "unban"):
        assert "user_unknown" in run(app, command, ADA).output
