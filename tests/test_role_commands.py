"""`manage.py create-superuser`, `roles` and `users grant|withdraw|show`: administrators, roles, users."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from auth_service.cli.create_superuser import create_superuser
from auth_service.cli.roles import roles
from auth_service.cli.users import users
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox

Query = Callable[..., list[Any]]
Run = Callable[..., Result]
ADMIN = "ROLE_PORTAL_ADMIN"


@pytest.fixture
def ada(app: Flask, mailbox: Mailbox) -> int:
    """Ada is a user of the portal, with a password."""
    return ApiClient(app).register(ADA, mailbox, password=PASSWORD)


@pytest.fixture
def run(app: Flask) -> Run:
    """Runs a command, with text on standard input."""

    def invoke(command: Any, *arguments: str, stdin: str = "") -> Result:
        result: Result = app.test_cli_runner().invoke(command, arguments, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def roles_of(query: Query) -> list[str]:
    return [role for (role,) in query("SELECT role FROM user_roles ORDER BY role")]


def test_ot4_create_superuser_creates_an_administrator_with_a_password_from_standard_input(
    run: Run, app: Flask, query: Query
) -> None:
    result = run(create_superuser, ADA, "--password-stdin", stdin=f"{PASSWORD}\n")

    assert result.exit_code == 0, result.output
    assert ADA in result.output
    assert PASSWORD not in result.output
    api = ApiClient(app)
    me = api.with_token(api.signed_in(ADA, PASSWORD)["access_token"], "GET", "/me").get_json()["data"]
    assert me["roles"] == [ADMIN, "ROLE_PORTAL_USER"]
    events = query("SELECT kind, actor_type FROM events WHERE kind = 'role.granted'")
    assert events == [("role.granted", "system")]


def test_ot4_create_superuser_without_a_password_creates_a_user_who_signs_in_by_code(
    run: Run, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    assert run(create_superuser, ADA).exit_code == 0

    api = ApiClient(app)
    api.ask_to_sign_in(ADA)
    assert api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).status_code == 200
    assert roles_of(query) == [ADMIN, "ROLE_PORTAL_USER"]


def test_ot4_create_superuser_promotes_an_existing_user_and_keeps_the_password(
    run: Run, app: Flask, ada: int, query: Query
) -> None:
    for _ in range(2):
        assert run(create_superuser, ADA.upper(), "--password-stdin", stdin="another password\n").exit_code == 0

    assert ApiClient(app).sign_in(ADA, PASSWORD).status_code == 200
    assert roles_of(query) == [ADMIN, "ROLE_PORTAL_USER"]
    assert len(query("SELECT 1 FROM events WHERE kind = 'role.granted' AND user_id = %s", ada)) == 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ((ADA, "a password"), "", "the password is no argument"),
        ((ADA, "--password-stdin"), "short\n", "the password is refused"),
        (("no address",), "", "the email address is refused"),
    ],
)
def test_ot4_create_superuser_refuses_wrong_input(
    run: Run, query: Query, arguments: tuple[str, ...], stdin: str, words: str
) -> None:
    result = run(create_superuser, *arguments, stdin=stdin)

    assert result.exit_code != 0
    assert words in result.output
    assert "Traceback" not in result.output
    assert query("SELECT 1 FROM users") == []


def test_an_operator_creates_lists_and_extends_roles(run: Run) -> None:
    assert run(roles, "create", "ROLE_EDITOR", "--permission", "films:edit", "--description", "Edits.").exit_code == 0
    assert run(roles, "permit", "ROLE_EDITOR", "films:view", "roles:read").exit_code == 0

    listed = run(roles, "list").output

    assert "ROLE_EDITOR  films:edit,films:view,roles:read  Edits." in listed.splitlines()
    assert any(line.startswith(f"{ADMIN}  ") and "users:ban" in line for line in listed.splitlines())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "editor"), "a role name reads like ROLE_EDITOR"),
        (("create", "ROLE_X", "--permission", "users:fly"), "is no permission"),
        (("create", "ROLE_PORTAL_USER"), "role_taken"),
        (("permit", "ROLE_X", "films:edit"), "role_unknown"),
        (("permit", ADMIN, "films:edit"), "role_is_system"),
    ],
)
def test_a_refused_role_is_explained(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run(roles, *arguments)

    assert result.exit_code == 1
    assert words in result.output


def test_an_operator_grants_and_withdraws_roles_by_email_address(run: Run, ada: int, query: Query) -> None:
    assert run(users, "grant", ADA, ADMIN).exit_code == 0
    assert roles_of(query) == [ADMIN, "ROLE_PORTAL_USER"]

    refused = run(users, "withdraw", ADA, ADMIN)
    assert refused.exit_code == 1
    assert "last_administrator" in refused.output
    assert run(users, "withdraw", ADA, ADMIN, "--leave-none").exit_code == 0

    assert roles_of(query) == ["ROLE_PORTAL_USER"]
    assert run(users, "grant", "unknown@example.org", ADMIN).exit_code == 1


def test_an_operator_sees_a_user_by_email_address(run: Run, ada: int, app: Flask, query: Query) -> None:
    ApiClient(app).signed_in(ADA, PASSWORD)
    query(
        "UPDATE users SET banned_until = 'infinity', banned_at = '2026-01-02T03:04:05Z', ban_reason = 'spam'"
        " WHERE id = %s",
        ada,
    )

    result = run(users, "show", ADA.upper())

    assert result.exit_code == 0
    lines = dict(line.split(": ", 1) for line in result.output.splitlines())
    assert (lines["id"], lines["email"], lines["status"]) == (str(ada), ADA, "banned")
    assert (lines["roles"], lines["sessions"], lines["password_set"]) == ("ROLE_PORTAL_USER", "1", "yes")
    assert (lines["ban.until"], lines["ban.reason"], lines["ban.at"]) == ("-", "spam", "2026-01-02T03:04:05+00:00")
    assert (lines["second_factor.totp"], lines["identities"], lines["deletion_due_at"]) == ("no", "-", "-")
    assert "argon2" not in result.output
    assert query("SELECT kind FROM events WHERE actor_type = 'system'") == []


@pytest.mark.parametrize(
    ("email", "words"), [("unknown@example.org", "user_unknown"), ("no address", "the email address is refused")]
)
def test_a_user_who_does_not_exist_is_not_shown(run: Run, ada: int, email: str, words: str) -> None:
    result = run(users, "show", email)

    assert result.exit_code == 1
    assert words in result.output
