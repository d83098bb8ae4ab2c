"""Invisible characters and separators that users paste: addresses, codes, tokens, headers; not passwords."""

import base64
import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from auth_service.cli.service_keys import service_keys
from auth_service.cli.users import users
from auth_service.models import PORTAL_ADMIN
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.application import MakeApp
from tests.support.invisible import DASH_SAMPLES, EVERY_CHARACTER, ZERO_WIDTH_SAMPLES
from tests.support.legacy_hashes import CHEAP
from tests.support.legacy_hashes import PASSWORD as OLD_PASSWORD
from tests.support.probes import Prober, endpoints, new_service_key

pytestmark = pytest.mark.slow

EVERYTHING = "".join(EVERY_CHARACTER)
NEW_PASSWORD = "another horse battery"


@pytest.fixture
def unlimited(make_app: MakeApp) -> Flask:
    """The application without rate limits."""
    return make_app(rate_limits="off")


def pasted(text: str) -> str:
    """An address as no user should have to paste it: with every invisible character."""
    half = len(text) // 2
    return f"{EVERYTHING}{text[:half]}{ZERO_WIDTH_SAMPLES}{text[half:]}{EVERYTHING}"


def separated(code: str) -> str:
    """A code with every separator."""
    return f"{EVERYTHING}{DASH_SAMPLES}{'-'.join(code)} {EVERYTHING}"


def test_in4_a_user_who_pastes_every_invisible_character_is_the_same_user(unlimited: Flask, mailbox: Mailbox) -> None:
    api = ApiClient(unlimited)
    user_id = api.register(pasted(ADA), Pasting(mailbox), password=PASSWORD)
    assert api.look_up(ADA).get_json() == api.look_up(pasted(ADA)).get_json()
    assert api.look_up(ADA).get_json()["data"]["id"] == user_id
    for spelling in (ADA, pasted(ADA)):
        assert refusal(api.try_to_sign_up(spelling))["code"] == "email_taken"

    assert api.ask_to_sign_in(pasted(ADA)).status_code == 200
    assert api.sign_in_by_code(pasted(ADA), separated(mailbox.code_sent_to(ADA))).status_code == 200
    assert api.ask_to_recover(pasted(ADA)).status_code == 200
    assert api.recover(pasted(ADA), separated(mailbox.code_sent_to(ADA)), NEW_PASSWORD).status_code == 200
    token = api.signed_in(pasted(ADA), NEW_PASSWORD)["access_token"]

    assert api.ask_to_move(token, pasted("ada@example.com"), password=NEW_PASSWORD).status_code == 200
    assert api.move(token, separated(mailbox.code_sent_to("ada@example.com"))).status_code == 200
    assert api.with_token(token, "GET", "/me").get_json()["data"]["email"] == "ada@example.com"
    token = api.signed_in("ada@example.com", NEW_PASSWORD)["access_token"]
    assert api.ask_to_leave(token).status_code == 200
    assert api.leave(token, code=separated(mailbox.code_sent_to("ada@example.com"))).status_code == 200


class Pasting(Mailbox):
    """A mailbox whose user copies the code with every separator."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def code_sent_to(self, email: str) -> str:
        return separated(self._mailbox.code_sent_to(ADA))


@pytest.mark.parametrize(
    "code", ["123 456", " 123456", "123-456", "12 34 56\r\n", "123\u2009456", "1\u200b23456\u00a0"]
)
def test_cd6_a_client_supplied_code_is_the_same_in_every_spelling(
    unlimited: Flask, mailbox: Mailbox, code: str
) -> None:
    api = ApiClient(unlimited)
    user_id = api.sign_up(ADA)

    assert api.ask_for_code(user_id, code).status_code == 200
    assert mailbox.code_sent_to(ADA) == "123456"
    assert api.confirm(user_id, "123456").status_code == 200


@pytest.mark.parametrize("code", [*("".join(f"{digit}{each}" for digit in "123456") for each in EVERY_CHARACTER)])
def test_cd6_a_wrong_spelling_uses_no_attempt_and_every_right_one_is_accepted(unlimited: Flask, code: str) -> None:
    api = ApiClient(unlimited)
    user_id = api.sign_up(ADA)
    assert api.ask_for_code(user_id, "123456").status_code == 200
    for unreadable in ("１２３４５６", "١٢٣٤٥٦", "123.456", "12345x", "123 45\u0666"):
        error = refusal(api.call("PUT", f"/{user_id}/mail", json={"code": unreadable}))
        assert [(field["field"], field["reason"]) for field in error["fields"]] == [("code", "code_invalid")]
    assert refusal(api.confirm(user_id, "654321"))["attempts_left"] == 4

    assert api.call("PUT", f"/{user_id}/mail", json={"code": code}).status_code == 200


PASTED = {
    "recovery_code": separated("7Q4M0XKD92RBHT5W1NCE8VGZ"),
    "code": separated("750575"),
    "totp": separated("492039"),
    "email": pasted(ADA),
}
"""A pasted value for each part of a field name; the first part that matches counts."""


def test_every_field_with_an_address_or_code_accepts_pasted_values(unlimited: Flask, mailbox: Mailbox) -> None:
    """Also those of endpoints that are added later: their fields have to use the types `Email` and `Code`."""
    api = ApiClient(unlimited)
    user_id = api.register(ADA, mailbox, password=PASSWORD)
    Administration(unlimited, mailbox).grant(user_id, PORTAL_ADMIN)
    prober = Prober(
        app=unlimited,
        sign_in=lambda: str(api.signed_in(ADA, PASSWORD)["access_token"]),
        service_key=new_service_key(unlimited, "tokens:introspect"),
    )
    tried = 0
    for endpoint in endpoints(unlimited):
        for field in endpoint.fields:
            value = next((value for part, value in PASTED.items() if part in field), None)
            if value is not None:
                answer = prober.send_values(endpoint, {field: value, "surprise": ""})
                wrong = {error["field"] for error in refusal(answer)["fields"]}
                assert field not in wrong, endpoint
                tried += 1
    assert tried >= 10


def test_no_two_accounts_look_alike(unlimited: Flask) -> None:
    api = ApiClient(unlimited)
    user_id = api.sign_up(ADA)

    for character in EVERY_CHARACTER:
        for spelling in (
            f"{character}{ADA}",
            f"{ADA}{character}",
            ADA.replace("@", f"{character}@"),
            ADA[:6] + character + ADA[6:],
        ):
            answer = api.try_to_sign_up(spelling)
            if answer.status_code == 422:
                assert [field["reason"] for field in refusal(answer)["fields"]] == ["email_has_spaces"]
                assert character.isspace()
            else:
                assert refusal(answer)["code"] == "email_taken"
                assert api.look_up(spelling).get_json()["data"]["id"] == user_id


@pytest.mark.parametrize("character", [" ", "\u00a0", "\u200b", "\ufeff", "\u00ad"], ids=ascii)
def test_a_password_is_never_trimmed(unlimited: Flask, mailbox: Mailbox, character: str) -> None:
    """A character at an end of a password belongs to it: trimming would make another password of it."""
    api = ApiClient(unlimited)
    password = f"{character}{PASSWORD}{character}"
    api.register(ADA, mailbox, password=password)

    assert api.sign_in(ADA, password).status_code == 200
    for other in (PASSWORD, f"{character}{PASSWORD}", f"{PASSWORD}{character}"):
        assert api.sign_in(ADA, other).status_code == 401
    token = api.signed_in(ADA, password)["access_token"]
    assert api.change_password(token, PASSWORD, NEW_PASSWORD).status_code == 403
    assert api.change_password(token, password, f"{NEW_PASSWORD} ").status_code == 200
    assert api.sign_in(ADA, NEW_PASSWORD).status_code == 401


@pytest.mark.parametrize("around", ["\n", " ", "\r\n", "\u00a0", "\u200b", "\ufeff"], ids=ascii)
def test_tokens_are_accepted_with_invisible_characters_around_them(
    unlimited: Flask, mailbox: Mailbox, around: str
) -> None:
    api = ApiClient(unlimited)
    api.register(ADA, mailbox, password=PASSWORD)
    tokens = api.signed_in(ADA, PASSWORD)
    key = new_service_key(unlimited, "tokens:introspect")
    shop = {"Authorization": f"Bearer {key}"}

    def introspect(token: str, **more: str) -> Any:
        body = {"token": token, **more}
        return api.client.post("/api/v1/tokens/introspect", json=body, headers=shop).get_json()["data"]

    hint = f"refresh_token{around}"
    refresh_token = f"{around}{tokens['refresh_token']}{around}"
    assert introspect(tokens["refresh_token"], token_type_hint=hint)["active"] is True
    assert introspect(refresh_token, token_type_hint=hint)["active"] is False, "a token is introspected unchanged"
    assert api.refresh(refresh_token).status_code == 200
    assert api.refresh(f"{tokens['refresh_token'][:9]}{around}{tokens['refresh_token'][9:]}").status_code == 401


@pytest.mark.parametrize("between", [" ", "  ", "\t", " \u00a0", " \u200b", "\ufeff "], ids=ascii)
def test_white_space_in_the_authorization_header_is_ignored(unlimited: Flask, mailbox: Mailbox, between: str) -> None:
    api = ApiClient(unlimited)
    api.register(ADA, mailbox, password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    key = new_service_key(unlimited, "tokens:introspect", "sessions:verify")
    gap = between.encode().decode("latin-1")  # as a server decodes the bytes of a header
    basic = base64.b64encode(f"shop:{key}\n".encode()).decode()

    for path, header in (("/me", f"Bearer{gap}{token}{gap}"), ("/me", f"{gap}bearer {token}")):
        assert api.call("GET", path, headers={"Authorization": header}).status_code == 200
    for header in (f"Bearer{gap}{key}{gap}", f"Basic{gap}{basic}{gap}"):
        answer = api.client.post("/api/v1/tokens/introspect", json={"token": token}, headers={"Authorization": header})
        assert answer.get_json()["data"]["active"] is True
    gateway = {"Authorization": f"Bearer {token}", "X-Service-Key": f"{gap}{key}{gap}"}
    assert api.client.get("/api/v1/sessions/verify", headers=gateway).status_code == 200
    assert api.call("GET", "/me", headers={"Authorization": f"Bearer {token[:9]}{gap}{token[9:]}"}).status_code == 401


def test_cursors_and_revert_tokens_are_accepted_with_invisible_characters_around_them(
    unlimited: Flask, mailbox: Mailbox
) -> None:
    api = ApiClient(unlimited)
    api.register(ADA, mailbox, password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    first = api.with_token(token, "GET", "/me/login_history?limit=1").get_json()
    assert api.ask_to_move(token, "ada@example.com", password=PASSWORD).status_code == 200
    assert api.move(token, mailbox.code_sent_to("ada@example.com")).status_code == 200
    link = mailbox.undo_sent_to(ADA, about="address")

    query = {"limit": "1", "cursor": f" {first['next_cursor']}\u200b\n"}
    assert api.with_token(token, "GET", "/me/login_history", query_string=query).status_code == 200
    assert api.undo(f"\u00a0{link} \r\n").status_code == 200


def test_the_dev_inbox_finds_an_address_as_it_was_pasted(app: Flask, api: ApiClient) -> None:
    services = app.extensions["auth_service"]
    api.ask_for_code(api.sign_up("ada@почта.рф"))
    with app.app_context():
        for message in services.delivery.claim(at_most=10):
            services.delivery.deliver(message, transport=services.inbox)

    for spelling in ("ada@xn--80a1acny.xn--p1ai", pasted("ada@xn--80a1acny.xn--p1ai"), " ADA@почта.рф\n"):
        answer = api.client.get("/dev/inbox", query_string={"to": spelling}, base_url="http://localhost")
        assert len(answer.get_json()["data"]) == 1, spelling
    for other in ("ada", "", "eve@example.org"):
        answer = api.client.get("/dev/inbox", query_string={"to": other}, base_url="http://localhost")
        assert answer.get_json()["data"] == []


def test_the_import_trims_addresses_and_padded_hashes_and_skips_a_byte_order_mark(unlimited: Flask) -> None:
    lines = [
        {"email": pasted(ADA), "verified": True, "password_hash": f"{next(iter(CHEAP.values()))}  \n"},
        {"email": f"{ADA} ", "verified": True},
    ]
    content = "\ufeff" + "\r\n".join(map(json.dumps, lines))
    runner: FlaskCliRunner = unlimited.test_cli_runner()

    result = runner.invoke(users, ["import", "-"], input=content.encode())

    assert result.output == "imported 1, already there 1, not verified 0, refused 0\n"
    assert ApiClient(unlimited).sign_in(ADA, OLD_PASSWORD).status_code == 200


def test_service_keys_are_created_and_revoked_by_pasted_names(unlimited: Flask) -> None:
    runner: FlaskCliRunner = unlimited.test_cli_runner()
    created = runner.invoke(service_keys, ["create", " shop\u200b", "--scope", "tokens:introspect"])
    key_id = created.stdout.split("_")[1]

    assert runner.invoke(service_keys, ["revoke", f" {key_id}\u00a0"]).stdout == f"{key_id} is revoked\n"


def test_one_device_with_white_space_in_its_user_agent_is_one_device(unlimited: Flask, mailbox: Mailbox) -> None:
    api = ApiClient(unlimited)
    api.register(ADA, mailbox, password=PASSWORD)
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"

    for agent in (firefox, f"  {firefox}\t", f"\u00a0{firefox}"):
        token = api.call(
            "POST", "/sign_in", json={"email": ADA, "password": PASSWORD}, headers={"User-Agent": agent}
        ).get_json()["data"]["access_token"]
    sessions = api.with_token(token, "GET", "/me/sessions").get_json()["data"]

    assert {session["device"] for session in sessions} == {"Firefox 143 on Linux"}
