"""Denial of service by limits: attackers on other networks cannot keep the owner of an address out (B6)."""

from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.application import MakeApp
from tests.support.races import outcome
from tests.support.stores import Query

pytestmark = pytest.mark.slow

UNUSED = "192.0.2.77"
ATTACKERS = ("198.51.100.1", "2001:db8:1:1::1", "198.51.100.3", "198.51.100.4", "198.51.100.5")
NEW = "new@example.org"

Ask = Callable[[ApiClient, str, str], int]

KINDS: dict[str, Ask] = {
    "sign_in": lambda api, email, _: api.ask_to_sign_in(email).status_code,
    "password_reset": lambda api, email, _: api.ask_to_recover(email).status_code,
    "deletion": lambda api, _, token: api.ask_to_leave(token).status_code,
}


@pytest.fixture
def token(api: ApiClient, mailbox: Mailbox, forget_everything_in_redis: Callable[[], None]) -> str:
    """Ada registered on another day; this is the access token of her session."""
    api.register(ADA, mailbox, password=PASSWORD)
    token = str(api.signed_in(ADA, PASSWORD)["access_token"])
    mailbox.deliver()
    forget_everything_in_redis()
    return token


@pytest.fixture
def old_letters(token: str, query: Query) -> None:
    """The emails of the registration were sent on another day."""
    query("UPDATE letters SET created_at = created_at - interval '2 days'")


def attack(app: Flask, addresses: tuple[str, ...], email: str) -> list[int]:
    """Request as many codes as possible, and fail passwords, from each network; returns the statuses of the codes."""
    statuses = []
    for address in addresses:
        attacker = ApiClient(app, address=address, cookies=False)
        for number in range(4):
            statuses.append((attacker.ask_to_recover if number % 2 else attacker.ask_to_sign_in)(email).status_code)
        for number in range(6):
            attacker.sign_in(email, f"a wrong password {number}")
    return statuses


@pytest.mark.parametrize("networks", [2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_owner_gets_a_code_of_every_kind_on_an_unused_network(
    token: str, old_letters: None, app: Flask, mailbox: Mailbox, kind: str, networks: int
) -> None:
    attack(app, ATTACKERS[:networks], ADA)
    mailbox.deliver()  # so that the email of the owner arrives after theirs
    owner = ApiClient(app, address=UNUSED)

    assert KINDS[kind](owner, ADA, token) == 200

    code = mailbox.code_sent_to(ADA)
    answers = {
        "sign_in": lambda: owner.sign_in_by_code(ADA, code),
        "password_reset": lambda: owner.recover(ADA, code, "another horse battery"),
        "deletion": lambda: owner.leave(token, code=code),
    }
    assert answers[kind]().status_code == 200


def test_the_owner_of_a_new_address_gets_its_registration_code(app: Flask, mailbox: Mailbox) -> None:
    owner = ApiClient(app, address=UNUSED)
    user_id = owner.sign_up(NEW)
    for address in ATTACKERS:
        attacker = ApiClient(app, address=address)
        for _ in range(4):
            attacker.ask_for_code(user_id)

    assert owner.ask_for_code(user_id).status_code == 200
    assert owner.confirm(user_id, mailbox.code_sent_to(NEW)).status_code == 200
    assert owner.ask_again(user_id).status_code == 429, "one of the reserved share"
    assert owner.finish(user_id).status_code == 200


def test_the_owner_can_move_to_an_address_whose_codes_attackers_requested(
    token: str, app: Flask, mailbox: Mailbox
) -> None:
    attack(app, ATTACKERS, NEW)
    owner = ApiClient(app, address=UNUSED)

    assert owner.ask_to_move(token, NEW, password=PASSWORD).status_code == 200
    assert owner.move(token, mailbox.code_sent_to(NEW)).status_code == 200


def test_the_owner_signs_in_by_password_on_an_unused_network(
    token: str, app: Flask, lasting_pauses: Callable[[], None]
) -> None:
    attack(app, ATTACKERS, ADA)
    lasting_pauses()
    owner = ApiClient(app, address=UNUSED, cookies=False)

    for _ in range(3):
        assert owner.sign_in(ADA, PASSWORD).status_code == 200, "a success uses up nothing"
    assert outcome(owner.sign_in(ADA, "a typing error")) == (401, "credentials_rejected")
    assert outcome(owner.sign_in(ADA, PASSWORD)) == (429, "too_many_attempts")


@pytest.mark.slow
def test_en3_known_and_unknown_addresses_have_the_same_shares(token: str, old_letters: None, app: Flask) -> None:
    statuses = {email: attack(app, (*ATTACKERS, UNUSED), email) for email in (ADA, "unknown@example.org")}

    assert statuses[ADA] == statuses["unknown@example.org"]
    assert statuses[ADA] == [200, 200, 200, 429] * 2 + [200, 429, 429, 429] * 4


def test_six_networks_use_up_the_codes_of_a_day(token: str, old_letters: None, app: Flask, mailbox: Mailbox) -> None:
    attack(app, (*ATTACKERS, "198.51.100.6"), ADA)

    answer = ApiClient(app, address=UNUSED).ask_to_sign_in(ADA)

    assert outcome(answer) == (429, "too_many_codes")
    assert 80_000 < int(answer.headers["Retry-After"]) <= 86_400
    assert mailbox.deliver() == ["sent"] * 10


@pytest.mark.slow
def test_a_flush_of_redis_frees_the_shares_and_not_the_ten_codes_of_the_day(
    token: str, old_letters: None, app: Flask, mailbox: Mailbox, forget_everything_in_redis: Callable[[], None]
) -> None:
    sent = []
    for address in ATTACKERS[:4]:
        attack(app, (address,), ADA)
        sent.append(len(mailbox.deliver()))
        forget_everything_in_redis()

    assert sent == [3, 3, 3, 1]
    assert ApiClient(app, address=UNUSED).ask_to_sign_in(ADA).status_code == 200, "the same answer as without a user"
    assert mailbox.deliver() == []


def test_a_network_gets_three_codes_an_hour_and_four_a_day(
    make_app: MakeApp, app: Flask, pass_time: Callable[..., None]
) -> None:
    api = ApiClient(app, address=UNUSED)
    user_id = api.sign_up(NEW)
    statuses = []
    for hours in (0, 1, 22, 1):
        pass_time(hours=hours, minutes=1)
        statuses.append([api.ask_for_code(user_id).status_code for _ in range(4)])

    assert statuses[0] == [200, 200, 200, 429]
    assert statuses[1] == [200, 429, 429, 429]
    assert statuses[2] == [429] * 4
    assert statuses[3] == [200, 200, 200, 429], "the three of the first hour have ended"
