"""Settings of passwords and sessions: password hashing, access tokens, refresh tokens, known devices."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings

from auth_service.settings.types import PositiveSeconds, Seconds, Text


class PasswordSettings(BaseSettings):
    """Length of passwords and capacity for password hashing."""

    password_min_length: int = Field(
        8, ge=8, le=15, description="Minimum length of a new password in characters, 8 to 15."
    )
    hashes_at_once: int = Field(
        1, ge=1, le=64, description="Password hashes that one process computes concurrently (19 MiB each)."
    )
    hashes_waiting: int = Field(
        48, ge=1, le=500, description="Requests of one process that may wait for a password hash; more get 503."
    )


class SessionSettings(BaseSettings):
    """Lifetimes of tokens, sessions, known devices, account revert links and reauthentication."""

    token_audience: Text = Field("portal", min_length=1, max_length=200, description="Claim `aud` of access tokens.")
    access_token_seconds: PositiveSeconds = Field(timedelta(minutes=15), description="Lifetime of an access token.")
    session_idle_seconds: PositiveSeconds = Field(
        timedelta(days=7), description="A session that is not refreshed ends after this time."
    )
    session_absolute_seconds: PositiveSeconds = Field(
        timedelta(days=30), description="A session ends after this time in any case."
    )
    refresh_grace_seconds: Seconds = Field(
        timedelta(seconds=30),
        description="For this time a used refresh token returns the same successor, if that is unused.",
    )
    device_lifetime_seconds: PositiveSeconds = Field(
        timedelta(days=365), description="A device that is not used for this time is unknown to the account again."
    )
    undo_seconds: PositiveSeconds = Field(
        timedelta(hours=72),
        description="Lifetime of account revert links in security notifications (new device, changed address).",
    )
    reauthentication_seconds: PositiveSeconds = Field(
        timedelta(minutes=10),
        description="For this time an authentication counts as recent. Administrative changes need a recent one, and "
        "so does a change of the address of an account without a password.",
    )
