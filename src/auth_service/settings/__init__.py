"""Settings: one frozen class, read once from the environment and `.env` and validated strictly."""

import contextlib
import ipaddress
import os
import re
import secrets
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from auth_service.invisible_characters import trimmed, without_zero_width
from auth_service.settings import env_file as env_files
from auth_service.settings.authorization import PORTAL_ADMIN, AuthorizationSettings
from auth_service.settings.email import CodeSettings, EmailSettings
from auth_service.settings.invitations import InvitationSettings
from auth_service.settings.names import misspelt, unknown_name
from auth_service.settings.rate_limits import AuditSettings, RateLimitSettings
from auth_service.settings.second_factor import LOCALHOST, SecondFactorSettings, relying_party_problems
from auth_service.settings.service import ComposeSettings, RetentionSettings, SecretSettings, ServiceSettings
from auth_service.settings.sessions import PasswordSettings, SessionSettings
from auth_service.settings.types import LOOPBACK_ORIGIN, Network, Rate, SettingsRefused

__all__ = ["SECRETS", "Network", "Rate", "Settings", "SettingsRefused"]

SECRETS = ("code_key", "outbox_key", "session_key", "keyring_key", "second_factor_key")
PREVIOUS_SECRETS = ("second_factor_key_previous",)
"""Replaced secrets, which only a key rotation needs."""
ALL_SECRETS = (*SECRETS, *PREVIOUS_SECRETS)
PRODUCTION_NEEDS = ("database_url", "redis_url", "smtp_url", "mail_from", "public_url", *SECRETS)
FREE_TEXT = ("service_name", "data_dir", *(f"{name}_file" for name in ALL_SECRETS))
"""Settings in which a zero-width character can have a meaning; it is removed at their ends only."""
SHORTEST_SECRET = 43
"""256 bits in characters of base64url."""
SAMPLE_WORDS = ("sample", "example", "change", "secret", "password")


class Settings(
    # pydantic orders fields from the last base class to the first; the table in docs/settings.md has the same order.
    SecretSettings,
    EmailSettings,
    ServiceSettings,
    AuditSettings,
    InvitationSettings,
    SecondFactorSettings,
    AuthorizationSettings,
    SessionSettings,
    PasswordSettings,
    RetentionSettings,
    CodeSettings,
    RateLimitSettings,
    ComposeSettings,
):
    """All settings of one deployment. They come from the environment and from `.env`; the environment wins."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_file_encoding="utf-8",
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        validate_default=True,
    )

    @classmethod
    def read(cls, *, env_file: Path | None = Path(".env"), **overrides: Any) -> Self:
        """Read the environment and `env_file`; `overrides` win over both. Raises SettingsRefused.

        A `.env` of production is ignored when the profile is `local` or `test`. Only this method decides that, so all
        processes of one start read the same settings.
        """
        path = env_files.applicable(env_file, profile=overrides.get("app_env"))
        values = _file_values(path) if path is not None and path.exists() else {}
        try:
            return cls(_env_file=None, **(values | overrides))
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False, include_input=False)
        # Not inside the `except` block: a chained error would keep the values, which may contain passwords.
        problems = dict.fromkeys(line for error in errors for line in _problem(error).splitlines())
        raise SettingsRefused("\n".join([*problems, *cls.misspelt_in_environment()]))

    @classmethod
    def misspelt_in_environment(cls) -> list[str]:
        """One line for each variable of the environment that is probably a misspelt setting."""
        return misspelt(os.environ, (name.upper() for name in cls.model_fields))

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty; leave it out instead")
        return value

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in ALL_SECRETS:
            path = values.get(f"{name}_file")
            if path is None:
                continue
            if values.get(name) is not None:
                raise ValueError(f"{name.upper()}: {name.upper()}_FILE gives it too; keep one of both")
            try:
                values[name] = without_zero_width(Path(path).read_text(encoding="utf-8-sig"))
            except OSError as error:
                raise ValueError(f"{name.upper()}_FILE: cannot be read: {error.strerror}") from None
            except ValueError:
                raise ValueError(f"{name.upper()}_FILE: is not a text file in UTF-8") from None
        return values

    @model_validator(mode="before")
    @classmethod
    def _default_public_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        port = str(values.get("http_port", ""))
        if values.get("app_env") in ("local", "test") and port.isdecimal():
            values.setdefault("public_url", f"http://127.0.0.1:{port}")
        return values

    @model_validator(mode="before")
    @classmethod
    def _default_second_factor_roles(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("app_env") not in ("local", "test"):
            values.setdefault("second_factor_roles", PORTAL_ADMIN)
        return values

    @model_validator(mode="before")
    @classmethod
    def _visible(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Remove invisible characters, which editors and secret stores add.

        Runs before the other `before` validators: pydantic runs the last one first.
        """
        return {
            name: _visible_value(name, value) if isinstance(value, str) else value for name, value in values.items()
        }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [*self._weak_secrets(), *(self._unsafe_production() if self.production else self._unsafe_local())]
        if self.rate_limits == "off" and self.app_env != "test":
            problems.append("RATE_LIMITS: off is allowed for APP_ENV=test only")
        if self.outbox_lease_seconds <= self.mail_timeout_seconds:
            problems.append("OUTBOX_LEASE_SECONDS: has to be longer than MAIL_TIMEOUT_SECONDS")
        if self.ticket_lifetime_seconds < self.code_lifetime_seconds:
            problems.append(
                "TICKET_LIFETIME_SECONDS: at least CODE_LIFETIME_SECONDS, or a ticket expires before its code"
            )
        if self.session_idle_seconds < self.access_token_seconds:
            problems.append("SESSION_IDLE_SECONDS: at least ACCESS_TOKEN_SECONDS, after which a session is refreshed")
        if self.metrics_port == self.http_port and self.metrics_host == self.http_host:
            problems.append("METRICS_PORT: HTTP_PORT is the same port; give the metrics another one")
        if self.webauthn_rp_id is not None and (self.production or self.webauthn_rp_id != LOCALHOST):
            problems += relying_party_problems(self.webauthn_rp_id, public_url=self.public_url)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _weak_secrets(self) -> list[str]:
        problems: list[str] = []
        values = {name: key.get_secret_value() for name in ALL_SECRETS if (key := getattr(self, name)) is not None}
        for name, value in values.items():
            if len(value) < SHORTEST_SECRET or len(set(value)) < 12:
                problems.append(f"{name.upper()}: too weak; generate one with `openssl rand -base64 48`")
            elif self.production and any(word in value.lower() for word in SAMPLE_WORDS):
                problems.append(f"{name.upper()}: a sample, not a secret; generate one with `openssl rand -base64 48`")
        if len(set(values.values())) < len(values):
            problems.append(f"{', '.join(name.upper() for name in values)}: each secret needs a value of its own")
        return problems

    def _unsafe_production(self) -> list[str]:
        problems = [f"{name.upper()}: needed in production" for name in PRODUCTION_NEEDS if getattr(self, name) is None]
        if "public_url" not in self.model_fields_set:
            problems.append("PUBLIC_URL: needed in production")
        elif not self.public_url.startswith("https://"):
            problems.append("PUBLIC_URL: must begin with https:// in production")
        problems += [
            f"TRUSTED_PROXIES: {network} contains every address; name the networks of your proxies"
            for network in self.trusted_proxies
            if network.prefixlen == 0
        ]
        if self.front_end_url and not self.front_end_url.startswith("https://"):
            problems.append("FRONT_END_URL: must begin with https:// in production")
        if self.access_token_seconds > timedelta(minutes=15):
            problems.append("ACCESS_TOKEN_SECONDS: at most 900 in production")
        return problems

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
        """Whether the profile is `production`."""
        return self.app_env == "production"

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of an origin may call the API (CORS): CORS_ORIGINS, and in `local` pages of this machine."""
        return origin in self.cors_origins or (
            self.app_env == "local" and LOOPBACK_ORIGIN.fullmatch(origin) is not None
        )

    @property
    def relying_party_id(self) -> str:
        """The relying party id of passkeys. Browsers refuse IP addresses, so it is `localhost` outside production."""
        return self.webauthn_rp_id or ((urlsplit(self.public_url).hostname or "") if self.production else LOCALHOST)

    @property
    def passkey_origins(self) -> frozenset[str]:
        """The origins whose pages may use passkeys of this service."""
        own = {self.public_url} if self.production else {self.public_url, f"http://{LOCALHOST}:{self.http_port}"}
        return frozenset({*own, *self.webauthn_origins})

    @property
    def related_origins(self) -> list[str]:
        """The origins of `passkey_origins`, if one belongs to another site than the relying party (WebAuthn, 5.11)."""
        hosts = [urlsplit(origin).hostname or "" for origin in self.webauthn_origins]
        own = self.relying_party_id
        is_related = any(host != own and not host.endswith(f".{own}") for host in hosts)
        return sorted(self.passkey_origins) if is_related else []

    @property
    def sender(self) -> str:
        """The sender of emails: a display name in quotes, and an address in angle brackets (RFC 5322, 3.4)."""
        host = urlsplit(self.public_url).hostname or ""
        default = f"no-reply@{'localhost' if ':' in host else host}"  # no IPv6 address: not every mail server takes it
        name = (self.mail_from.name if self.mail_from else "") or self.service_name
        escaped = re.sub(r'([\\"])', r"\\\1", name)
        return f'"{escaped}" <{self.mail_from.address if self.mail_from else default}>'

    @property
    def inbox_dir(self) -> Path | None:
        """The folder of the dev inbox; None if emails are sent by SMTP."""
        return None if self.production or self.smtp_url else self.data_dir / "inbox"

    @property
    def names_engines(self) -> bool:
        """Whether PostgreSQL and Redis are both configured, so that no embedded engine is needed."""
        return self.database_url is not None and self.redis_url is not None

    def secret(self, name: str) -> str:
        """The value of one of SECRETS. Raises ValueError before the settings are `completed`."""
        key: SecretStr | None = getattr(self, name)
        if key is None:
            raise ValueError("the settings have to be completed before services are built from them")
        return key.get_secret_value()

    def completed(self, *, database_url: str | None = None, redis_url: str | None = None) -> Self:
        """Return the settings with URLs of engines and generated secrets where they have none; not in production."""
        if self.production:
            return self
        generated = {
            name: SecretStr(_stored_secret(self.data_dir, name)) for name in SECRETS if getattr(self, name) is None
        }
        return self.model_copy(
            update={
                "database_url": self.database_url or database_url,
                "redis_url": self.redis_url or redis_url,
                **generated,
            }
        )


def _stored_secret(folder: Path, name: str) -> str:
    """Read a secret of the data folder; the first start generates it, and concurrent starts agree on one value."""
    path = folder / f"{name}.secret"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=folder, encoding="utf-8") as new:
                new.write(secrets.token_urlsafe(48))
                new.flush()
                with contextlib.suppress(FileExistsError):  # a concurrent start was faster: its secret is used
                    os.link(new.name, path)
        secret = path.read_text(encoding="ascii")
    except OSError as error:
        raise SettingsRefused(f"DATA_DIR: {error.filename or path} cannot be used: {error.strerror}") from None
    except UnicodeDecodeError:
        secret = ""
    if len(secret) < SHORTEST_SECRET:
        raise SettingsRefused(f"DATA_DIR: {path} is damaged; delete it, and the next start generates a new secret")
    return secret


def _file_values(path: Path) -> dict[str, str]:
    """The values of a `.env` that the environment does not replace."""
    replaced = {name.upper() for name in os.environ}
    return {name.lower(): value for name, value in env_files.load(path).items() if name not in replaced}


def _visible_value(name: str, value: str) -> str:
    return trimmed(value) if name in FREE_TEXT else without_zero_width(value)


def _problem(error: Any) -> str:
    """Return the lines for an error of pydantic; each begins with the name of the setting."""
    if error["type"] == "extra_forbidden":
        return unknown_name(str(error["loc"][0]), (name.upper() for name in Settings.model_fields))
    text = error["msg"].removeprefix("Value error, ")
    return f"{str(error['loc'][0]).upper()}: {text}" if error["loc"] else text
