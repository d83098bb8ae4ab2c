"""Problem details (RFC 9457, OA7): every error in that form if `Accept` requests it, and never otherwise."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.api.contract.json_schemas import Schemas
from auth_service.api.http.responses import status_of
from auth_service.app import create_app
from auth_service.errors import ServiceError, ValidationFailed, error_classes
from auth_service.settings import Settings
from tests.support.actors import ApiClient, refusal
from tests.support.application import forget
from tests.support.live import Answer, Live

PROBLEM = "application/problem+json"
PUBLIC_URL = "http://127.0.0.1:5000"
REQUEST_ID = "0123456789abcdef"


def check_problem(body: Any, *, code: str, status: int, request_id: str) -> None:
    """Check the members that every problem has."""
    assert body["type"] == f"{PUBLIC_URL}/api/v1/errors#{code}"
    assert (body["status"], body["code"], body["instance"]) == (status, code, request_id)
    assert body["title"].endswith(".")
    assert not {"success", "result", "error", "msg"} & body.keys()


def an_error(error: type[ServiceError]) -> ServiceError:
    """An error with all its members."""
    example = Schemas(shortest_password=8).example_of_error(error)["error"]
    members = {name: each for name, each in example.items() if name in error.extra}
    return error(*members["fields"]) if error is ValidationFailed else error(**members)


@pytest.fixture(scope="module")
def raising(make_settings: Callable[..., Settings]) -> Iterator[Flask]:
    """The application, with a route that raises the error whose code is in the path."""
    app = create_app(make_settings())
    by_code = {error.code: error for error in error_classes()}

    @app.get("/raise/<code>")
    def raise_error(code: str) -> str:
        raise an_error(by_code[code])

    yield app
    forget(app)


@pytest.mark.parametrize("error", list(error_classes()), ids=lambda error: error.code)
def test_oa7_every_error_has_the_form_of_rfc_9457_if_requested_and_never_otherwise(
    raising: Flask, error: type[ServiceError]
) -> None:
    client = raising.test_client()

    def answer(**headers: str) -> TestResponse:
        return client.get(f"/raise/{error.code}", headers={"X-Request-Id": REQUEST_ID, **headers})

    problem, plain = answer(Accept=PROBLEM), answer()
    assert problem.status_code == plain.status_code == status_of(error)
    assert (problem.content_type, plain.content_type) == (PROBLEM, "application/json")
    body = problem.get_json()
    check_problem(body, code=error.code, status=status_of(error), request_id=REQUEST_ID)
    enveloped = refusal(plain)
    assert body["title"] == enveloped.pop("msg")
    assert {name: body[name] for name in enveloped} == enveloped
    assert body.keys() == {"type", "title", "status", "instance", *enveloped}
    for header in ("Retry-After", "WWW-Authenticate", "Cache-Control", "X-Content-Type-Options"):
        assert problem.headers.get(header) == plain.headers.get(header)


@pytest.mark.parametrize(
    ("accept", "is_problem"),
    [
        (PROBLEM, True),
        ("Application/Problem+JSON", True),
        (f"{PROBLEM}; charset=utf-8", True),
        (f"application/json, {PROBLEM}", True),
        (f"application/json;q=0.5, {PROBLEM};q=0.5", True),
        (f"{PROBLEM};q=0.9, */*;q=0.1", True),
        (f"text/html, {PROBLEM};q=0.2, application/json;q=0.1", True),
        (f"application/json, {PROBLEM};q=0.9", False),
        (f"*/*, {PROBLEM};q=0.9", False),
        (f"{PROBLEM};q=0", False),
        (f"{PROBLEM};q=0, */*", False),
        (f"{PROBLEM};q=wrong", False),
        ("application/json", False),
        ("application/*", False),
        ("*/*", False),
        ("application/problem+xml", False),
        (f"text/{PROBLEM}", False),
        ("", False),
    ],
)
def test_oa7_the_form_of_an_error_follows_the_quality_values_of_accept(
    app: Flask, accept: str, is_problem: bool
) -> None:
    answer = app.test_client().get("/api/v1/unknown", headers={"Accept": accept})

    assert answer.status_code == 404
    assert answer.content_type == (PROBLEM if is_problem else "application/json")
    assert ("title" in answer.get_json(force=True)) == is_problem


def test_oa7_successes_keep_their_form(app: Flask) -> None:
    answer = app.test_client().get("/api/v1/errors", headers={"Accept": PROBLEM})

    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.get_json()["success"] is True


def test_oa7_errors_before_and_after_the_views_have_the_requested_form(api: ApiClient) -> None:
    headers = {"Accept": PROBLEM}
    answers = {
        "path_unknown": api.call("GET", "/unknown/path", headers=headers),
        "method_not_allowed": api.call("DELETE", "/sign_up", headers=headers),
        "validation_failed": api.call("POST", "/sign_up", json={"email": 1}, headers=headers),
        "body_not_json": api.call("POST", "/sign_up", data="{", content_type="application/json", headers=headers),
        "content_type_unsupported": api.call("POST", "/sign_up", data="a=1", headers=headers),
        "body_too_large": api.call("POST", "/sign_up", json={"email": "a" * 20_000}, headers=headers),
        "token_missing": api.call("GET", "/me", headers=headers),
    }

    for code, answer in answers.items():
        assert answer.content_type == PROBLEM, code
        assert answer.get_json()["code"] == code
    fields = answers["validation_failed"].get_json()["fields"]
    assert [(each["field"], each["reason"]) for each in fields] == [("email", "wrong_type")]
    assert answers["method_not_allowed"].headers["Allow"] == "POST"


def unparsed(live: Live, *accept: str) -> dict[str, Answer]:
    """Requests that gunicorn cannot parse."""
    lines = [f"Accept: {each}" for each in accept]
    many = [f"X-Header-{number}: x" for number in range(60)]
    return {
        "bad_request": live.say("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "bad header", "", ""]).encode()),
        "url_too_long": live.request("GET", "/" + "a" * 9000, *lines),
        "headers_too_large": live.request("GET", "/", *many, *lines),
    }


def test_oa7_errors_of_the_server_have_the_requested_form(live: Live) -> None:
    for code, answer in unparsed(live, PROBLEM).items():
        assert answer.headers["Content-Type"] == PROBLEM, code
        check_problem(answer.json, code=code, status=answer.status, request_id=answer.headers["X-Request-Id"])
    for code, answer in unparsed(live, "application/json", f"{PROBLEM};q=0.1").items():
        assert (answer.headers["Content-Type"], answer.code) == ("application/json", code)


def test_the_list_of_errors_has_every_code_with_status_and_description(app: Flask) -> None:
    listed = app.test_client().get("/api/v1/errors").get_json()["data"]

    assert listed == sorted(listed, key=lambda each: (each["status"], each["code"]))
    assert {each["code"]: (each["status"], each["description"]) for each in listed} == {
        error.code: (status_of(error), error.message) for error in error_classes()
    }
