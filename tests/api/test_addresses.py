"""E-mail addresses: which are taken, and when two of them are the same."""

import json
from urllib.parse import quote

import pytest

from tests.support.actors import USERS
from tests.support.live import Live, check_refusal

SIGN_UP = f"{USERS}/sign_up"

pytestmark = pytest.mark.usefixtures("nothing_is_lost")


def email(text: str) -> bytes:
    """A body with this address."""
    return json.dumps({"email": text}).encode()


NO_ADDRESSES = [
    "=?utf-8?q?x?=@example.org", "", " ", "ada", "@", "ada@", "@example.org", "ada@@example.org", "ada@localhost",
    "ada@org", "ada@example..org",
    ".ada@example.org", "ada.@example.org", "a..da@example.org", "ada@-example.org", "ada@example-.org", "ada@.org",
    "ada@example.org.", "ada @example.org", " ada@example.org", "ada@example.org ", "ada@exam ple.org",
    '"ada lovelace"@example.org', '"ada"@example.org', "ada(countess)@example.org", "ada@(here)example.org",
    "ada@[127.0.0.1]", "ada@[IPv6:::1]", "ada@127.0.0.1", "ada@0x7f000001",
    "ada@example.org,eve@example.org", "ada@example.org;eve@example.org", "ada@example.org eve@example.org",
    "<ada@example.org>", "Ada <ada@example.org>", "mailto:ada@example.org", "ada@example.org\r\nBcc: eve@example.org",
    "ada\r\n@example.org", "ada@example.org\n", "ada\t@example.org", "ada\u0007@example.org", "ada\u007f@example.org",
    "ada\u0000@example.org", "ada@example.org\u0000", "ada\u200b@example.org", "ada\u202e@example.org",
    "ada\u00ad@example.org", "ada@exam\u200bple.org", "аda@example.org", "ädä@example.org", "😀@example.org",
    "ada，eve@example.org", "ada@exa\u2100mple.org", "ada@xn--a.org", "ada@" + "a" * 64 + ".org",
    "a" * 65 + "@example.org",
    "ada@example_.org", "ada%example.org", "ada\\@example.org",
    "ada@exam%70le.org", "ada@example.org?x", "ada@example.org/..", "a:da@example.org", "ada@exa\U0010ffffmple.org",
]  # fmt: skip


def test_in4_what_is_no_address(live: Live, subtests: pytest.Subtests) -> None:
    for address in NO_ADDRESSES:
        for answer in (
            live.send_json("POST", SIGN_UP, email(address)),
            live.request("GET", f"{USERS}?email={quote(address)}"),
        ):
            with subtests.test(ascii(address)):
                check_refusal(answer, 422, "validation_failed")
                assert [field["field"] for field in answer.json["error"]["fields"]] == ["email"]


def test_in4_one_person_one_address(live: Live) -> None:
    """However the same address is written, it is the same address; mail goes to the first form."""
    assert live.send_json("POST", SIGN_UP, email("Victim@ＥXAMPLE.com")).json["data"]["email"] == "Victim@example.com"
    for written in ("victim@example.com", "VICTIM@EXAMPLE.COM", "ｖｉｃｔｉｍ@example.com", "victim＠example．com"):
        check_refusal(live.send_json("POST", SIGN_UP, email(written)), 409, "email_taken")
        found = live.request("GET", f"{USERS}?email={quote(written)}")
        assert found.json["data"]["email"] == "Victim@example.com"


def test_in4_domains_are_kept_as_a_labels(live: Live) -> None:
    made = live.send_json("POST", SIGN_UP, email("ada@почта.рф"))
    assert made.json["data"]["email"] == "ada@xn--80a1acny.xn--p1ai"
    for written in ("ada@ПОЧТА.рф", "ada@XN--80A1ACNY.xn--p1ai"):
        check_refusal(live.send_json("POST", SIGN_UP, email(written)), 409, "email_taken")


def test_in4_254_bytes_and_not_one_more(live: Live) -> None:
    domain = ".".join(["b" * 61] * 3) + ".org"
    longest = "a" * (254 - len(domain) - 1) + "@" + domain
    assert live.send_json("POST", SIGN_UP, email(longest)).status == 201
    check_refusal(live.send_json("POST", SIGN_UP, email("a" + longest)), 422, "validation_failed")
