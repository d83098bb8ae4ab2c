"""Everything that differs between two deployments: one frozen class, read once and strictly."""

import contextlib
import ipaddress
import os
import secrets
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from auth_service.settings.env_file import in_force
from auth_service.settings.groups import ForContainers, Lifetimes, Limits
from auth_service.settings.types import (
    Flag,
    Lasting,
    Network,
    Networks,
    Origin,
    Origins,
    PostgresUrl,
    Rate,
    Seconds,
)

__all__ = ["SECRETS", "Network", "Rate", "Settings", "SettingsRefused"]

SECRETS = ("code_key", "outbox_key", "session_key", "keyring_key")
PRODUCTION_NEEDS = ("database_url", "redis_url", "smtp_url", "mail_from", "public_url", *SECRETS)
SAMPLE_WORDS = ("sample", "example", "change", "secret", "password")


class SettingsRefused(Exception):
    """The settings do not make a service; the text has one line a problem, each beginning with the name."""


class Settings(Lifetimes, Limits, ForContainers):
    """What this deployment is. Read from the environment and from `.env`; the environment wins."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_file_encoding="utf-8",
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        validate_default=True,
    )

    app_env: Literal["local", "test", "production"] = Field(
        "production", description="Profile: `local`, `test` or `production`; see the table in `docs/operations.md`."
    )
    http_host: str = Field("127.0.0.1", description="Address that the API listens on.")
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
    trusted_proxies: Networks = Field(
        (), description="Networks (CIDRs, comma-separated) of proxies whose `X-Forwarded-For` is trusted."
    )
    cors_origins: Origins = Field(
        (), description="Origins (comma-separated) whose pages may call the API (CORS, CSRF check)."
    )
    swagger_page: Flag = Field(True, description="Serves `/api/swagger` and `/api/swagger.json`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port of `/metrics` for Prometheus; no metrics when unset."
    )
    metrics_host: str = Field("127.0.0.1", description="Address that `/metrics` listens on.")
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
    redis_url: str | None = Field(
        None,
        repr=False,
        pattern=r"^rediss?://",
        description="Redis or Valkey. Embedded in `local` and `test` when unset.",
    )
    data_dir: Path = Field(
        Path(".data"),
        description="Folder of the embedded engines, the generated secrets and the dev inbox (`local`, `test`).",
    )

    smtp_url: SecretStr | None = Field(
        None,
        description="`smtp://`, `smtps://` or `smtp+starttls://user:password@host:port`. The dev inbox when unset "
        "(`local`, `test`).",
    )
    mail_from: str | None = Field(
        None,
        pattern=r"^[^\s@<>]+@[^\s@<>]+$",
        description="Sender address; `no-reply@` and the host of `PUBLIC_URL` when unset.",
    )
    mail_senders: int = Field(4, ge=1, le=32, description="Emails that one mail worker sends concurrently.")
    mail_timeout_seconds: Lasting = Field(timedelta(seconds=15), description="Time limit for sending one email.")
    outbox_lease_seconds: Lasting = Field(
        timedelta(seconds=60),
        description="Lease of a claimed email: if its mail worker dies, another one sends it after this time.",
    )
    service_name: str = Field(
        "Portal", min_length=1, max_length=60, description="Name of the portal in emails and on the Swagger page."
    )

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
    code_key_file: Path | None = Field(None, description="File that contains `CODE_KEY`.")
    outbox_key_file: Path | None = Field(None, description="File that contains `OUTBOX_KEY`.")
    session_key_file: Path | None = Field(None, description="File that contains `SESSION_KEY`.")
    keyring_key_file: Path | None = Field(None, description="File that contains `KEYRING_KEY`.")

    @classmethod
    def read(cls, *, env_file: Path | None = Path(".env"), **given: Any) -> Self:
        """Read the environment and `env_file`; `given` wins over both. Raises SettingsRefused.

        A file of production is left alone where a developer's profile is asked for; here and nowhere else, so that all
        processes of one start read the same.
        """
        try:
            return cls(_env_file=in_force(env_file, profile=given.get("app_env")), **given)
        except ValidationError as refused:
            errors = refused.errors(include_url=False, include_input=False)
            raise SettingsRefused("\n".join(_said(error) for error in errors)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty; leave it out instead")
        return value

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in SECRETS:
            path = values.get(f"{name}_file")
            if path is None:
                continue
            if values.get(name) is not None:
                raise ValueError(f"{name.upper()} and {name.upper()}_FILE are both given")
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as away:
                raise ValueError(f"{name.upper()}_FILE cannot be read: {away.strerror}") from None
        return values

    @model_validator(mode="before")
    @classmethod
    def _reached_where_it_listens(cls, values: dict[str, Any]) -> dict[str, Any]:
        port = str(values.get("http_port", ""))
        if values.get("app_env") in ("local", "test") and port.isdecimal():
            values.setdefault("public_url", f"http://127.0.0.1:{port}")
        return values

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        problems = [*self._weak_secrets(), *(self._unsafe_production() if self.production else self._unsafe_local())]
        if self.rate_limits == "off" and self.app_env != "test":
            problems.append("RATE_LIMITS: off exists for APP_ENV=test only")
        if self.outbox_lease_seconds <= self.mail_timeout_seconds:
            problems.append("OUTBOX_LEASE_SECONDS: has to be longer than MAIL_TIMEOUT_SECONDS")
        if self.ticket_lifetime_seconds < self.code_lifetime_seconds:
            problems.append(
                "TICKET_LIFETIME_SECONDS: at least CODE_LIFETIME_SECONDS, or codes die before they are said to"
            )
        if self.session_idle_seconds < self.access_token_seconds:
            problems.append("SESSION_IDLE_SECONDS: at least ACCESS_TOKEN_SECONDS, after which a session is refreshed")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _weak_secrets(self) -> list[str]:
        said: list[str] = []
        values = {name: key.get_secret_value() for name in SECRETS if (key := getattr(self, name)) is not None}
        for name, value in values.items():
            if len(value) < 43 or len(set(value)) < 12:  # 256 bits are 43 characters of base64url
                said.append(f"{name.upper()}: too weak; make one with `openssl rand -base64 48`")
            elif self.production and any(word in value.lower() for word in SAMPLE_WORDS):
                said.append(f"{name.upper()}: a sample, not a secret")
        if len(set(values.values())) < len(values):
            said.append(f"{', '.join(name.upper() for name in values)}: each secret needs a value of its own")
        return said

    def _unsafe_production(self) -> list[str]:
        said = [f"{name.upper()}: needed in production" for name in PRODUCTION_NEEDS if getattr(self, name) is None]
        if "public_url" not in self.model_fields_set:
            said.append("PUBLIC_URL: needed in production")
        elif not self.public_url.startswith("https://"):
            said.append("PUBLIC_URL: must begin with https:// in production")
        said += [
            f"TRUSTED_PROXIES: {network} trusts everybody" for network in self.trusted_proxies if network.prefixlen == 0
        ]
        if self.access_token_seconds > timedelta(minutes=15):
            said.append("ACCESS_TOKEN_SECONDS: at most 900 in production")
        return said

    def _unsafe_local(self) -> list[str]:
        if self.listen_beyond_loopback or self.http_host == "localhost":
            return []
        try:
            loopback = ipaddress.ip_address(self.http_host).is_loopback
        except ValueError:
            loopback = False
        return (
            []
            if loopback
            else [f"HTTP_HOST: APP_ENV={self.app_env} listens on loopback only, unless LISTEN_BEYOND_LOOPBACK=true"]
        )

    @property
    def production(self) -> bool:
        """Whether this is the profile that strangers reach."""
        return self.app_env == "production"

    @property
    def sender(self) -> str:
        """The address that letters come from."""
        return self.mail_from or f"no-reply@{urlsplit(self.public_url).hostname}"

    @property
    def inbox_dir(self) -> Path | None:
        """Where the dev inbox keeps its letters; None where letters leave by SMTP."""
        return None if self.production or self.smtp_url else self.data_dir / "inbox"

    @property
    def names_engines(self) -> bool:
        """Whether PostgreSQL and Redis are named, so that none has to be started."""
        return self.database_url is not None and self.redis_url is not None

    def secret(self, name: str) -> str:
        """The value of one of SECRETS. Raises ValueError before the settings are `completed`."""
        key: SecretStr | None = getattr(self, name)
        if key is None:
            raise ValueError("settings have to be completed before they are wired")
        return key.get_secret_value()

    def completed(self, *, database_url: str | None = None, redis_url: str | None = None) -> Self:
        """These settings with engines and secrets filled in where a developer's machine names none."""
        if self.production:
            return self
        made = {name: SecretStr(_kept_secret(self.data_dir, name)) for name in SECRETS if getattr(self, name) is None}
        return self.model_copy(
            update={"database_url": self.database_url or database_url, "redis_url": self.redis_url or redis_url, **made}
        )


def _kept_secret(folder: Path, name: str) -> str:
    """Read a secret of the data folder, making it on the first start; two starts at once agree on one."""
    path = folder / f"{name}.secret"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=folder, encoding="utf-8") as new:
            new.write(secrets.token_urlsafe(48))
            new.flush()
            with contextlib.suppress(FileExistsError):  # another start was quicker: its secret counts
                os.link(new.name, path)
    return path.read_text(encoding="utf-8")


def _said(error: Any) -> str:
    said = (
        "no setting has this name" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    )
    return f"{str(error['loc'][0]).upper()}: {said}" if error["loc"] else said
