"""Flow tickets of passkey ceremonies: in the response, in the cookie, or in both."""

from dataclasses import replace

from pydantic import SecretStr

from auth_service.api.security.flow_cookies import PASSKEY
from auth_service.api.v1.schemas.fields import revealed
from auth_service.services.credentials.passkeys import PasskeyChallenge


def in_both(challenge: PasskeyChallenge) -> PasskeyChallenge:
    """Set the cookie with the ticket; return the ticket for the body, too: the transport is not known yet."""
    PASSKEY.issue(challenge.ticket or "")
    return challenge


def delivered(challenge: PasskeyChallenge, *, transport: str) -> PasskeyChallenge:
    """Put the ticket into the cookie if `transport` is `cookie`; otherwise return it for the body."""
    return replace(in_both(challenge), ticket=None) if transport == "cookie" else challenge


def presented_ticket(in_body: SecretStr | None) -> str | None:
    """Return the ticket of the body, or else that of the cookie. Raises CrossSite."""
    return PASSKEY.presented(revealed(in_body))
