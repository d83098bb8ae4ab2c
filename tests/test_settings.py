"""Settings validation: an error names the variable, and production needs complete and strong settings."""

from pathlib import Path
from typing import Any

import pytest

from auth_service.settings import Settings, SettingsRefused

KEYS = {
    "CODE_KEY": "vxkq8Zr1mN4tYw7uPa2sDf5gHj6kL9zXcVbQeRtYuIoPaSdF",
    "OUTBOX_KEY": "qW3eR5tY7uI9oP1aS2dF4gH6jK8lZ0xCvBnM1QwErTyUiOpA",
    "SESSION_KEY": "mN8bV6cX4zL2kJ0hG9fD7sA5pO3iU1yT-rEwQ1aZ2xS3cD4v",
    "KEYRING_KEY": "Zx9Cv8Bn7Ml6Kj5Hg4Fd3Sa2Po1Iu0Yt-Re9Wq8Az7Sx6Dc5F",
    "SECOND_FACTOR_KEY": "Qp0Wo9Ei8Ru7Ty6-Gh5Fj4Dk3Sl2Az1Xm0Cn9Vb8Qw7Er6T",
}
PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://auth:pw@db/auth",
    "REDIS_URL": "redis://:pw@redis/0",
    "SMTP_URL": "smtp://mail.example.org",
    "MAIL_FROM": "no-reply@example.org",
    "PUBLIC_URL": "https://auth.example.org",
    **KEYS,
}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without settings."""
    monkeypatch.delenv("APP_ENV", raising=False)
    return monkeypatch


def read(env: pytest.MonkeyPatch, values: dict[str, str], file: Path | None = None) -> Settings:
    """Read settings from an environment of exactly these values."""
    for name, value in values.items():
        env.setenv(name, value)
    return Settings.read(env_file=file)


def error_for(env: pytest.MonkeyPatch, values: dict[str, str], file: Path | None = None) -> str:
    """The error for invalid values."""
    with pytest.raises(SettingsRefused) as error:
        read(env, values, file)
    return str(error.value)


def test_the_default_profile_is_production_and_its_error_names_every_required_setting(env: pytest.MonkeyPatch) -> None:
    message = error_for(env, {})

    for name in PRODUCTION.keys() - {"APP_ENV"}:
        assert f"{name}: needed in production" in message


def test_complete_production_settings_are_accepted(env: pytest.MonkeyPatch) -> None:
    settings = read(env, PRODUCTION)

    assert settings.production
    assert settings.database_url == "postgresql+psycopg2://auth:pw@db/auth"
    assert settings.inbox_dir is None
    assert settings.completed() is settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODE_KEY", "short"),
        ("CODE_KEY", "a" * 64),
        ("OUTBOX_KEY", KEYS["CODE_KEY"]),
        ("OUTBOX_KEY", "sample-outbox-key-0123456789-abcdefghijklmnopqrstuvwxyz"),
        ("PUBLIC_URL", "http://auth.example.org"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::/0"),
        ("CORS_ORIGINS", "*"),
        ("RATE_LIMITS", "off"),
        ("SMTP_URL", ""),
    ],
)
def test_cf2_production_rejects_weak_settings(env: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert name in error_for(env, PRODUCTION | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SWAGGER_PAGE", "yes"),
        ("SWAGGER_PAGE", "1"),
        ("SWAGGER_PAGE", "True"),
        ("HTTP_PORT", ""),
        ("HTTP_PORT", "0"),
        ("HTTP_PORT", "5000x"),
        ("LOG_LEVEL", "debug"),
        ("DATABASE_URL", "mysql://db/auth"),
        ("DATABASE_URL", "postgresql:db"),
        ("REDIS_URL", "http://redis"),
        ("CORS_ORIGINS", "https://a.example.org/x"),
        ("CORS_ORIGINS", "null"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("LIMIT_CODES_PER_NETWORK", "3"),
        ("LIMIT_CODES_PER_NETWORK", "0/1h"),
        ("CODE_LIFETIME_SECONDS", "10m"),
        ("PASSWORD_MIN_LENGTH", "7"),
        ("PASSWORD_MIN_LENGTH", "16"),
        ("HTTP_HOST", "0.0.0.0"),
        ("HTTP_HOST", "auth.example.org"),
        ("CODE_KEY", "short"),
    ],
)
def test_cf1_invalid_values_are_rejected_by_name(env: pytest.MonkeyPatch, name: str, value: str) -> None:
    message = error_for(env, {"APP_ENV": "local", name: value})

    assert message.startswith(f"{name}: ")
    assert value not in message or len(value) < 2 or name == "HTTP_HOST"


@pytest.mark.parametrize("name", ["PUBLIC_URL", "CORS_ORIGINS"])
@pytest.mark.parametrize(
    "value",
    [
        "https://",
        "https:///path",
        "https://auth.example.org//",
        "https://auth.example.org/auth",
        "https://auth.example.org?x=1",
        "https://auth.example.org#top",
        "https://user:word@auth.example.org",
        "https://auth.example.org:",
        "https://auth.example.org:99999",
        "https://аутх.example.org",
        "https://auth example.org",
        "//auth.example.org",
    ],
)
def test_an_origin_is_a_scheme_and_a_host_and_nothing_else(env: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert "an origin reads like" in error_for(env, PRODUCTION | {name: value})


INVISIBLE = [" ", "\n", "\r\n", "\t", "\u00a0", "\u200b", "\ufeff", "\u202a"]


@pytest.mark.parametrize("invisible", INVISIBLE, ids=ascii)
def test_cf1_invisible_characters_around_a_value_do_not_decide(env: pytest.MonkeyPatch, invisible: str) -> None:
    """Secret stores add a line end to a value, editors a byte order mark, pages zero-width characters to a host."""
    lists = {"CORS_ORIGINS": "https://a.example.org,https://b.example.org", "TRUSTED_PROXIES": "10.0.0.0/8,192.0.2.1"}
    values = PRODUCTION | lists | {"HTTP_PORT": "5001", "LIMIT_SIGN_INS": "3/1m", "SWAGGER_PAGE": "true"}

    padded = {
        name: invisible + f"{invisible},{invisible}".join(value.split(",")) + invisible
        for name, value in values.items()
    }

    read_settings = {name: getattr(read(env, padded), name.lower()) for name in values}
    assert repr(read_settings) == repr({name: getattr(read(env, values), name.lower()) for name in values})


@pytest.mark.parametrize("invisible", ["\u200b", "\u00ad", "\u2060", "\ufeff"], ids=ascii)
def test_cf1_zero_width_characters_inside_a_value_do_not_decide(env: pytest.MonkeyPatch, invisible: str) -> None:
    for name in ("PUBLIC_URL", "CORS_ORIGINS", "MAIL_FROM", "DATABASE_URL", "REDIS_URL", "SMTP_URL", "CODE_KEY"):
        value = PRODUCTION.get(name, "https://portal.example.org")
        pasted = read(env, PRODUCTION | {name: f"{value[:12]}{invisible}{value[12:]}"})

        assert repr(getattr(pasted, name.lower())) == repr(getattr(read(env, PRODUCTION | {name: value}), name.lower()))
    assert read(env, PRODUCTION | {"SERVICE_NAME": f"پرتال{invisible}ها "}).service_name == f"پرتال{invisible}ها"


@pytest.mark.parametrize("profile", ["test ", "test\u200b", "\ufefftest"], ids=ascii)
def test_the_profile_is_the_same_for_every_reader_of_the_env_file(
    env: pytest.MonkeyPatch, tmp_path: Path, profile: str
) -> None:
    file = tmp_path / ".env"
    file.write_text(f"APP_ENV={profile}\nHTTP_PORT=5001\n")

    assert read(env, {"APP_ENV": profile}, file).public_url == "http://127.0.0.1:5001"


def test_the_public_url_of_a_developer_is_the_listening_address(env: pytest.MonkeyPatch) -> None:
    assert read(env, {"APP_ENV": "local"}).public_url == "http://127.0.0.1:5000"
    assert read(env, {"APP_ENV": "local", "HTTP_PORT": "5005"}).public_url == "http://127.0.0.1:5005"
    named = {"APP_ENV": "test", "HTTP_PORT": "5005", "PUBLIC_URL": "http://localhost:3000"}
    assert read(env, named).public_url == "http://localhost:3000"
    assert error_for(env, {"APP_ENV": "local", "HTTP_PORT": "x"}).startswith("HTTP_PORT: ")


@pytest.mark.parametrize(
    ("value", "sent_by_browsers"),
    [
        ("https://Auth.Example.org", "https://auth.example.org"),
        ("https://auth.example.org/", "https://auth.example.org"),
        ("HTTPS://auth.example.org:443", "https://auth.example.org"),
        ("https://auth.example.org:8443", "https://auth.example.org:8443"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
    ],
)
def test_an_origin_is_normalised_to_the_form_that_browsers_send(
    env: pytest.MonkeyPatch, value: str, sent_by_browsers: str
) -> None:
    settings = read(env, PRODUCTION | {"PUBLIC_URL": value, "CORS_ORIGINS": value})

    assert settings.public_url == sent_by_browsers
    assert settings.cors_origins == (sent_by_browsers,)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("CODE_LIFETIME_SECONDS", 1),
        ("ACCESS_TOKEN_SECONDS", 1),
        ("SESSION_ABSOLUTE_SECONDS", 1),
        ("DEVICE_LIFETIME_SECONDS", 1),
        ("UNDO_SECONDS", 1),
        ("INVITATION_SECONDS", 1),
        ("REAUTHENTICATION_SECONDS", 1),
        ("TEMPORARY_USER_LIFETIME_SECONDS", 1),
        ("MAIL_TIMEOUT_SECONDS", 1),
        ("TICKET_LIFETIME_SECONDS", 600),
        ("SESSION_IDLE_SECONDS", 900),
        ("DRAIN_SECONDS", 0),
        ("REFRESH_GRACE_SECONDS", 0),
        ("LETTER_LIFETIME_SECONDS", 0),
        ("ENDED_INVITATION_LIFETIME_SECONDS", 0),
        ("ENDED_SESSION_LIFETIME_SECONDS", 0),
    ],
)
def test_lifetimes_have_a_minimum_and_a_maximum(env: pytest.MonkeyPatch, name: str, least: int) -> None:
    read(env, PRODUCTION | {name: str(least)})
    if least:
        message = error_for(env, PRODUCTION | {name: str(least - 1)})
        assert message.startswith(f"{name}: at least")
    assert "at most 900" in error_for(env, PRODUCTION | {name: str(least), "ACCESS_TOKEN_SECONDS": "901"})


def test_cd11_local_listens_beyond_loopback_only_with_an_explicit_setting(env: pytest.MonkeyPatch) -> None:
    settings = {"APP_ENV": "local", "HTTP_HOST": "0.0.0.0", "LISTEN_BEYOND_LOOPBACK": "true"}

    assert read(env, settings).http_host == "0.0.0.0"


def test_cf1_unknown_names_in_the_env_file_are_rejected(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("APP_ENV=local\nHTTP_PROT=5001\n")

    assert error_for(env, {}, file) == "HTTP_PROT: no setting has this name; did you mean HTTP_PORT?"


def test_the_environment_takes_precedence_over_the_env_file(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("APP_ENV=local\nHTTP_PORT=5001\n")

    assert read(env, {"HTTP_PORT": "5002"}, file).http_port == 5002


def test_cf3_secrets_can_be_read_from_files(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "code_key"
    file.write_text(KEYS["CODE_KEY"] + "\n")
    values = {name: value for name, value in PRODUCTION.items() if name != "CODE_KEY"}

    key = read(env, values | {"CODE_KEY_FILE": str(file)}).code_key

    assert key is not None
    assert key.get_secret_value() == KEYS["CODE_KEY"]
    file.write_text("\ufeff" + KEYS["CODE_KEY"] + "\r\n")
    assert read(env, values | {"CODE_KEY_FILE": str(file)}).code_key == key


def test_a_secret_set_twice_or_in_a_missing_file_is_rejected(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")

    assert "CODE_KEY: CODE_KEY_FILE gives it too" in error_for(env, PRODUCTION | {"CODE_KEY_FILE": missing})
    env.delenv("CODE_KEY")
    assert "CODE_KEY_FILE: cannot be read" in error_for(env, {"CODE_KEY_FILE": missing})


def test_secrets_are_not_in_the_repr(env: pytest.MonkeyPatch) -> None:
    shown = repr(read(env, PRODUCTION))

    assert KEYS["CODE_KEY"] not in shown
    assert KEYS["OUTBOX_KEY"] not in shown


def test_settings_are_frozen(env: pytest.MonkeyPatch) -> None:
    settings: Any = read(env, PRODUCTION)
    with pytest.raises(ValueError, match="frozen"):
        settings.http_port = 1


def test_the_secrets_of_a_developer_are_generated_once(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = read(env, {"APP_ENV": "local", "DATA_DIR": str(tmp_path / "data")})

    first = settings.completed(database_url="postgresql://a/b", redis_url="redis://c")
    second = settings.completed(database_url="postgresql://a/b", redis_url="redis://c")

    assert first.code_key is not None
    assert first.code_key == second.code_key
    assert first.code_key != first.outbox_key
    assert (tmp_path / "data" / "code_key.secret").stat().st_mode & 0o077 == 0
    assert settings.sender == '"Portal" <no-reply@127.0.0.1>'


def test_the_env_file_for_developers_is_complete(env: pytest.MonkeyPatch) -> None:
    settings = Settings.read(env_file=Path(__file__).parents[1] / ".env.test")

    assert settings.app_env == "test"
    assert settings.names_engines
    assert settings.smtp_url is not None
