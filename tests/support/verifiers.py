"""Verifiers of tokens: processes of other services, and tokens signed with the keys of the service."""

import base64
import hmac
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth_service.adapters.crypto import access_tokens
from auth_service.adapters.crypto.access_tokens import KeySet
from tests.support.live import ROOT

VERIFIERS = ROOT / "docs" / "verifiers"
ISSUER = "http://127.0.0.1:5000"
TIME_LIMIT = 30
ADA = "ada@example.org"
PASSWORD = "correct horse battery"


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


def signed(key_set: KeySet, *, head: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
    """A valid token with the given header parameters and claims; those that are None are left out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": "portal",
        "client_id": "portal",
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
