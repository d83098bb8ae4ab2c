"""nginx in front of the service: its own error answers, its limits and its log follow the contract of the service."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from auth_service.api.http.middleware import fixed_headers
from auth_service.api.http.parsing import LARGEST_BODY
from auth_service.api.http.responses import error_body, status_of
from auth_service.errors import error_classes
from auth_service.settings import Settings

DEPLOY = Path(__file__).parents[1] / "deploy"
NGINX = DEPLOY / "nginx"


def answered_by_nginx() -> list[tuple[int, str]]:
    """The error answers of nginx itself: status and body."""
    text = (NGINX / "refusals.conf").read_text(encoding="utf-8")
    return [(int(status), body) for status, body in re.findall(r"return (\d+) '(.*)\\n';", text)]


@pytest.mark.parametrize(("status", "body"), answered_by_nginx())
def test_nginx_has_the_error_answers_of_the_service(status: int, body: str) -> None:
    (kind,) = [kind for kind in error_classes() if f'"code": "{kind.code}"' in body]

    assert status_of(kind) == status
    assert body + "\n" == error_body(kind(retry_after=1 if status in (429, 503) else None))


def test_se9_nginx_has_no_error_page_of_its_own() -> None:
    text = (NGINX / "refusals.conf").read_text(encoding="utf-8")
    pages = re.findall(r"^error_page ([\d ]+?)(?: =\d+)? /\.refused/(\d+);", text, re.MULTILINE)

    covered = {int(status) for statuses, _ in pages for status in statuses.split()}
    assert {400, 404, 405, 413, 414, 429, 494, 500, 502, 503, 504} <= covered
    assert {int(page) for _, page in pages} == {status for status, _ in answered_by_nginx()}
    assert text.count("include refusal-headers.conf;") == len(answered_by_nginx())


def test_se8_error_answers_of_nginx_have_the_headers_of_the_service(make_settings: Callable[..., Settings]) -> None:
    text = (NGINX / "refusal-headers.conf").read_text(encoding="utf-8")
    sent = {name: value.strip('"') for name, value in re.findall(r"add_header (\S+) (.+) always;", text)}

    assert sent == {**fixed_headers(make_settings(app_env="production")), "X-Request-Id": "$the_request_id"}


def test_nginx_and_the_service_have_the_same_size_and_time_limits() -> None:
    nginx = (NGINX / "nginx.conf").read_text(encoding="utf-8")
    gunicorn = (DEPLOY / "gunicorn.conf.py").read_text(encoding="utf-8")
    nginx_timeout = re.search(r"keepalive 16;.*?keepalive_timeout (\d+)s;", nginx, re.DOTALL)
    gunicorn_timeout = re.search(r"^keepalive = (\d+)$", gunicorn, re.MULTILINE)

    assert f"client_max_body_size {LARGEST_BODY // 1024}k;" in nginx
    assert nginx_timeout
    assert gunicorn_timeout
    assert int(nginx_timeout[1]) < int(gunicorn_timeout[1])


def test_lg1_nginx_logs_neither_query_nor_headers() -> None:
    nginx = (NGINX / "nginx.conf").read_text(encoding="utf-8")
    (logged,) = re.findall(r"log_format json.*?;", nginx, re.DOTALL)

    variables = set(re.findall(r"\$(\w+)", logged))
    assert not variables & {"request", "request_uri", "uri", "args", "query_string", "document_uri"}
    assert not [name for name in variables if name.startswith(("http_", "cookie_", "arg_", "sent_http_"))]


def logged_route(uri: str) -> str:
    """The route that nginx logs for a request, by the map of nginx.conf."""
    nginx = (NGINX / "nginx.conf").read_text(encoding="utf-8")
    (lines,) = re.findall(r"map \$request_uri \$route \{\n(.*?)\n    \}", nginx, re.DOTALL)
    for pattern, value in re.findall(r'"~(.*)" "?(.*?)"?;$', lines, re.MULTILINE):
        if match := re.search(pattern.replace("(?<", "(?P<"), uri):
            return re.sub(r"\$(\w+)", lambda name: match[name[1]], value)
    return "-"


SAMPLES = {
    "user_id": ("308645", "{id}"),
    "session_id": (str(uuid.uuid4()), "{id}"),
    "passkey_id": (str(uuid.uuid4()), "{id}"),
    "message_id": (str(uuid.uuid4()), "{id}"),
    "invitation_id": (str(uuid.uuid4()), "{id}"),
    "filename": ("a.css", "{file}"),
    "name": ("ROLE_EDITOR", "{name}"),
}


def test_nginx_logs_every_route_and_no_id(production: Flask) -> None:
    for rule in {rule.rule for rule in production.url_map.iter_rules()}:
        path, route = (
            re.sub(r"<\w+:(\w+)>", lambda name, which=which: SAMPLES[name[1]][which], rule)  # type: ignore[misc]
            for which in (0, 1)
        )
        assert logged_route(path) == route, f"{rule} has to be added to the map in nginx.conf"
        assert logged_route(f"{path}?code=7505") == route


@pytest.mark.parametrize(
    "uri",
    [
        "/api/v1/users/ada@example.org",
        "/api/v1/users/308645",
        "/api/v1/users/308645/mail/7505",
        "/api/v1/users/sign_in/hunter2",
        "/api/v1/users/me/sessions/7505",
        "/api/v1/users/mehunter2",
        "/health/live/7505",
        "/7505",
    ],
)
def test_lg1_nginx_does_not_log_unknown_paths(uri: str) -> None:
    assert logged_route(uri) == "-"
