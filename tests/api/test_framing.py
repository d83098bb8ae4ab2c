"""Request framing (RFC 9112): content types, body sizes, chunked encoding and malformed HTTP, sent to gunicorn."""

import itertools
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.actors import USERS
from tests.support.live import HANGS, WITNESS, Live, check_refusal

SIGN_UP = f"{USERS}/sign_up"
KIB_16 = 16 * 1024

pytestmark = pytest.mark.usefixtures("nothing_is_lost")


def email(text: str) -> bytes:
    """A sign-up body with this address."""
    return json.dumps({"email": text}).encode()


TYPES = {
    "none": (),
    "text": ("Content-Type: text/plain",),
    "a form": ("Content-Type: application/x-www-form-urlencoded",),
    "multipart": ("Content-Type: multipart/form-data; boundary=x",),
    "multipart without a boundary": ("Content-Type: multipart/form-data",),
    "UTF-16": ("Content-Type: application/json; charset=utf-16",),
    "Latin": ("Content-Type: application/json;charset=ISO-8859-1",),
    "two types": ("Content-Type: application/json, text/plain",),
    "more than JSON": ("Content-Type: application/json-seq",),
    "a suffix": ("Content-Type: application/problem+json",),
    "no type": ("Content-Type: ;charset=utf-8",),
    "16 KiB of parameters": ("Content-Type: text/plain" + ";a=b" * 1900,),
}


def test_in2_other_content_types_than_json_are_rejected(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in TYPES.items():
        with subtests.test(name):
            check_refusal(
                live.request("POST", SIGN_UP, *case, body=email("a@example.org")), 415, "content_type_unsupported"
            )


@pytest.mark.parametrize(
    "kind", ["application/json; charset=UTF-8", "Application/JSON", 'application/json;charset="utf-8"']
)
def test_json_content_types_are_accepted(live: Live, kind: str) -> None:
    assert live.request("POST", SIGN_UP, f"Content-Type: {kind}", body=email("a@example.org")).status == 201


@pytest.mark.parametrize(
    "coding",
    ["gzip", "br", "GZIP", "deflate, identity", "identity, gzip", "*", "identity;q=1",
     "identity\r\nContent-Encoding: br"],
)  # fmt: skip
def test_in2_a_body_with_a_content_encoding_is_rejected(live: Live, coding: str) -> None:
    headers = ("Content-Type: application/json", f"Content-Encoding: {coding}")
    response = live.request("POST", SIGN_UP, *headers, body=email("a@example.org"))

    check_refusal(response, 415, "content_encoding_unsupported")
    assert response.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
def test_a_body_with_the_identity_encoding_is_accepted(live: Live, coding: str) -> None:
    headers = ("Content-Type: application/json", f"Content-Encoding: {coding}")

    assert live.request("POST", SIGN_UP, *headers, body=email("a@example.org")).status == 201


def chunked(*chunks: bytes, sizes: str = "{:x}", end: bytes = b"0\r\n\r\n") -> bytes:
    """A sign-up with chunked encoding; `sizes` formats the chunk sizes."""
    head = f"POST {SIGN_UP} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
    body = b"".join(sizes.format(len(chunk)).encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + body + end


def test_in1_a_body_has_at_most_16_kib(live: Live) -> None:
    longest = email("a@example.org").ljust(KIB_16)
    assert live.send_json("POST", SIGN_UP, longest).status == 201
    check_refusal(live.say(chunked(*[longest[at : at + 1000] for at in range(0, KIB_16, 1000)])), 409, "email_taken")

    check_refusal(live.send_json("POST", SIGN_UP, longest + b" "), 413, "body_too_large")
    check_refusal(live.say(chunked(longest, b" ")), 413, "body_too_large")
    check_refusal(live.say(chunked(*[b" " for _ in range(KIB_16 + 1)])), 413, "body_too_large")


def test_in1_a_body_of_megabytes_is_rejected(live: Live) -> None:
    check_refusal(live.send_json("POST", SIGN_UP, b"[" * 100_000), 413, "body_too_large")
    check_refusal(live.send_json("POST", SIGN_UP, b" " * 5_000_000), 413, "body_too_large")
    check_refusal(live.say(chunked(*[b" " * 65536 for _ in range(80)])), 413, "body_too_large")
    for method, path in (("GET", f"{USERS}?email={WITNESS}"), ("POST", "/nowhere"), ("GET", "/health/live")):
        check_refusal(live.request(method, path, body=b"a" * 5_000_000), 413, "body_too_large")


HEAD = f"POST {SIGN_UP} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n".encode()
GET = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
MALFORMED = {
    "chunks and a length": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding with a tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an invalid size": chunked(b"{}", sizes="zz"),
    "a negative size": chunked(b"{}", sizes="-{:x}"),
    "a signed size": chunked(b"{}", sizes="+{:x}"),
    "a size in Arabic digits": chunked(b"{}", sizes="٢"),
    "a size too small": chunked(b"{}", sizes="1"),
    "no size": chunked(b"{}", sizes=""),
    "a size with an underscore": chunked(b"{}", sizes="0_2"),
    "a size of 16 KiB": chunked(b"{}", sizes="0" * KIB_16),
    "a forbidden trailer": chunked(b"{}", end=b"0\r\nContent-Length: 9\r\n\r\n"),
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a superscript length": HEAD + b"Content-Length: \xb2\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length of 5,000 digits": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "two types": HEAD + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "a NUL in a header": GET + b"X-A: a\0b\r\n\r\n",
    "a folded header": GET + b"X-A: a\r\n b\r\n\r\n",
    "a space before the colon": GET + b"X-A : a\r\n\r\n",
    "a header without a name": GET + b": a\r\n\r\n",
    "a header without a colon": GET + b"hello\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare carriage return": GET + b"X-A: a\rX-B: b\r\n\r\n",
    "an unknown expectation": HEAD + b"Content-Length: 2\r\nExpect: tea\r\n\r\n{}",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a space": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is not ASCII": "GET /api/v1/users?email=ä HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.10": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "SMTP": b"EHLO example.org\r\n\r\n",
}  # fmt: skip


def test_se9_malformed_http_is_a_bad_request(live: Live, subtests: pytest.Subtests) -> None:
    for name, case in MALFORMED.items():
        with subtests.test(name):
            check_refusal(live.say(case), 400, "bad_request")


def test_in1_urls_and_headers_are_bounded(live: Live) -> None:
    for length in (5000, 1_000_000):
        check_refusal(live.request("GET", f"{USERS}?email=" + "a" * length), 414, "url_too_long")
        check_refusal(live.request("GET", USERS, "Cookie: " + "a" * (length + 4000)), 431, "headers_too_large")
    check_refusal(live.request("GET", USERS, *["X-A: a"] * 60), 431, "headers_too_large")


STALLED = {
    "half a line": b"GET /health/li",
    "half a head": GET,
    "half a body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "half a chunk": chunked(b"{}", sizes="f" * 32),
    "no last chunk": chunked(b"{}", end=b""),
}


@pytest.mark.slow
def test_api4_a_client_that_stalls_gets_an_error_in_time(live: Live) -> None:
    with ThreadPoolExecutor(len(STALLED)) as pool:
        for response in pool.map(live.say, STALLED.values()):
            check_refusal(response, 400, "bad_request")


@pytest.mark.slow
def test_e21_stalled_requests_do_not_delay_other_clients(live: Live) -> None:
    stalled = [socket.create_connection(("127.0.0.1", live.port), timeout=HANGS) for _ in range(300)]
    try:
        for connection, partial_request in zip(stalled, itertools.cycle(STALLED.values()), strict=False):
            connection.sendall(partial_request)
        for _ in range(20):
            started_at = time.monotonic()
            assert live.request("GET", "/health/live").status == 200
            assert time.monotonic() - started_at < 2
        for connection in stalled:
            assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    finally:
        for connection in stalled:
            connection.close()
    assert live.request("GET", "/health/live").status == 200


def test_api4_connections_without_a_request_do_not_delay_other_clients(live: Live) -> None:
    silent = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(300)]
    try:
        started_at = time.monotonic()
        assert live.request("GET", "/health/live").status == 200
        assert time.monotonic() - started_at < 2
    finally:
        for connection in silent:
            connection.close()


def test_api4_connections_left_open_do_not_delay_other_clients(live: Live) -> None:
    answered = [socket.create_connection(("127.0.0.1", live.port), timeout=HANGS) for _ in range(8)]
    try:
        for connection in answered:
            connection.sendall(GET + b"\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        started_at = time.monotonic()
        assert live.request("GET", "/health/live").status == 200
        assert time.monotonic() - started_at < 2
    finally:
        for connection in answered:
            connection.close()


def test_se9_an_unread_body_is_not_parsed_as_a_request(live: Live) -> None:
    """Request smuggling: on a persistent connection the next request begins after the unread body."""
    smuggled = b"GET /health/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    first = b"GET /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    with socket.create_connection(("127.0.0.1", live.port), timeout=HANGS) as connection:
        connection.sendall(first + smuggled + GET + b"\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 ") == 2
    assert received.endswith(b'{"success":true,"result":"Ok"}\n')
