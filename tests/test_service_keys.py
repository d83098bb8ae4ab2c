"""`manage.py service-keys`: creation, listing and revocation of service keys by an operator."""

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.cli.service_keys import service_keys
from tests.support.service_client import Shop


@pytest.mark.clock
def test_an_operator_creates_lists_and_revokes_a_service_key(app: Flask) -> None:
    runner: FlaskCliRunner = app.test_cli_runner()

    result = runner.invoke(service_keys, ["create", "shop", "--scope", "tokens:introspect", "--days", "30"])

    key = result.stdout.strip()
    key_id = key.split("_")[1]
    assert result.stderr.startswith(f"{key_id} is valid until ")
    assert Shop(app, key).ask("x").status_code == 200
    listed = runner.invoke(service_keys, ["list"]).output
    assert listed.startswith(f"{key_id}  shop  tokens:introspect  until ")
    assert "used 20" in listed
    assert key not in listed

    assert runner.invoke(service_keys, ["revoke", key_id]).output == f"{key_id} is revoked\n"

    assert Shop(app, key).ask("x").status_code == 401
    assert "  revoked 20" in runner.invoke(service_keys, ["list"]).output
    again = runner.invoke(service_keys, ["revoke", key_id])
    assert (again.exit_code, again.output) == (1, "Error: there is no live key with this id\n")


def test_an_operator_sees_why_a_service_key_is_not_created(app: Flask) -> None:
    runner = app.test_cli_runner()
    create = ["create", "shop", "--scope", "sessions:verify"]
    assert [runner.invoke(service_keys, create).exit_code for _ in range(2)] == [0, 0]

    third = runner.invoke(service_keys, create)

    assert (third.exit_code, third.output) == (1, "Error: two keys of shop are live; revoke one first\n")
    assert "never used" in runner.invoke(service_keys, ["list"]).output
    for odd in (["create", "shop"], ["create", "shop", "--scope", "everything"]):
        assert runner.invoke(service_keys, odd).exit_code != 0


@pytest.mark.parametrize("days", ["0", "-1", "367", "9" * 30])
def test_an_operator_sees_the_allowed_ttl_of_a_service_key(app: Flask, days: str) -> None:
    result = app.test_cli_runner().invoke(
        service_keys, ["create", "shop", "--scope", "sessions:verify", "--days", days]
    )

    assert result.exit_code == 2
    assert result.output.endswith(f"Error: Invalid value for '--days': {days} is not in the range 1<=x<=366.\n")
