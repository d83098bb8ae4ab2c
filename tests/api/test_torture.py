"""Malformed requests: each gets an error in the format of the contract, and no data is lost."""

import json
from urllib.parse import quote

import pytest

from tests.support.actors import USERS, ApiClient, refusal
from tests.support.live import Live, check_refusal

SIGN_UP = f"{USERS}/sign_up"
KIB_16 = 16 * 1024

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_is_lost")]


def email(text: str) -> bytes:
    """A body with this address."""
    return json.dumps({"email": text}).encode()


NOT_JSON = {
    "8,000 arrays": b"[" * 8000,
    "8,000 arrays, closed": b"[" * 8000 + b"]" * 8000,
    "16 KiB of objects": (b'{"a":' * 4000)[:KIB_16],
    "an object as deep as it fits": b'{"a":' * 2500 + b"1" + b"}" * 2500,
    "an integer of 5,000 digits": b'{"email":' + b"9" * 5000 + b"}",
    "NaN": b'{"email":NaN}',
    "Infinity": b'{"email":-Infinity}',
    "a lone surrogate": b'{"email":"\\ud800@example.org"}',
    "surrogates the wrong way round": b'{"email":"\\udc00\\ud800@example.org"}',
    "an unescaped NUL": b'{"email":"a\0@example.org"}',
    "an unescaped line break": b'{"email":"a\n@example.org"}',
    "a name twice": b'{"email":"a@example.org","email":"b@example.org"}',
    "a name twice, once escaped": b'{"email":"a@example.org","\\u0065mail":"b@example.org"}',
    "a name twice, further down": b'{"email":{"a":1,"a":2}}',
    "invalid UTF-8": b'{"email":"\xff@example.org"}',
    "overlong UTF-8": b'{"email":"\xc0\xafa@example.org"}',
    "a surrogate in UTF-8": b'{"email":"\xed\xa0\x80@example.org"}',
    "a byte order mark": b'\xef\xbb\xbf{"email":"a@example.org"}',
    "UTF-16": '{"email":"a@example.org"}'.encode("utf-16"),
    "UTF-32": '{"email":"a@example.org"}'.encode("utf-32"),
    "null": b"null",
    "an array": b"[]",
    "a string": b'"email"',
    "a number": b"1",
    "two objects": b"{}{}",
    "half an object": b'{"email":"a@exam',
    "a trailing comma": b'{"email":"a@example.org",}',
    "a comment": b'{"email":"a@example.org"/* hello */}',
    "single quotes": b"{'email':'a@example.org'}",
    "a form": b"email=a@example.org",
    "a leading zero": b'{"email":0123}',
    "only spaces": b"   ",
    "a NUL": b"\0",
}


def test_in2_bodies_that_are_no_json_object_are_rejected(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in NOT_JSON.items():
        with subtests.test(name):
            check_refusal(live.send_json("POST", SIGN_UP, case), 400, "body_not_json")


INVALID_BODIES = {
    "nothing": b"",
    "an empty object": b"{}",
    "an unknown field": b'{"email":"a@example.org","roles":["ROLE_ADMIN"]}',
    "a field in another case": b'{"Email":"a@example.org"}',
    "null": b'{"email":null}',
    "true": b'{"email":true}',
    "a number": b'{"email":7505}',
    "an array": b'{"email":["a@example.org"]}',
    "an object": b'{"email":{"$ne":null}}',
    "an escaped NUL": b'{"email":"a\\u0000@example.org"}',
    "15 KiB": email("a" * 15000 + "@example.org"),
}


def test_in3_json_that_violates_the_schema_is_rejected(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in INVALID_BODIES.items():
        with subtests.test(name):
            check_refusal(live.send_json("POST", SIGN_UP, case), 422, "validation_failed")


INVALID_CODES = {
    "true": b"true",
    "a float": b"7505.0",
    "an exponent": b"7.505e3",
    "negative": b"-7505",
    "three digits": b"123",
    "nine digits": b"123456789",
    "5,000 digits in a string": b'"' + b"7" * 5000 + b'"',
    "2**64": b"18446744073709551616",
    "nothing": b'""',
    "a space": b'" 7505"',
    "a line break": b'"7505\\n"',
    "a sign": b'"+7505"',
    "hexadecimal": b'"0x7505"',
    "an underscore": b'"7_505"',
    "Arabic digits": '"٧٥٠٥"'.encode(),
    "full-width digits": '"７５０５"'.encode(),
    "a superscript": '"750⁵"'.encode(),
    "a NUL": b'"7505\\u0000"',
    "an array": b"[7505]",
    "an object": b'{"code":7505}',
}


def test_cd6_malformed_codes_are_rejected(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in INVALID_CODES.items():
        with subtests.test(name):
            body = b'{"code":' + case + b"}"
            check_refusal(live.send_json("PUT", f"{USERS}/1/mail", body), 422, "validation_failed")
            check_refusal(live.send_json("POST", f"{USERS}/1/send_code", body), 422, "validation_failed")
            if len(case) < 1000 and case.startswith(b'"'):
                target = f"{USERS}/1/mail?code={quote(json.loads(case))}"
                check_refusal(live.request("PUT", target), 422, "validation_failed")


INVALID_QUERIES = {
    "absent": "",
    "empty": "?",
    "another name": "?mail=a@example.org",
    "twice": "?email=a@example.org&email=b@example.org",
    "twice the same": "?email=a@example.org&email=a@example.org",
    "twice, once encoded": "?email=a@example.org&%65mail=b@example.org",
    "one too many": "?email=a@example.org&debug=1",
    "an array by brackets": "?email[]=a@example.org",
    "no value": "?email",
    "an empty value": "?email=",
    "only separators": "?&&&",
    "no name": "?=a@example.org",
    "a NUL": "?email=a%00@example.org",
    "a line break": "?email=a%0d%0aSet-Cookie:x=1@example.org",
    "invalid UTF-8": "?email=%ff@example.org",
    "overlong UTF-8": "?email=%c0%af@example.org",
    "a surrogate": "?email=%ed%a0%80@example.org",
    "percent at the end": "?email=a@example.org%",
    "encoded twice": "?email=a%2540example.org",
    "a thousand parameters": "?" + "&".join(["a=1"] * 1000),
}


def test_in3_invalid_query_strings_are_rejected(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in INVALID_QUERIES.items():
        with subtests.test(name):
            check_refusal(live.request("GET", f"{USERS}{case}"), 422, "validation_failed")


def test_in3_a_code_sent_twice_is_rejected(live: Live) -> None:
    for target in ("mail?code=7505&code=7505", "mail?code=7505&x=1", "mail?code=7505&Code=7505"):
        check_refusal(live.request("PUT", f"{USERS}/1/{target}"), 422, "validation_failed")
    check_refusal(live.send_json("PUT", f"{USERS}/1/mail?code=7505", b'{"code":7505}'), 422, "validation_failed")


UNKNOWN_IDS = {
    "zero": "0",
    "2**53": str(2**53),
    "2**63": str(2**63),
    "2**64": str(2**64),
    "a thousand digits": "9" * 1000,
    "an encoded digit": "%31",
}


def test_in6_unknown_user_ids_get_404(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in UNKNOWN_IDS.items():
        with subtests.test(name):
            check_refusal(live.request("PUT", f"{USERS}/{case}/mail?code=7505"), 404, "code_expired")
            check_refusal(live.request("POST", f"{USERS}/{case}/send_code"), 404, "user_unknown")
            check_refusal(live.request("PATCH", f"{USERS}/{case}/sign_up"), 404, "user_unknown")


INVALID_IDS = {
    "a leading zero": "01",
    "leading zeros": "0" * 30 + "1",
    "two zeros": "00",
    "negative": "-1",
    "a sign": "+1",
    "a float": "1.0",
    "an exponent": "1e3",
    "hexadecimal": "0x1",
    "a space": "%201",
    "a line break": "1%0a",
    "a NUL": "1%00",
    "Arabic digits": quote("٣"),
    "full-width digits": quote("１"),
    "a superscript": quote("²"),
    "invalid UTF-8": "%ff",
    "an encoded slash": "1%2f2",
    "a backslash": "1%5c",
    "a way up": "1/../2",
    "a way up, encoded": "%2e%2e/1",
    "two slashes": "1//",
    "a parameter of the path": "1;a=b",
    "a quote": "1'--",
}


def test_in6_malformed_user_ids_get_404(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in INVALID_IDS.items():
        with subtests.test(name):
            check_refusal(live.request("PUT", f"{USERS}/{case}/mail?code=7505"), 404, "path_unknown")


def test_in6_an_id_has_one_spelling(api: ApiClient) -> None:
    user_id = api.sign_up("ada@example.org")

    assert api.call("POST", f"/{user_id}/send_code").status_code == 200
    other = api.call("POST", f"/0{user_id}/send_code")

    assert (other.status_code, refusal(other)["code"]) == (404, "path_unknown")


PATHS = [
    "/", "/api", "/api/", "/api/v1", f"{USERS}/", f"{USERS}//sign_up", f"{SIGN_UP}/", "/API/V1/USERS", f"{USERS}%00",
    f"{USERS}%0d%0aX-Evil:%201", "/api/v1/%2e%2e/users", "/api/v1/../v1/users", f"{USERS};a=b", f"{USERS}/me%2f..",
    "/swaggerui/../app.py", "/swaggerui/..%2f..%2fapp.py", "/swaggerui/%2e%2e/%2e%2e/app.py", "/swaggerui//etc/passwd",
    "/swaggerui/", "/.env", "/.git/config", "/api/swagger/", "/api/swagger.json/", "/health", "/metrics", "/%ff%fe",
    "/static/x",
]  # fmt: skip


def test_se9_unknown_paths_get_404(live: Live, subtests: pytest.Subtests) -> None:
    for path in PATHS:
        with subtests.test(path):
            check_refusal(live.request("GET", path), 404, "path_unknown")


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "DELETE", "PROPFIND", "FOO", "M-SEARCH", "X" * 20])
def test_se9_unsupported_methods_get_405(live: Live, method: str) -> None:
    answer = live.request(method, USERS, "X-Secret: 4711")
    check_refusal(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert b"4711" not in answer.body


def test_unusual_but_harmless_requests_are_accepted(live: Live) -> None:
    """Unusual but harmless requests get the same response as ordinary ones."""
    lookup = f"{USERS}?email=unknown@example.org"
    for headers in (
        ['Cookie: \x7e=;;;==; registration="\\377; registration=a; registration'],
        ["Accept-Language: " + "en;q=0.1," * 800 + ";;q=x"],
        ["Accept: image/*;q=nan", "X-Forwarded-For: ,,,", "Forwarded: for=_x", "X_Forwarded_For: 1.1.1.1"],
        ["Range: bytes=0-1", "If-None-Match: *", "Content-Encoding: br"],
        ["SCRIPT_NAME: /evil", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin"],
    ):
        check_refusal(live.request("GET", lookup, *headers), 404, "user_unknown")
    for target in (
        f"{USERS}?email=%zz@example.org",
        f"{USERS}?email=%u0061@example.org",
        f"/api%2Fv1%2Fusers?{lookup[14:]}",
    ):
        check_refusal(live.request("GET", target), 404, "user_unknown")
    check_refusal(live.request("GET", f"//{lookup[1:]}"), 404, "user_unknown")
    check_refusal(live.request("GET", f"http://evil.example{lookup}"), 404, "user_unknown")
    check_refusal(live.say(f"GET {lookup} HTTP/1.0\r\n\r\n".encode()), 404, "user_unknown")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/sign_in", {"email": "ada@example.org", "password": "a\0bcdefgh"}),
        ("POST", "/refresh_token", {"refresh_token": "a\0b"}),
        ("POST", "/undo", {"token": "a\0b"}),
        ("PUT", "/password", {"email": "ada@example.org", "code": "750501", "new_password": "correct\0horse"}),
        ("POST", "/sign_in", {"email": "ada@example.org", "password": "correct horse", "a\0b": 1}),
    ],
)
def test_in5_nul_characters_are_rejected(api: ApiClient, method: str, path: str, body: dict[str, str]) -> None:
    answer = api.call(method, path, json=body)

    assert (answer.status_code, refusal(answer)["code"]) == (422, "validation_failed")
    assert [field["msg"] for field in refusal(answer)["fields"]] == ["Send no NUL characters."]
