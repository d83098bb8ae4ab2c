"""Token verifiers of `docs/verifiers`: each example runs unchanged against a running service."""

import base64
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask

from auth_service.adapters.crypto import access_tokens
from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.db import unit_of_work
from auth_service.services.tokens.signing_keys import CACHE_TTL, KeyTooYoung
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox
from tests.support.live import ROOT, Live

pytestmark = pytest.mark.slow

VERIFIERS = ROOT / "docs" / "verifiers"
NODE = VERIFIERS / "node"
ISSUER = "http://127.0.0.1:5000"
TIME_LIMIT = 30
ADA = "ada@example.org"
PASSWORD = "correct horse battery"

Ask = Callable[..., Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], port: int, *, folder: Path, **environment: str) -> Iterator[None]:
    """A server process of another service, while it listens."""
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + TIME_LIMIT
        while not listens(port):
            assert process.poll() is None, process.stdout.read().decode()  # type: ignore[union-attr]
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=TIME_LIMIT)


def ask(port: int, method: str = "GET", path: str = "/whoami", **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of one response."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    parsed = json.loads(body) if answer.headers.get_content_type() == "application/json" else None
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, parsed


# Tokens.


@pytest.fixture
def key_set(app: Flask, live: Live) -> KeySet:
    """The signing keys of the running service."""
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        return services.signing_keys.for_verification()


def signed(key_set: KeySet, *, head: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
    """A valid token with the given header parameters and claims; those that are None are left out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": "portal",
        "sub": "4711",
        "sid": str(uuid.uuid4()),
        "jti": "x",
        "iat": now,
        "nbf": now,
        "exp": now + 900,
        "roles": ["ROLE_PORTAL_USER"],
    }
    body = {name: value for name, value in {**good, **claims}.items() if value is not None}
    parameters = {"alg": "ES256", "typ": "at+jwt", "kid": key_set.signing_kid, **(head or {})}
    signing_input = f"{part({name: value for name, value in parameters.items() if value is not None})}.{part(body)}"
    # Signed without the encoder of PyJWT, which does not accept invalid headers.
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(
        signing_input.encode(), key or key_set.signing_key
    )
    return f"{signing_input}.{encoded(signature)}"


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(values: dict[str, Any]) -> str:
    return encoded(json.dumps(values).encode())


def forgeries(key_set: KeySet) -> dict[str, str]:
    """Invalid tokens, each for another reason."""
    good = signed(key_set)
    head, body, signature = good.split(".")
    now = int(time.time())
    attacker_key = access_tokens.private_key(access_tokens.new_key()[1])
    public = key_set.verifying[key_set.signing_kid].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hmac_input = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key_set.signing_kid})}.{body}"
    changed = part({"sub": "1", "iss": ISSUER, "aud": "portal", "exp": now + 900})
    return {
        "expired": signed(key_set, iat=now - 1000, nbf=now - 1000, exp=now - 31),
        "not valid yet": signed(key_set, nbf=now + 60),
        "without an expiry": signed(key_set, exp=None),
        "for another audience": signed(key_set, aud="another"),
        "without an audience": signed(key_set, aud=None),
        "for our audience with a suffix": signed(key_set, aud="portal.example.org"),
        "by another issuer": signed(key_set, iss="https://evil.example"),
        "by our issuer with a slash": signed(key_set, iss=f"{ISSUER}/"),
        "without a subject": signed(key_set, sub=None),
        "without a session": signed(key_set, sid=None),
        "of another type": signed(key_set, head={"typ": "JWT"}),
        "without a type": signed(key_set, head={"typ": None}),
        "a logout token": signed(key_set, head={"typ": "logout+jwt"}),
        "with an unknown key id": signed(key_set, head={"kid": "unknown"}),
        "without a key id": signed(key_set, head={"kid": None}),
        "with a path as key id": signed(key_set, head={"kid": "../../dev/null"}),
        "signed by an attacker's key": signed(key_set, key=attacker_key),
        "with an attacker's key in the header": signed(key_set, key=attacker_key, head={"jwk": jwk(attacker_key)}),
        "with an attacker's key URL in the header": signed(
            key_set, key=attacker_key, head={"jku": "https://evil.example/jwks"}
        ),
        "HMAC with the public key": f"{hmac_input}.{encoded(hmac.digest(public, hmac_input.encode(), 'sha256'))}",
        "without a signature": f"{head}.{body}.",
        "with half a signature": good[:-40],
        "with a changed body": f"{head}.{changed}.{signature}",
        "with a critical header parameter": signed(key_set, head={"crit": ["exp2"], "exp2": 1}),
        "with a list of key ids": signed(key_set, head={"kid": [key_set.signing_kid]}),
        "malformed": "x",
        "empty": "",
    } | {
        f"alg {name}": f"{part({'alg': name, 'typ': 'at+jwt', 'kid': key_set.signing_kid})}.{body}.{tail}"
        for name in ("none", "None", "NONE", "nOnE", "")
        for tail in ("", signature)
    }


def jwk(key: EllipticCurvePrivateKey) -> dict[str, str]:
    return access_tokens._jwk("x", key.public_key())


# Services that verify tokens themselves.


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node example with its one package, as `npm ci` installs it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node or npm is not installed (.ci/run installs them)")
    folder: Path = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "verify.mjs"):
        shutil.copy(NODE / name, folder)
    result = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )
    if re.search(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH", result.stderr):
        pytest.skip("npm cannot reach the registry")
    assert result.returncode == 0, result.stderr
    return folder


def command(kind: str, port: int, request: pytest.FixtureRequest) -> tuple[list[str], Path]:
    if kind == "node":
        return ["node", "verify.mjs"], request.getfixturevalue("node_modules")
    if kind == "flask":
        return [sys.executable, "-m", "flask", "--app", "flask_app", "run", "--port", f"{port}"], VERIFIERS
    return [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port", f"{port}"], VERIFIERS


@contextmanager
def verifier(kind: str, request: pytest.FixtureRequest, *, jwks_port: int) -> Iterator[int]:
    """One of the examples, with the JWKS at `jwks_port`; yields the port of the example."""
    port = free_port()
    run, folder = command(kind, port, request)
    keys = f"http://127.0.0.1:{jwks_port}/.well-known/jwks.json"
    environment = {
        "ISSUER": ISSUER,
        "AUDIENCE": "portal",
        "JWKS_URL": keys,
        "PORT": f"{port}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with running(run, port, folder=folder, **environment):
        yield port


every_kind = pytest.mark.parametrize("kind", ["flask", "fastapi", "node"])


@every_kind
def test_tk1_tk2_tk3_tk4_verifiers_accept_valid_tokens_only(
    kind: str, live: Live, key_set: KeySet, app: Flask, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    me = {"user": "4711", "roles": ["ROLE_PORTAL_USER"]}
    with verifier(kind, request, jwks_port=live.port) as port:
        assert ask(port, Authorization=f"Bearer {signed(key_set)}")[::2] == (200, me)
        now = int(time.time())
        assert ask(port, Authorization=f"Bearer {signed(key_set, exp=now - 20)}")[0] == 200, (
            "verifiers tolerate clock skew"
        )
        for name, token in forgeries(key_set).items():
            with subtests.test(name):
                status, headers, _ = ask(port, Authorization=f"Bearer {token}")
                assert (status, headers.get("www-authenticate")) == (401, "Bearer"), name
        for other in (
            {},
            {"Authorization": ""},
            {"Authorization": f"Basic {signed(key_set)}"},
            {"X-Token": signed(key_set)},
        ):
            assert ask(port, **other)[0] == 401
        assert ask(port, path=f"/whoami?access_token={signed(key_set)}")[0] == 401

        # Key rotation needs no change in verifiers: a signing key is published before it signs.
        services: Services = app.extensions["auth_service"]
        with app.app_context():
            kid = rotated_in(services)
            time.sleep(CACHE_TTL.total_seconds())
            rotated = services.signing_keys.for_verification()
        assert rotated.signing_kid == kid != key_set.signing_kid
        for keys in (key_set, rotated):
            assert ask(port, Authorization=f"Bearer {signed(keys)}")[::2] == (200, me)


def rotated_in(services: Services) -> str:
    """Rotate the signing keys as soon as the next key is old enough; return the id of the new signing key."""
    while True:
        try:
            with unit_of_work():
                return services.signing_keys.rotate(published_for=CACHE_TTL)
        except KeyTooYoung as young:
            time.sleep(young.wait.total_seconds())


@every_kind
def test_verifiers_without_signing_keys_answer_503_instead_of_401(
    kind: str, key_set: KeySet, request: pytest.FixtureRequest
) -> None:
    with verifier(kind, request, jwks_port=free_port()) as port:
        assert ask(port, Authorization=f"Bearer {signed(key_set)}")[0] == 503
        assert ask(port)[0] == 401


# nginx.


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
