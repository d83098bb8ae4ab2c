"""Invitations as clients use them: create, read and accept them, and what the acceptance has granted."""

from typing import Any

from tests.support.actors import ADA, ApiClient, Mailbox
from tests.support.administration import AdminClient
from tests.support.stores import Query


def token_of(client: AdminClient, mailbox: Mailbox, *, email: str = ADA, **body: Any) -> str:
    """The token in the email of a new invitation."""
    client.data("POST", "/invitations", json={"email": email, **body}, status=201)
    return mailbox.invitation_sent_to(email)


def read(api: ApiClient, token: str) -> Any:
    return api.call("POST", "/invitation", json={"token": token})


def accept(api: ApiClient, token: str, **body: Any) -> Any:
    return api.call("POST", "/invitation/accept", json={"token": token, **body})


def roles_of(query: Query, email: str = ADA) -> list[str]:
    rows = query(
        "SELECT role FROM user_roles JOIN users ON id = user_id WHERE email_key = %s ORDER BY role", email.lower()
    )
    return [role for (role,) in rows]


def accepted_event(query: Query) -> Any:
    """The changes in the only event about an acceptance."""
    [(changes,)] = query("SELECT details -> 'changes' FROM events WHERE kind = 'invitation.accepted'")
    return changes


def invited(client: AdminClient, email: str = ADA, **body: Any) -> str:
    """The id of a new invitation."""
    return str(client.data("POST", "/invitations", json={"email": email, **body}, status=201)["id"])
