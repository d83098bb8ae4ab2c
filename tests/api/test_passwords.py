"""Password policy and password hashes at registration: accepted passwords, reasons of rejection, what is stored."""

import time
import unicodedata
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from flask import Flask
from werkzeug.test import TestResponse
from zxcvbn import matching

from auth_service.services.credentials.passwords import ALIKE
from auth_service.settings import Settings, SettingsRefused
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.crowds import occupied
from tests.support.stores import Stores

ADA = "Ada.Lovelace@example.org"
GOOD = "correct horse battery"


@pytest.fixture
def crew(make_app: MakeApp) -> Flask:
    """An application without rate limits that hashes one password at a time."""
    return make_app(rate_limits="off", hashes_at_once=1, service_name="Analytical Engine")


def confirmed_user(app: Flask, email: str = ADA) -> tuple[ApiClient, int]:
    """A user who has confirmed the address and has not set a password yet."""
    api = ApiClient(app)
    user_id = api.sign_up(email)
    api.ask_for_code(user_id, 7505)
    assert api.confirm(user_id, 7505).status_code == 200
    return api, user_id


@pytest.fixture
def choose(crew: Flask) -> Callable[[Any], TestResponse]:
    """Set the first password; may be called again until one is accepted."""
    api, user_id = confirmed_user(crew)
    return lambda password: api.finish(user_id, password=password)


@pytest.fixture
def kept(stores: Stores) -> Callable[[], list[str | None]]:
    """The password hashes in the database."""

    def read() -> list[str | None]:
        with psycopg2.connect(stores.database_url.replace("+psycopg2", "")) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT password_hash FROM users ORDER BY created_at")
            rows = [row[0] for row in cursor.fetchall()]
        connection.close()
        return rows

    return read


def check_refused(answer: TestResponse, reason: str) -> None:
    """Check that a password was rejected for this reason."""
    assert answer.status_code == 422, answer.text
    error = answer.json["error"]  # type: ignore[index]
    [field] = error["fields"]
    assert (error["code"], field["field"]) == ("validation_failed", "password")
    assert reason in field["msg"]


def test_pw1_the_minimum_length_is_eight_code_points(choose: Callable[[Any], TestResponse]) -> None:
    for short in ("", "x", "zkwvqpy", "пароль7", "🦉🦉🦉🦉🦉🦉🦉"):
        check_refused(choose(short), "at least 8 characters")
    assert choose("🦉🐍🐢🦊🐙🐝🦋🐌").status_code == 200


def test_pw1_the_minimum_length_may_be_raised_and_never_lowered(
    make_app: MakeApp, make_settings: Callable[..., Settings]
) -> None:
    api, user_id = confirmed_user(make_app(password_min_length=15))
    check_refused(api.finish(user_id, password="zkwvqpy zkwvqp"), "at least 15 characters")
    assert api.finish(user_id, password="zkwvqpy zkwvqpy").status_code == 200
    for length in (0, 7, 16):
        with pytest.raises(SettingsRefused, match="PASSWORD_MIN_LENGTH"):
            make_settings(password_min_length=length)


def test_pw2_the_maximum_length_is_128_code_points(choose: Callable[[Any], TestResponse]) -> None:
    longest = "🦉" + "owl " * 31 + "zzz"
    for long in (longest + "z", "z" * 15_000, "\ufdfa" * 8):  # NFKC expands each to eighteen characters
        check_refused(choose(long), "at most 128 characters")
    assert choose(longest).status_code == 200


def test_pw2_a_decomposed_password_that_can_be_set_is_accepted_at_sign_in(
    crew: Flask, choose: Callable[[Any], TestResponse]
) -> None:
    """A keyboard that sends combining accents (NFD) sends up to four characters for each of the 128."""
    typed = unicodedata.normalize("NFD", "ΐ lazy õwl" * 12 + "ΐΰᾧ jum")
    assert len(typed) > 128
    assert len(unicodedata.normalize("NFKC", typed)) <= 128
    assert choose(typed).status_code == 200
    api = ApiClient(crew)

    tokens = api.signed_in(ADA, typed)

    new = {"current_password": typed, "new_password": GOOD}
    assert api.with_token(tokens["access_token"], "PUT", "/me/password", json=new).status_code == 200
    assert api.sign_in(ADA, "z" * 1024).status_code == 401
    assert api.sign_in(ADA, "z" * 1025).status_code == 422


def test_pw2_passwords_are_not_truncated(choose: Callable[[Any], TestResponse]) -> None:
    stem = "z" * 70 + "owl" * 19
    assert choose(f"{stem}1").status_code == 200

    assert choose(f"{stem}1").status_code == 200
    for other in (stem, f"{stem}2", f"{stem}1 ", f" {stem}1", stem[:72]):
        assert choose(other).json["error"]["code"] == "password_already_set"  # type: ignore[index]


def test_pw2_a_rejected_password_is_never_hashed(crew: Flask, choose: Callable[[Any], TestResponse]) -> None:
    services: Services = crew.extensions["auth_service"]
    with occupied(services.registration.passwords.hasher):  # by concurrent requests
        check_refused(choose("z" * 15_000), "at most 128 characters")
        check_refused(choose("password"), "common")
        busy = choose(GOOD)

    assert (busy.status_code, busy.json["error"]["code"]) == (503, "service_busy")  # type: ignore[index]
    assert int(busy.headers["Retry-After"]) >= 1
    assert choose(GOOD).status_code == 200


@pytest.mark.parametrize(
    "password",
    ["all lower case", "ALL UPPER CASE", "8374 1920", "zqzzowlzqz", "пароль совы", "!?;%:?*()_", "  spaces  "],
)
def test_pw3_there_are_no_composition_rules(choose: Callable[[Any], TestResponse], password: str) -> None:
    assert choose(password).status_code == 200


@pytest.mark.parametrize(
    ("typed", "typed_again"),
    [
        ("caf\u00e9 au lait", "cafe\u0301 au lait"),
        ("ｃａｆｅ au lait", "cafe au lait"),
        ("ﬁne ﬁnches", "fine finches"),
        ("Ⅷ horses run", "VIII horses run"),
    ],
)
def test_pw4_passwords_are_normalized_with_nfkc(
    choose: Callable[[Any], TestResponse], kept: Callable[[], list[str | None]], typed: str, typed_again: str
) -> None:
    assert choose(typed).status_code == 200
    assert choose(typed_again).status_code == 200
    [password_hash] = kept()
    assert password_hash is not None
    assert PasswordHasher().verify(password_hash, unicodedata.normalize("NFKC", typed))


@pytest.mark.parametrize("character", ["\a", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\x9f"], ids=ascii)
def test_pw4_control_characters_are_rejected(choose: Callable[[Any], TestResponse], character: str) -> None:
    check_refused(choose(f"correct{character}horse"), "control characters")


def test_pw4_nul_surrogates_and_other_types_are_rejected(crew: Flask, choose: Callable[[Any], TestResponse]) -> None:
    check_refused(choose("correct\0horse"), "NUL")
    for other in (12345678, 1.5, True, ["correct horse"], {"a": "correct horse"}):
        check_refused(choose(other), "string")
    for surrogate in ("\\ud800", "\\udfff", "\\udc00\\ud800"):
        answer = crew.test_client().patch(
            "/api/v1/users/1/sign_up", data=f'{{"password":"correct{surrogate}horse"}}', content_type="application/json"
        )
        assert (answer.status_code, answer.json["error"]["code"]) == (400, "body_not_json")  # type: ignore[index]


def test_pw5_passwords_are_stored_as_salted_argon2id_hashes(crew: Flask, kept: Callable[[], list[str | None]]) -> None:
    for email in (ADA, "eve@example.org"):
        api, user_id = confirmed_user(crew, email)
        assert api.finish(user_id, password=GOOD).status_code == 200

    hashes = [password_hash for password_hash in kept() if password_hash]
    assert len({password_hash.rpartition("$")[2] for password_hash in hashes}) == 2  # each has its own salt
    for password_hash in hashes:
        assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        parameters = extract_parameters(password_hash)
        assert (parameters.salt_len, parameters.hash_len) == (16, 32)
        assert PasswordHasher().verify(password_hash, GOOD)
        with pytest.raises(VerifyMismatchError):
            PasswordHasher().verify(password_hash, GOOD + " ")


COMMON = [
    "password",
    "PassWord",
    "12345678",
    "qwertyuiop",
    "1q2w3e4r5t6y",
    "trustno1",
    "iloveyou1",
    "ｐａｓｓｗｏｒｄ",
    "ＰＡＳＳＷＯＲＤ",
]


@pytest.mark.parametrize("password", COMMON)
def test_pw7_common_passwords_are_rejected(choose: Callable[[Any], TestResponse], password: str) -> None:
    check_refused(choose(password), "most common")


@pytest.mark.parametrize(
    "password",
    [
        "Ada.Lovelace@example.org", "ada.lovelace@EXAMPLE.ORG", "ada.lovelace", "ADA.LOVELACE", "ada.lovelace1815",
        "1815ada.lovelace", "ａｄａ．ｌｏｖｅｌａｃｅ", "Analytical Engine", "analytical engine2026",
    ],
)  # fmt: skip
def test_pw7_the_address_and_the_service_name_are_rejected_as_passwords(
    choose: Callable[[Any], TestResponse], password: str
) -> None:
    check_refused(choose(password), "not the address")


@pytest.mark.parametrize(
    "password",
    ["00000000", "aaaaaaaa", "abcdefgh", "87654321", "12345678901", " " * 8, "\u200b" * 9, "Password123!", "a" * 128],
)
def test_pw7_easily_guessed_passwords_are_rejected(choose: Callable[[Any], TestResponse], password: str) -> None:
    check_refused(choose(password), "one of the first that an attacker would try")


@pytest.mark.parametrize("password", ["lovelace", "x lovelace", "Lovelace-2026!", "example.org", "lovelacelovelace"])
def test_pw7_slightly_changed_context_words_are_rejected(choose: Callable[[Any], TestResponse], password: str) -> None:
    check_refused(choose(password), "not the address")


def test_pw7_the_strength_of_the_longest_password_is_estimated_in_seconds(
    choose: Callable[[Any], TestResponse],
) -> None:
    began = time.process_time()

    assert choose(("4@8({[<3690!1|7$5" * 8)[:128]).status_code == 200

    assert time.process_time() - began < 5  # an estimate over all 128 characters together takes minutes


def test_pw7_registration_can_be_finished_after_a_rejected_password(
    choose: Callable[[Any], TestResponse], kept: Callable[[], list[str | None]]
) -> None:
    check_refused(choose("password"), "most common")
    assert kept() == [None]

    finished = choose(GOOD)

    assert finished.json["data"]["roles"] == ["ROLE_PORTAL_USER"]  # type: ignore[index]


@pytest.mark.parametrize("body", [{}, {"password": None}])
def test_pw11_an_account_without_a_password_matches_no_password(
    crew: Flask, kept: Callable[[], list[str | None]], body: dict[str, Any]
) -> None:
    api, user_id = confirmed_user(crew)
    assert api.finish(user_id, **body).status_code == 200

    assert kept() == [None]
    services: Services = crew.extensions["auth_service"]
    assert not any(services.registration.passwords.verify(candidate, None).matches for candidate in ("", "None", GOOD))
    # A repeated request cannot add one either.
    assert api.finish(user_id, password=GOOD).json["error"]["code"] == "password_already_set"  # type: ignore[index]
    assert kept() == [None]


def test_api4_the_strength_estimate_tries_few_leetspeak_readings() -> None:
    """Each leetspeak reading of a password costs the strength estimate a pass through all its dictionaries."""
    signs = "".join({sign for several in matching.L33T_TABLE.values() for sign in several})
    assert len(_readings(signs)) > 500

    assert len(_readings(signs.translate(ALIKE))) <= 8


def _readings(chosen: str) -> list[dict[str, str]]:
    return list(matching.enumerate_l33t_subs(matching.relevant_l33t_subtable(chosen, matching.L33T_TABLE)))


def test_pw11_an_empty_password_is_not_a_missing_password(choose: Callable[[Any], TestResponse]) -> None:
    check_refused(choose(""), "at least 8 characters")
