"""Client connections to gunicorn: unread responses, invalid Host headers, and CORS of errors before routing."""

import socket
import time
from contextlib import ExitStack

import pytest

from auth_service.server.client_socket import READ_WITHIN
from tests.support.actors import USERS
from tests.support.live import HANGS, PORTAL, WITNESS, Live, check_refusal

pytestmark = pytest.mark.usefixtures("nothing_is_lost")

BUNDLE = "/swaggerui/swagger-ui-bundle.js"


@pytest.mark.slow
def test_a3_unread_responses_do_not_delay_other_clients_and_are_dropped(live: Live) -> None:
    pipelined = f"GET {BUNDLE} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 6
    with ExitStack() as stack:
        unread = []
        for _ in range(12):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(HANGS)
            connection.connect(("127.0.0.1", live.port))
            connection.sendall(pipelined)
            unread.append(connection)
        started_at = time.monotonic()
        for _ in range(20):
            response = live.request("GET", "/health/live")
            assert (response.status, response.seconds < 2) == (200, True)
        time.sleep(started_at + READ_WITHIN.total_seconds() + 2 - time.monotonic())
        for connection in unread:
            with pytest.raises(ConnectionResetError):
                b"".join(iter(lambda: connection.recv(65536), b""))  # noqa: B023 - called here only
    assert live.request("GET", "/health/live").status == 200


def test_a3_a_slowly_read_response_arrives_completely(live: Live) -> None:
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
    """The lines of level ERROR in the log."""
    return [line for line in live.log.read_text().splitlines() if '"level": "ERROR"' in line]


@pytest.mark.parametrize("host", ["ab..cd", ".a", "..", "a" * 64, "a." + "b" * 64, "ab..cd:5000"])
def test_a2_an_invalid_host_header_is_a_bad_request(live: Live, subtests: pytest.Subtests, host: str) -> None:
    before = errors_logged(live)
    for method, path in PATHS:
        with subtests.test(f"{method} {path}"):
            check_refusal(live.say(to_host(host.encode(), method, path)), 400, "bad_request")
    assert errors_logged(live) == before


UNUSUAL_HOSTS = [
    b"", b"xn--a", b"xn--a..b", b"xn--\x80", b"[::1", b"[::1]", b"a:b", b"a:99999999", b"a b", b"a/b", b"a@b", b"*",
    b"a_b", b"a.", "пример.рф".encode(), b"\xff\xfe", b"\xc3", b"a" * 300, b".".join([b"a" * 63] * 5), b"a,b", b"a\tb",
    b"%", b"\xe2\x80\xa4", b":",
]  # fmt: skip


@pytest.mark.parametrize("target", ["http://a", "http://a?x=1", "https://"])
def test_a2_a_target_without_a_path_is_no_redirect(live: Live, target: str) -> None:
    raw = f"GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"

    check_refusal(live.say(raw.encode()), 404, "path_unknown")


def test_a2_no_host_header_causes_a_server_error(live: Live, subtests: pytest.Subtests) -> None:
    before = errors_logged(live)
    for host in UNUSUAL_HOSTS:
        for method, path in PATHS:
            with subtests.test(f"{host!r} {method} {path}"):
                assert live.say(to_host(host, method, path)).status < 500
    assert errors_logged(live) == before


TOO_LONG = {
    "a long URL": (f"GET {USERS}?email={'a' * 5000} HTTP/1.1\r\nHost: a\r\n", 414),
    "an endless URL": (f"GET {USERS}?email={'a' * 1_000_000} HTTP/1.1\r\nHost: a\r\n", 414),
    "a long header": (f"GET {USERS} HTTP/1.1\r\nHost: a\r\nCookie: {'a' * 9000}\r\n", 431),
    "an endless header": (f"GET {USERS} HTTP/1.1\r\nHost: a\r\nCookie: {'a' * 900_000}\r\n", 431),
    "many headers": (f"GET {USERS} HTTP/1.1\r\nHost: a\r\n" + "X-A: a\r\n" * 60, 431),
    "malformed": ("GET / HTTP/1.1\r\nHost: a\r\nX-A : a\r\n", 400),
}


@pytest.mark.parametrize(("head", "status"), TOO_LONG.values(), ids=TOO_LONG)
def test_c13_errors_before_routing_have_cors_headers_for_an_allowed_origin(live: Live, head: str, status: int) -> None:
    response = live.say(f"{head}Origin: {PORTAL}\r\n\r\n".encode())

    assert response.status == status
    assert response.headers["Access-Control-Allow-Origin"] == PORTAL
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert response.headers["Access-Control-Expose-Headers"] == "Retry-After, X-Request-Id, WWW-Authenticate, Link"
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "origins",
    [
        "",
        "Origin: https://evil.example\r\n",
        f"Origin: {PORTAL}\r\nOrigin: https://evil.example\r\n",
        f"Origin: {PORTAL}.evil.example\r\n",
        f"X-Origin: {PORTAL}\r\n",
        f"\r\nOrigin: {PORTAL}\r\n",
    ],
)
@pytest.mark.parametrize(("head", "status"), TOO_LONG.values(), ids=TOO_LONG)
def test_c13_errors_before_routing_have_no_cors_headers_for_other_origins(
    live: Live, head: str, status: int, origins: str
) -> None:
    response = live.say(f"{head}{origins}\r\n".encode())

    assert response.status == status
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Origin"


def test_c13_the_origin_is_recognised_in_a_request_of_two_segments(live: Live) -> None:
    """The Origin header may arrive in two TCP segments."""
    raw = f"GET {USERS}?email={'a' * 5000} HTTP/1.1\r\nHost: a\r\nOrigin: {PORTAL}\r\nX-A: a\r\n\r\n".encode()
    for cut in range(raw.index(b"Host"), len(raw), 7):
        with socket.create_connection(("127.0.0.1", live.port), timeout=HANGS) as connection:
            connection.sendall(raw[:cut])
            time.sleep(0.02)
            connection.sendall(raw[cut:])
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert f"Access-Control-Allow-Origin: {PORTAL}\r\n".encode() in received, cut
