"""Reset of second factors: by an administrator, by a command, by the account revert; key rotation."""

import base64
from collections.abc import Callable

from flask import Flask

from auth_service.cli.keys import keys
from auth_service.cli.users import users
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.races import together
from tests.support.second_factor import ProtectedUser, begin, enrolled
from tests.support.stores import SECOND_FACTOR_KEY, Query

EVERYTHING = "SELECT (SELECT count(*) FROM second_factors), (SELECT count(*) FROM recovery_codes)"
OTHER_KEY = "tests-only-rotated-0123456789-abcdefghijklmnopqrstuvwxyz"


def test_ad6_an_administrator_resets_the_second_factors_of_a_user(
    app: Flask, ada: int, protected: ProtectedUser, mailbox: Mailbox, query: Query
) -> None:
    admin = Administration(app, mailbox).administrator()
    details = admin.data("GET", f"/admin/users/{ada}")
    assert details["second_factor"] == {"totp": True, "passkeys": 0, "recovery_codes_left": 10}

    for _ in range(2):  # idempotent
        admin.data("POST", f"/admin/users/{ada}/reset_second_factor", json={"reason": "lost phone"})

    assert query(EVERYTHING) == [(0, 0)]
    assert not protected.api.is_signed_in(protected.access_token)
    assert protected.api.sign_in(ADA, PASSWORD).status_code == 200
    assert any("was reset" in letter.subject for letter in mailbox.letters_to(ADA))
    assert admin.data("GET", f"/admin/users/{ada}")["second_factor"]["totp"] is False


def test_ad6_the_own_second_factor_and_that_of_a_superior_cannot_be_reset(
    app: Flask, mailbox: Mailbox, ada: int
) -> None:
    administration = Administration(app, mailbox)
    admin = administration.administrator()
    support = administration.with_permissions("support@example.org", "users:write")
    body = {"json": {"reason": "a test"}}

    assert admin.error("POST", f"/admin/users/{admin.user_id}/reset_second_factor", **body) == (403, "not_to_yourself")
    assert admin.error("POST", "/admin/users/4711/reset_second_factor", **body) == (404, "user_unknown")
    assert support.error("POST", f"/admin/users/{admin.user_id}/reset_second_factor", **body) == (
        403,
        "beyond_your_own",
    )


def test_the_operator_resets_the_second_factors_of_a_user(app: Flask, protected: ProtectedUser, query: Query) -> None:
    result = app.test_cli_runner().invoke(users, ["reset-second-factor", ADA])

    assert (result.exit_code, result.output) == (0, f"{ADA} has no second factor\n")
    assert query(EVERYTHING) == [(0, 0)]
    assert query("SELECT actor_type FROM events WHERE kind = 'second_factor.reset'") == [("system",)]


def test_pk7_the_account_revert_removes_the_totp_that_an_intruder_added(
    app: Flask, ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    api.signed_in(ADA, PASSWORD)
    intruder = ApiClient(app, address="198.51.100.9")
    enrolled(intruder, ADA, query)

    assert api.undo(mailbox.undo_sent_to(ADA, about="new device")).status_code == 200

    assert query(EVERYTHING) == [(0, 0)]


def test_the_account_revert_keeps_the_totp_of_the_owner(
    app: Flask, protected: ProtectedUser, mailbox: Mailbox, query: Query
) -> None:
    query("UPDATE second_factors SET confirmed_at = confirmed_at - interval '1 day' RETURNING 1")
    query("UPDATE recovery_codes SET created_at = created_at - interval '1 day' RETURNING 1")
    intruder = ProtectedUser(api=ApiClient(app, address="198.51.100.9"), email=ADA, app=protected.app, query=query)
    intruder.signed_in()

    assert protected.api.undo(mailbox.undo_sent_to(ADA, about="new device")).status_code == 200

    assert query(EVERYTHING) == [(1, 10)]


def test_az8_a_deleted_account_leaves_no_second_factor(protected: ProtectedUser, query: Query) -> None:
    assert protected.call("DELETE", "/me", json={"password": PASSWORD}).status_code == 200

    assert query(EVERYTHING) == [(0, 0)]


def test_the_data_export_has_the_second_factor_without_secrets(protected: ProtectedUser) -> None:
    answer = protected.call("GET", "/me/export")

    exported = answer.get_json()["data"]["second_factor"]
    assert exported["totp_since"]
    assert exported["recovery_codes_left"] == 10
    assert protected.app.secret not in answer.text


def test_sf13_a_key_is_rotated_while_users_sign_in(
    app: Flask, make_app: Callable[..., Flask], protected: ProtectedUser, query: Query
) -> None:
    rotated = make_app(second_factor_key=OTHER_KEY, second_factor_key_previous=SECOND_FACTOR_KEY)
    finished = make_app(second_factor_key=OTHER_KEY)

    def signs_in_at(app: Flask) -> int:
        user = ProtectedUser(api=ApiClient(app), email=ADA, app=protected.app, query=query)
        return user.second_step(user.ticket(), totp=user.unused_code()).status_code

    assert [signs_in_at(each) for each in (app, rotated, finished)] == [200, 200, 401]
    result = rotated.test_cli_runner().invoke(keys, ["reseal"])
    assert (result.exit_code, result.output) == (0, "1 resealed, 0 not readable with either key\n")
    query("UPDATE second_factors SET failures = 0 RETURNING 1")
    assert [signs_in_at(each) for each in (rotated, finished)] == [200, 200]
    again = rotated.test_cli_runner().invoke(keys, ["reseal"])
    assert again.output.startswith("0 resealed")
    broken = app.test_cli_runner().invoke(keys, ["reseal"])
    assert (broken.exit_code, broken.output) == (1, "0 resealed, 1 not readable with either key\n")


def test_sf13_while_secrets_are_encrypted_anew_no_sign_in_is_refused(
    make_app: Callable[..., Flask], protected: ProtectedUser, query: Query
) -> None:
    rotated = make_app(second_factor_key=OTHER_KEY, second_factor_key_previous=SECOND_FACTOR_KEY)
    user = ProtectedUser(api=ApiClient(rotated), email=ADA, app=protected.app, query=query)
    [(sealed,)] = query("SELECT secret FROM second_factors")

    def sign_in() -> list[int]:
        return [user.second_step(user.ticket(), totp=user.unused_code()).status_code for _ in range(10)]

    def reseal() -> list[str]:
        outputs = []
        for _ in range(10):
            query("UPDATE second_factors SET secret = %s RETURNING 1", sealed)
            outputs.append(rotated.test_cli_runner().invoke(keys, ["reseal"]).output)
        return outputs

    statuses, outputs = together(sign_in, reseal)

    assert statuses == [200] * 10
    assert outputs == ["1 resealed, 0 not readable with either key\n"] * 10


def test_sf13_a_dump_of_the_tables_contains_no_secret_and_no_recovery_code(
    api: ApiClient, token: str, query: Query
) -> None:
    def dump() -> str:
        tables = ("second_factors", "recovery_codes", "users", "sessions", "events", "letters")
        rows = (row for table in tables for row in query(f"SELECT {table}::text FROM {table}"))
        return "".join(map(str, rows)).lower()

    pending = begin(api, token)["secret"]
    dumped = dump()
    user = enrolled(api, ADA, query, token=token)
    dumped += dump()

    seeds = [base64.b32decode(secret).hex() for secret in (pending, user.app.secret)]
    codes = [spelling for code in user.recovery_codes for spelling in (code, code.replace("-", ""))]
    assert [each for each in (pending, user.app.secret, *seeds, *codes) if each.lower() in dumped] == []


def test_sf13_the_sealed_secret_of_another_user_does_not_open(
    app: Flask, protected: ProtectedUser, mailbox: Mailbox, query: Query
) -> None:
    api = ApiClient(app)
    other_id = api.register("grace@example.org", mailbox, password=PASSWORD)
    other = enrolled(api, "grace@example.org", query)
    query(
        "UPDATE second_factors SET secret = (SELECT secret FROM second_factors WHERE user_id <> %s)"
        " WHERE user_id = %s RETURNING 1",
        other_id,
        other_id,
    )

    for code in (protected.unused_code(), other.unused_code()):
        assert refusal(other.second_step(other.ticket(), totp=code))["code"] == "second_factor_rejected"
