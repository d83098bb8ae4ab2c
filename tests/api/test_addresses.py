"""Email addresses: validation, length, internationalized domains, and equality of two addresses."""

import json
from urllib.parse import quote

import pytest

from tests.support.actors import USERS
from tests.support.live import Live, check_refusal

SIGN_UP = f"{USERS}/sign_up"

pytestmark = pytest.mark.usefixtures("nothing_is_lost")


def email(text: str) -> bytes:
    """A sign-up body with this address."""
    return json.dumps({"email": text}).encode()


INVALID_ADDRESSES = [
    "=?utf-8?q?x?=@example.org", "", " ", "ada", "@", "ada@", "@example.org", "ada@@example.org", "ada@localhost",
    "ada@org", "ada@example..org",
    ".ada@example.org", "ada.@example.org", "a..da@example.org", "ada@-example.org", "ada@example-.org", "ada@.org",
    "ada@example.org.", "ada @example.org", "ada\u00a0@example.org", "ada@exam ple.org",
    '"ada lovelace"@example.org', '"ada"@example.org', "ada(countess)@example.org", "ada@(here)example.org",
    "ada@[127.0.0.1]", "ada@[IPv6:::1]", "ada@127.0.0.1", "ada@0x7f000001",
    "ada@example.org,eve@example.org", "ada@example.org;eve@example.org", "ada@example.org eve@example.org",
    "<ada@example.org>", "Ada <ada@example.org>", "mailto:ada@example.org", "ada@example.org\r\nBcc: eve@example.org",
    "ada\r\n@example.org", "ada\t@example.org", "ada\u0007@example.org", "ada\u007f@example.org",
    "ada\u0000@example.org", "ada@example.org\u0000", "\u200b", "\ufeff@example.org", "ada@\u00ad",
    "ada@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", "аda@example.org", "ädä@example.org", "😀@example.org",
    "ada，eve@example.org", "ada@exa\u2100mple.org", "ada@xn--a.org", "ada@" + "a" * 64 + ".org",
    "a" * 65 + "@example.org",
    "ada@example_.org", "ada%example.org", "ada\\@example.org",
    "ada@exam%70le.org", "ada@example.org?x", "ada@example.org/..", "a:da@example.org", "ada@exa\U0010ffffmple.org",
]  # fmt: skip


def test_in4_an_invalid_address_is_rejected(live: Live, subtests: pytest.Subtests) -> None:
    for address in INVALID_ADDRESSES:
        for response in (
            live.send_json("POST", SIGN_UP, email(address)),
            live.request("GET", f"{USERS}?email={quote(address)}"),
        ):
            with subtests.test(ascii(address)):
                check_refusal(response, 422, "validation_failed")
                assert [field["field"] for field in response.json["error"]["fields"]] == ["email"]


def test_in4_all_spellings_of_an_address_belong_to_one_user(live: Live) -> None:
    """An address is the same in every spelling; emails go to the first spelling."""
    assert live.send_json("POST", SIGN_UP, email("Victim@ＥXAMPLE.com")).json["data"]["email"] == "Victim@example.com"
    for spelling in ("victim@example.com", "VICTIM@EXAMPLE.COM", "ｖｉｃｔｉｍ@example.com", "victim＠example．com"):
        check_refusal(live.send_json("POST", SIGN_UP, email(spelling)), 409, "email_taken")
        user = live.request("GET", f"{USERS}?email={quote(spelling)}")
        assert user.json["data"]["email"] == "Victim@example.com"


def test_in4_internationalized_domains_are_stored_as_a_labels(live: Live) -> None:
    created = live.send_json("POST", SIGN_UP, email("ada@почта.рф"))
    assert created.json["data"]["email"] == "ada@xn--80a1acny.xn--p1ai"
    for spelling in ("ada@ПОЧТА.рф", "ada@XN--80A1ACNY.xn--p1ai"):
        check_refusal(live.send_json("POST", SIGN_UP, email(spelling)), 409, "email_taken")


def test_in4_an_address_has_at_most_254_bytes(live: Live) -> None:
    domain = ".".join(["b" * 61] * 3) + ".org"
    longest = "a" * (254 - len(domain) - 1) + "@" + domain
    assert live.send_json("POST", SIGN_UP, email(longest)).status == 201
    check_refusal(live.send_json("POST", SIGN_UP, email("a" + longest)), 422, "validation_failed")
