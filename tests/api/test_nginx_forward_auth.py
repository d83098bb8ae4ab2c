"""Forward auth of nginx in `docs/verifiers`: the configuration runs unchanged before a running service."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.crypto.access_tokens import KeySet
from tests.support.actors import ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.documents import API, fences
from tests.support.live import Live
from tests.support.stores import Query
from tests.support.verifiers import ADA, ISSUER, PASSWORD, VERIFIERS, ask, forgeries, free_port, running, signed

pytestmark = pytest.mark.slow


class Shop(BaseHTTPRequestHandler):
    """A service that trusts the headers that nginx sets."""

    def do_GET(self) -> None:
        received = {
            "user": self.headers.get_all("X-User-Id", []),
            "roles": self.headers.get_all("X-User-Roles", []),
            "secrets": [name for name in ("Authorization", "Cookie") if name in self.headers],
        }
        body = json.dumps(received).encode()
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def gateway(folder: Path, *, auth_port: int) -> Iterator[int]:
    """nginx with the configuration of the example and a service behind it; yields the port of nginx."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        pytest.skip("nginx is not installed (.ci/run installs it)")
    shop = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    port = free_port()
    text = (VERIFIERS / "nginx.conf").read_text("utf-8")
    own_folders = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                          ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
    for theirs, ours in (
        ("http {\n", f"http {{ access_log off; {own_folders}\n"),
        ("server 127.0.0.1:5000;", f"server 127.0.0.1:{auth_port};"),
        ("server 127.0.0.1:9000;", f"server 127.0.0.1:{shop.server_port};"),
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
    ):
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours)
    (folder / "nginx.conf").write_text(text)
    directives = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;"
    try:
        with running([nginx, "-p", str(folder), "-c", "nginx.conf", "-g", directives], port, folder=folder):
            yield port
    finally:
        shop.shutdown()
        shop.server_close()


def test_tk12_nginx_passes_requests_of_active_sessions_only(
    live: Live, api: ApiClient, mailbox: Mailbox, tmp_path: Path, key_set: KeySet
) -> None:
    ada = api.register(ADA, mailbox, password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    hers = {"user": [str(ada)], "roles": ["ROLE_PORTAL_USER"], "secrets": []}
    with gateway(tmp_path, auth_port=live.port) as port:
        assert ask(port, path="/orders?page=2", **bearer)[::2] == (200, hers)
        spoofed = {"X-User-Id": "1", "X-User-Roles": "ROLE_ADMIN", "X-Original-Method": "GET", "Cookie": "a=b"}
        assert ask(port, **bearer, **spoofed)[::2] == (200, hers)
        assert ask(port, "POST", **bearer)[::2] == (200, hers)
        assert ask(port, path="/broken", **bearer)[::2] == (500, hers), "errors of the service pass through nginx"
        for name, forged in forgeries(key_set).items():
            assert ask(port, Authorization=f"Bearer {forged}")[0] == 401, name
        status, headers, _ = ask(port, **spoofed)
        assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="auth"')
        assert ask(port, path="/.verified", **bearer)[0] == 404

        assert api.with_token(token, "POST", "/sign_out").status_code == 200
        assert ask(port, **bearer)[0] == 401


def test_se5_nginx_applies_the_csrf_check_to_unsafe_requests_with_cookies(
    live: Live, api: ApiClient, mailbox: Mailbox, tmp_path: Path
) -> None:
    ada = api.register(ADA, mailbox, password=PASSWORD)
    page = {"Origin": ISSUER, "X-Requested-With": "fetch"}
    answer = api.call(
        "POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=page
    )
    cookies = "; ".join(cookie.partition(";")[0] for cookie in answer.headers.getlist("Set-Cookie"))
    with gateway(tmp_path, auth_port=live.port) as port:
        status, _, body = ask(port, Cookie=cookies)
        assert (status, body["user"], body["secrets"]) == (200, [str(ada)], [])
        assert ask(port, "POST", Cookie=cookies)[0] == 403
        assert ask(port, "POST", Cookie=cookies, X_Original_Method="GET")[0] == 403
        assert ask(port, "POST", Cookie=cookies, **{**page, "Origin": "https://evil.example"})[0] == 403
        assert ask(port, "POST", Cookie=cookies, **page)[0] == 200


def test_nginx_answers_503_while_the_auth_service_is_unavailable(key_set: KeySet, tmp_path: Path) -> None:
    with gateway(tmp_path, auth_port=free_port()) as port:
        status, headers, _ = ask(port, Authorization=f"Bearer {signed(key_set)}")

    assert (status, headers["retry-after"]) == (503, "1")


@pytest.fixture
def editor(app: Flask, mailbox: Mailbox) -> AdminClient:
    """Ada, signed in with a password; one of her roles has the permission that the example requires."""
    return Administration(app, mailbox).with_permissions(ADA, "films:edit")


@pytest.fixture
def viewer(app: Flask, mailbox: Mailbox) -> AdminClient:
    """A signed-in user without roles of a portal."""
    return Administration(app, mailbox).user("grace@example.org")


def authenticated(query: Query, *, acr: str, seconds_ago: int) -> None:
    """Make this the level and age of the authentication in all sessions."""
    query("UPDATE sessions SET acr = %s, authenticated_at = now() - make_interval(secs => %s)", acr, seconds_ago)


def challenge(*, max_age: int = 600) -> str:
    return f'Bearer error="insufficient_user_authentication", acr_values="aal2", max_age={max_age}'


def test_lv4_nginx_requires_a_permission(
    live: Live, editor: AdminClient, viewer: AdminClient, tmp_path: Path, query: Query
) -> None:
    authenticated(query, acr="aal1", seconds_ago=5000)
    with gateway(tmp_path, auth_port=live.port) as port:
        for path in ("/orders", "/films/1", "/films/1?edit=1", "//films/1", "/%66ilms/1", "/x/../films/1"):
            needs_permission = path != "/orders"
            assert ask(port, path=path, **editor.headers)[0] == 200, path
            assert ask(port, path=path, **viewer.headers)[0] == (403 if needs_permission else 200), path
            assert ask(port, path=path)[0] == 401, path
        assert ask(port, "POST", "/films/1", **viewer.headers)[0] == 403

        query("DELETE FROM role_permissions WHERE permission = 'films:edit'")
        assert ask(port, path="/films/1", **editor.headers)[0] == 403


@pytest.mark.parametrize(
    ("acr", "seconds_ago", "status"), [("aal1", 5, 401), ("aal2", 605, 401), ("aal1", 605, 401), ("aal2", 595, 200)]
)
def test_lv4_nginx_requires_a_level_and_an_age_of_the_authentication(
    live: Live, viewer: AdminClient, tmp_path: Path, query: Query, acr: str, seconds_ago: int, status: int
) -> None:
    authenticated(query, acr=acr, seconds_ago=seconds_ago)
    with gateway(tmp_path, auth_port=live.port) as port:
        assert ask(port, **viewer.headers)[0] == 200, "no requirement"
        answered, headers, _ = ask(port, path="/payments/1", **viewer.headers)

    assert answered == status
    assert headers.get("www-authenticate") == (None if status == 200 else challenge())


SMUGGLED = [
    ["X-Require-Permission: sessions:read", "X-Require-Acr: aal1", "X-Require-Max-Age: 999999"],
    ["x-require-permission:", "x-require-acr:", "x-require-max-age:"],
    ["X-Require-Acr: aal1", "X-Require-Acr: aal1", "X-Require-Max-Age: 999999", "X-Require-Max-Age: 999999"],
    ["X_Require_Permission: users:read", "X_Require_Acr: aal1", "X_Require_Max_Age: 999999"],
    ["Connection: close, X-Require-Permission, X-Require-Acr, X-Require-Max-Age"],
    ["X-Require-Acr: aal9", "X-Require-Max-Age: soon", "X-Service-Key: svc_0", "X-Forwarded-Method: DELETE"],
]


@pytest.mark.parametrize("smuggled", SMUGGLED)
def test_lv4_a_client_can_neither_add_nor_override_the_requirements_of_nginx(
    live: Live, viewer: AdminClient, tmp_path: Path, query: Query, smuggled: list[str]
) -> None:
    authenticated(query, acr="aal1", seconds_ago=605)
    sent = [*smuggled, *(f"{name}: {value}" for name, value in viewer.headers.items())]
    with gateway(tmp_path, auth_port=live.port) as port:
        nginx = replace(live, port=port)
        assert nginx.request("GET", "/films/1", *sent).status == 403
        answer = nginx.request("GET", "/payments/1", *sent)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, challenge())
        assert nginx.request("GET", "/orders", *sent).status == 200, "a header of the client requires nothing"


def test_the_lines_of_nginx_in_the_documents_are_those_of_the_tested_configuration() -> None:
    tested = {line.strip() for line in (VERIFIERS / "nginx.conf").read_text("utf-8").splitlines()}
    shown = [
        line for language, block in fences(API.read_text("utf-8")) if language == "nginx" for line in block.split("\n")
    ]

    assert len(shown) > 5
    assert {line.strip() for line in shown} <= tested
