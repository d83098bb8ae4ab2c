"""Connections to gunicorn as production runs it: responses that nobody reads, and Host headers that are no host."""

import socket
import time
from contextlib import ExitStack

import pytest

from auth_service.api.client_socket import READ_WITHIN
from tests.actors import USERS
from tests.api.conftest import HANGS, WITNESS, Live, check_refusal

pytestmark = pytest.mark.usefixtures("nothing_is_lost")

BUNDLE = "/swaggerui/swagger-ui-bundle.js"


def test_a3_responses_that_nobody_reads_hold_up_no_other_client_and_are_dropped(live: Live) -> None:
    asked = f"GET {BUNDLE} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 6
    with ExitStack() as stack:
        unread = []
        for _ in range(12):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(HANGS)
            connection.connect(("127.0.0.1", live.port))
            connection.sendall(asked)
            unread.append(connection)
        began = time.monotonic()
        for _ in range(20):
            answer = live.request("GET", "/health/live")
            assert (answer.status, answer.seconds < 2) == (200, True)
        time.sleep(began + READ_WITHIN.total_seconds() + 2 - time.monotonic())
        for connection in unread:
            with pytest.raises(ConnectionResetError):
                b"".join(iter(lambda: connection.recv(65536), b""))  # noqa: B023 - called here only
    assert live.request("GET", "/health/live").status == 200


def test_a3_a_response_that_is_read_slowly_arrives_whole(live: Live) -> None:
    expected = live.request("GET", BUNDLE).body
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(HANGS)
        connection.connect(("127.0.0.1", live.port))
        connection.sendall(f"GET {BUNDLE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        received = bytearray()
        while data := connection.recv(65536):
            received += data
            time.sleep(0.05)
    assert received.endswith(expected)


PATHS = (
    ("GET", "/health/live"),
    ("GET", f"{USERS}?email={WITNESS}"),
    ("POST", f"{USERS}/sign_up"),
    ("GET", f"{USERS}/me"),
    ("GET", "/api/swagger"),
    ("GET", "/api/swagger.json"),
    ("GET", BUNDLE),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/account/undo"),
    ("GET", "/nowhere"),
    ("DELETE", "/health/live"),
    ("OPTIONS", f"{USERS}/sign_up"),
)


def to_host(host: bytes, method: str = "GET", path: str = "/health/live") -> bytes:
    """A request with this Host header, as a page of an allowed origin sends it."""
    head = f"{method} {path} HTTP/1.1\r\nConnection: close\r\nAccess-Control-Request-Method: PUT\r\nHost: "
    return head.encode() + host + b"\r\n\r\n"


def errors_logged(live: Live) -> list[str]:
    """What the service has logged as errors until now."""
    return [line for line in live.log.read_text().splitlines() if '"level": "ERROR"' in line]


@pytest.mark.parametrize("host", ["ab..cd", ".a", "..", "a" * 64, "a." + "b" * 64, "ab..cd:5000"])
def test_a2_a_host_that_cannot_be_one_is_a_bad_request(live: Live, subtests: pytest.Subtests, host: str) -> None:
    before = errors_logged(live)
    for method, path in PATHS:
        with subtests.test(f"{method} {path}"):
            check_refusal(live.say(to_host(host.encode(), method, path)), 400, "bad_request")
    assert errors_logged(live) == before


STRANGE_HOSTS = [
    b"", b"xn--a", b"xn--a..b", b"xn--\x80", b"[::1", b"[::1]", b"a:b", b"a:99999999", b"a b", b"a/b", b"a@b", b"*",
    b"a_b", b"a.", "пример.рф".encode(), b"\xff\xfe", b"\xc3", b"a" * 300, b".".join([b"a" * 63] * 5), b"a,b", b"a\tb",
    b"%", b"\xe2\x80\xa4", b":",
]  # fmt: skip


def test_a2_no_host_makes_the_service_fail(live: Live, subtests: pytest.Subtests) -> None:
    before = errors_logged(live)
    for host in STRANGE_HOSTS:
        for method, path in PATHS:
            with subtests.test(f"{host!r} {method} {path}"):
                assert live.say(to_host(host, method, path)).status < 500
    assert errors_logged(live) == before
