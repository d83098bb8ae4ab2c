"""New-device notifications: which sign-ins send the email, and which do not."""

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.stores import Query

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)


def new_device_emails(mailbox: Mailbox, email: str = ADA) -> int:
    """How many emails about a new device a user has received."""
    return sum("undo#" in message.text for message in mailbox.letters_to(email))


def sign_in(api: ApiClient, agent: str = FIREFOX) -> None:
    """Sign in with this user agent."""
    body = {"email": ADA, "password": PASSWORD}
    assert api.call("POST", "/sign_in", json=body, headers={"User-Agent": agent}).status_code == 200


@pytest.mark.clock
def test_lg4_the_first_session_after_a_registration_sends_no_notification(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    sign_in(api)
    assert new_device_emails(mailbox) == 0

    sign_in(api)  # the device is known by now
    assert new_device_emails(mailbox) == 0
    sign_in(ApiClient(app, address="198.51.100.9"))
    assert new_device_emails(mailbox) == 1


@pytest.mark.clock
def test_lg4_a_first_session_a_day_after_the_registration_sends_a_notification(
    ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    query("UPDATE users SET verified_at = now() - interval '25 hours'")
    sign_in(api)

    assert new_device_emails(mailbox) == 1


@pytest.mark.clock
def test_lg4_a_new_device_after_a_sign_out_sends_a_notification(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    tokens = api.signed_in(ADA, PASSWORD)
    api.with_token(tokens["access_token"], "POST", "/sign_out")
    sign_in(ApiClient(app))

    assert new_device_emails(mailbox) == 1


@pytest.mark.clock
def test_lg4_clients_without_cookies_send_one_notification_per_device_network_and_day(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    sign_in(api)
    for last in range(1, 6):
        sign_in(ApiClient(app, address=f"2001:db8::{last}"))
    assert new_device_emails(mailbox) == 1, "one device in one network"

    sign_in(ApiClient(app, address="2001:db8:0:1::1"))
    assert new_device_emails(mailbox) == 2, "another network"
    sign_in(ApiClient(app, address="2001:db8::1"), CHROME)
    assert new_device_emails(mailbox) == 3, "another device"
    query(
        "UPDATE letters SET dedup_key = replace(dedup_key, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'earlier')"
    )
    sign_in(ApiClient(app, address="2001:db8::1"))
    assert new_device_emails(mailbox) == 4, "another day"


@pytest.mark.clock
def test_lg4_after_a_password_reset_a_known_device_sends_a_notification_again(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    sign_in(api)
    sign_in(ApiClient(app, address="198.51.100.9"))
    assert new_device_emails(mailbox) == 1
    api.call("POST", "/password/send_code", json={"email": ADA})
    code = mailbox.code_sent_to(ADA)
    api.call("PUT", "/password", json={"email": ADA, "code": code, "new_password": PASSWORD})

    sign_in(ApiClient(app, address="198.51.100.9"))

    assert new_device_emails(mailbox) == 2
