"""Settings of the service: profile, addresses, processes, databases, secrets, retention and Docker Compose."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from auth_service.settings.types import (
    Flag,
    ListeningHost,
    Networks,
    Origin,
    Origins,
    PageUrl,
    PositiveSeconds,
    PostgresUrl,
    RedisUrl,
    Seconds,
)


class ServiceSettings(BaseSettings):
    """Profile, HTTP server, logs, metrics, PostgreSQL and Redis."""

    app_env: Literal["local", "test", "production"] = Field(
        "production", description="Profile: `local`, `test` or `production`; see the table in `docs/settings.md`."
    )
    http_host: ListeningHost = Field("127.0.0.1", description="Address that the API listens on.")
    http_port: int = Field(5000, ge=1, le=65535, description="Port that the API listens on.")
    listen_beyond_loopback: Flag = Field(
        False,
        description="Allows the `local` and `test` profiles to listen on an address that other machines can reach.",
    )
    web_workers: int = Field(2, ge=1, le=64, description="Processes that answer requests.")
    web_threads: int = Field(4, ge=1, le=64, description="Requests that one process handles concurrently.")
    public_url: Origin = Field(
        "http://127.0.0.1:5000",
        description="Origin (scheme, host, port) under which users reach the service: the start of every link and the "
        "`iss` of access tokens. https in production; in `local` and `test` the default contains `HTTP_PORT`.",
    )
    front_end_url: PageUrl | None = Field(
        None,
        description="Where the account pages of the portal are, such as `https://example.org/account`: browsers and "
        "password managers find the page `security` under it. Without it they find none.",
    )
    trusted_proxies: Networks = Field(
        (), description="Networks (CIDRs, comma-separated) of proxies whose `X-Forwarded-For` is trusted."
    )
    cors_origins: Origins = Field(
        (),
        description="Origins (comma-separated) whose pages may call the API (CORS, CSRF check). In `local` pages of "
        "loopback hosts (`localhost`, `127.0.0.1`, `[::1]`) may, too.",
    )
    swagger_page: Flag = Field(True, description="Serves `/api/swagger` and `/api/swagger.json`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port of `/metrics` for Prometheus; no metrics when unset."
    )
    metrics_host: ListeningHost = Field("127.0.0.1", description="Address that `/metrics` listens on.")
    drain_seconds: Seconds = Field(
        timedelta(seconds=5),
        description="After SIGTERM the API accepts requests for this time while `/health/ready` answers 503.",
    )

    database_url: PostgresUrl | None = Field(
        None,
        repr=False,
        description="PostgreSQL, `postgresql://user:password@host/name`. Embedded in `local` and `test` when unset.",
    )
    migration_database_url: PostgresUrl | None = Field(
        None,
        repr=False,
        description="The same database with the role that owns it, for migrations; `DATABASE_URL` when unset.",
    )
    database_connections: int | None = Field(
        None, ge=1, le=500, description="Connections of one process to PostgreSQL; `WEB_THREADS` plus one when unset."
    )
    redis_url: RedisUrl | None = Field(
        None,
        repr=False,
        description="Redis or Valkey, `redis://user:password@host/0`, or `rediss://` for TLS. Embedded in `local` and "
        "`test` when unset.",
    )
    data_dir: Path = Field(
        Path(".data"),
        description="Folder of the embedded engines, the generated secrets and the dev inbox (`local`, `test`).",
    )


class SecretSettings(BaseSettings):
    """Secret keys, each as a value or as a file that contains it."""

    code_key: SecretStr | None = Field(
        None, description="Secret (256 bits): digests of codes, flow tickets and rate limit subjects in Redis."
    )
    outbox_key: SecretStr | None = Field(
        None, description="Secret (256 bits): encrypts the content of emails that wait in the outbox."
    )
    session_key: SecretStr | None = Field(
        None, description="Secret (256 bits): MACs of refresh tokens, device tokens and page cursors."
    )
    keyring_key: SecretStr | None = Field(
        None, description="Secret (256 bits): encrypts the private signing keys of access tokens."
    )
    second_factor_key: SecretStr | None = Field(
        None, description="Secret (256 bits): encrypts the TOTP secrets of users and seals the tickets of sign-ins."
    )
    second_factor_key_previous: SecretStr | None = Field(
        None,
        description="The value of `SECOND_FACTOR_KEY` before its rotation; needed until `keys reseal` has finished.",
    )
    code_key_file: Path | None = Field(None, description="File that contains `CODE_KEY`.")
    outbox_key_file: Path | None = Field(None, description="File that contains `OUTBOX_KEY`.")
    session_key_file: Path | None = Field(None, description="File that contains `SESSION_KEY`.")
    keyring_key_file: Path | None = Field(None, description="File that contains `KEYRING_KEY`.")
    second_factor_key_file: Path | None = Field(None, description="File that contains `SECOND_FACTOR_KEY`.")
    second_factor_key_previous_file: Path | None = Field(
        None, description="File that contains `SECOND_FACTOR_KEY_PREVIOUS`."
    )


class RetentionSettings(BaseSettings):
    """After which time maintenance deletes records."""

    temporary_user_lifetime_seconds: PositiveSeconds = Field(
        timedelta(days=7), description="Maintenance deletes users who have not confirmed their address after this time."
    )
    letter_lifetime_seconds: Seconds = Field(
        timedelta(days=30),
        description="Maintenance deletes the records of sent, expired and dead emails after this time.",
    )
    ended_session_lifetime_seconds: Seconds = Field(
        timedelta(days=30),
        description="Maintenance deletes the records of ended sessions after this time.",
    )
    ended_invitation_lifetime_seconds: Seconds = Field(
        timedelta(days=30),
        description="Maintenance deletes accepted, revoked and expired invitations after this time; an expired one can "
        "be sent again until then.",
    )
    history_lifetime_seconds: Seconds = Field(
        timedelta(days=365),
        ge=timedelta(days=30),
        description="Maintenance drops months of the audit log after this time; at least 30 days.",
    )


class ComposeSettings(BaseSettings):
    """Names that Docker Compose reads from the same `.env`; the service accepts and ignores them."""

    publish_port: int = Field(
        5000, ge=1, le=65535, description="Read by `docker-compose.yml` only: port of nginx on the host."
    )
    postgres_password: SecretStr | None = Field(
        None, description="Read by `docker-compose.yml` only: password of the database owner."
    )
    app_database_password: SecretStr | None = Field(
        None, description="Read by `docker-compose.yml` only: password of the database role of the service."
    )
    redis_password: SecretStr | None = Field(None, description="Read by `docker-compose.yml` only: password of Redis.")
