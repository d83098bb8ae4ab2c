"""Settings of second factors: the replaced key, and the relying party of passkeys."""

from pathlib import Path

import pytest

from auth_service.settings import Settings, SettingsRefused

PRODUCTION = {
    "app_env": "production",
    "database_url": "postgresql://auth:pw@db/auth",
    "redis_url": "redis://:pw@redis/0",
    "smtp_url": "smtp://mail.example.org",
    "mail_from": "no-reply@example.org",
    "public_url": "https://auth.example.org",
    "code_key": "vxkq8Zr1mN4tYw7uPa2sDf5gHj6kL9zXcVbQeRtYuIoPaSdF",
    "outbox_key": "qW3eR5tY7uI9oP1aS2dF4gH6jK8lZ0xCvBnM1QwErTyUiOpA",
    "session_key": "mN8bV6cX4zL2kJ0hG9fD7sA5pO3iU1yT-rEwQ1aZ2xS3cD4v",
    "keyring_key": "Zx9Cv8Bn7Ml6Kj5Hg4Fd3Sa2Po1Iu0Yt-Re9Wq8Az7Sx6Dc5F",
    "second_factor_key": "Qp0Wo9Ei8Ru7Ty6-Gh5Fj4Dk3Sl2Az1Xm0Cn9Vb8Qw7Er6T",
}
PREVIOUS = "Hy6Gt5Fr4De3Sw2Aq1Zx0Cv9Bn8Ml7Kj-Ui6Yt5Re4Wq3Po2"


def read(**values: str) -> Settings:
    """Settings of production; `values` take precedence."""
    return Settings.read(env_file=None, **(PRODUCTION | values))


def error_for(**values: str) -> str:
    """The error for invalid values."""
    with pytest.raises(SettingsRefused) as error:
        read(**values)
    return str(error.value)


def test_a_replaced_key_is_optional_and_checked_like_the_others(tmp_path: Path) -> None:
    (tmp_path / "previous").write_text(PREVIOUS)

    settings = read(second_factor_key_previous_file=str(tmp_path / "previous"))

    assert settings.second_factor_key_previous is not None
    assert settings.second_factor_key_previous.get_secret_value() == PREVIOUS
    assert read().second_factor_key_previous is None
    for weak in ("short", PRODUCTION["second_factor_key"]):
        assert "SECOND_FACTOR_KEY_PREVIOUS" in error_for(second_factor_key_previous=weak)


def test_the_relying_party_of_passkeys_is_the_host_of_the_public_url_or_a_parent_domain() -> None:
    default = read()

    assert default.relying_party_id == "auth.example.org"
    assert default.passkey_origins == {"https://auth.example.org"}
    assert read(webauthn_rp_id="Auth.Example.org").relying_party_id == "auth.example.org"
    parent = read(webauthn_rp_id="example.org", webauthn_origins="https://shop.example.org")
    assert parent.relying_party_id == "example.org"
    assert parent.passkey_origins == {"https://auth.example.org", "https://shop.example.org"}


@pytest.mark.parametrize(
    "rp_id",
    ["org", "other.org", "uth.example.org", "x.auth.example.org", "https://example.org", "example.org.", "é.org"],
)
def test_cf2_a_relying_party_that_browsers_refuse_stops_the_start(rp_id: str) -> None:
    assert "WEBAUTHN_RP_ID" in error_for(webauthn_rp_id=rp_id)


def test_passkeys_work_on_localhost_outside_production() -> None:
    local = {"app_env": "local", "http_port": "5007", "public_url": "http://127.0.0.1:5007"}

    settings = read(**local, webauthn_origins="http://localhost:5173")

    assert settings.relying_party_id == "localhost"
    assert settings.passkey_origins == {
        "http://127.0.0.1:5007",
        "http://localhost:5007",
        "http://localhost:5173",
    }
    assert "WEBAUTHN_RP_ID" in error_for(**local, webauthn_rp_id="example.org")


def test_in_production_administrators_need_a_second_factor_unless_a_setting_says_otherwise() -> None:
    assert read().second_factor_roles == {"ROLE_PORTAL_ADMIN"}
    assert read(second_factor_roles="none").second_factor_roles == frozenset()
    assert read(second_factor_roles="ROLE_EDITOR, ROLE_AUDITOR").second_factor_roles == {"ROLE_EDITOR", "ROLE_AUDITOR"}
    assert read(app_env="test").second_factor_roles == frozenset()
