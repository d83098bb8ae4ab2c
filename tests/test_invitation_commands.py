"""`manage.py invitations`: an operator invites people, lists and revokes invitations."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from auth_service.cli.invitations import invitations
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import Administration
from tests.support.application import MakeApp
from tests.support.stores import Query

Run = Callable[..., Result]


def invoke(app: Flask, *arguments: str) -> Result:
    result: Result = app.test_cli_runner().invoke(invitations, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def run(app: Flask) -> Run:
    """Runs the command."""
    return lambda *arguments: invoke(app, *arguments)


def accept(app: Flask, token: str) -> Any:
    body = {"token": token, "password": PASSWORD}
    return ApiClient(app).call("POST", "/invitation/accept", json=body)


def test_ad7_an_operator_invites_an_administrator_who_accepts(
    run: Run, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    created = run("create", ADA, "--role", "ROLE_PORTAL_ADMIN", "--language", "ru")

    assert created.exit_code == 0, created.output
    [(invitation,)] = query("SELECT id::text FROM invitations")
    assert created.output.startswith(f"{invitation} is valid until ")
    assert mailbox.letters_to(ADA)[0].subject == "Приглашение в «Portal»"
    token = mailbox.invitation_sent_to(ADA)
    assert token not in created.output
    assert accept(app, token).get_json()["data"]["roles"] == ["ROLE_PORTAL_ADMIN", "ROLE_PORTAL_USER"]
    events = query("SELECT kind, actor_type FROM events WHERE actor_type IS NOT NULL ORDER BY id")
    assert events == [("invitation.created", "system"), ("role.granted", "system")]


def test_ad7_an_operator_lists_and_revokes_invitations(run: Run, app: Flask, mailbox: Mailbox, query: Query) -> None:
    Administration(app, mailbox).role("ROLE_EDITOR", "films:edit")
    assert run("create", ADA, "--role", "ROLE_EDITOR").exit_code == 0
    assert run("create", "grace@example.org").exit_code == 0
    [(invitation,)] = query("SELECT id::text FROM invitations WHERE email = %s", ADA)
    token = mailbox.invitation_sent_to(ADA)

    assert run("revoke", f" {invitation} ").output == f"{invitation} is revoked\n"

    newest, oldest = run("list").output.splitlines()
    assert "  open  grace@example.org  -  until " in newest
    assert oldest.startswith(f"{invitation}  revoked  {ADA}  ROLE_EDITOR  until ")
    assert oldest.endswith(" UTC  system:auth-service")
    assert run("list", "--state", "revoked").output.splitlines() == [oldest]
    events = query("SELECT kind, actor_type, target_id FROM events WHERE kind = 'invitation.revoked'")
    assert events == [("invitation.revoked", "system", invitation)]
    assert accept(app, token).status_code == 404


def test_ad7_all_pages_are_listed(run: Run, query: Query) -> None:
    query(
        "INSERT INTO invitations (id, email, email_key, language, roles, digest, invited_by, expires_at)"
        " SELECT gen_random_uuid(), n || '@x.org', n || '@x.org', 'en', '{}', sha256(n::text::bytea), 'user:1', now()"
        " FROM generate_series(1, 501) n"
    )

    assert len(set(run("list", "--state", "expired").output.splitlines())) == 501


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "ada"), "the email address is refused"),
        (("create", ADA, "--role", "editor"), "a role name reads like ROLE_EDITOR"),
        (("create", ADA, "--role", "ROLE_EDITOR"), "role_unknown"),
        (("create", ADA, "--role", "ROLE_PORTAL_USER"), "role_is_system"),
        (("revoke", "ada"), "this is no id"),
        (("revoke", str(uuid.UUID(int=1))), "invitation_unknown"),
    ],
)
def test_ad7_a_refused_invitation_is_explained(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 1
    assert words in result.output


def test_ad7_a_second_invitation_of_an_address_and_that_of_a_user_are_refused(
    run: Run, api: ApiClient, mailbox: Mailbox
) -> None:
    assert run("create", ADA).exit_code == 0
    assert "invitation_open" in run("create", ADA).output
    api.register("grace@example.org", mailbox)
    assert "email_taken" in run("create", "grace@example.org").output


def test_ad8_with_closed_an_operator_cannot_invite_either(make_app: MakeApp) -> None:
    assert "registration_closed" in invoke(make_app(sign_up="closed"), "create", ADA).output
