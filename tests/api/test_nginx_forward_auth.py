"""Forward auth of nginx in `docs/verifiers`: the configuration runs unchanged before a running service."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from auth_service.adapters.crypto.access_tokens import KeySet
from tests.support.actors import ApiClient, Mailbox
from tests.support.live import Live
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
