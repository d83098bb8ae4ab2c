"""Dev inbox: sent emails as an HTML page and as JSON; absent in production, protected against DNS rebinding."""

from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import MakeApp


@pytest.fixture
def inbox(app: Flask, services: Services) -> Iterator[DevInbox]:
    """The dev inbox of `app`, with the outbox delivered into it."""
    assert services.inbox is not None
    yield services.inbox
    services.inbox.clear()


def deliver(app: Flask, services: Services, inbox: DevInbox) -> None:
    """Deliver the waiting emails as the mail worker does."""
    with app.app_context():
        for message in services.delivery.claim(at_most=100):
            services.delivery.deliver(message, transport=inbox)


def test_a_program_reads_the_code_sent_to_an_address(
    app: Flask, services: Services, inbox: DevInbox, api: ApiClient
) -> None:
    for name in ("ada", "grace"):
        api.ask_for_code(api.sign_up(f"{name}@example.org"), 7505)
    deliver(app, services, inbox)

    response = app.test_client().get("/dev/inbox?to=ada@example.org")

    assert response.content_type == "application/json"
    [message] = response.json["data"]  # type: ignore[index]
    assert (message["to"], message["code"], message["language"]) == ("ada@example.org", "7505", "en")
    assert app.test_client().get("/dev/inbox?to=unknown@example.org").json == {"success": True, "data": []}


def test_a_browser_gets_html_and_a_program_gets_json(
    app: Flask, services: Services, inbox: DevInbox, api: ApiClient
) -> None:
    api.ask_for_code(api.sign_up("ada@example.org"), 7505)
    deliver(app, services, inbox)
    client = app.test_client()

    page = client.get("/dev/inbox", headers={"Accept": "text/html,*/*"})
    listed = client.get("/dev/inbox", headers={"Accept": "application/json"})

    assert page.content_type == "text/html; charset=utf-8"
    assert "script" not in page.headers["Content-Security-Policy"]
    assert BeautifulSoup(page.text, "html.parser").select_one("article .code").text == "7505"  # type: ignore[union-attr]
    assert len(listed.json["data"]) == 1  # type: ignore[index]


def test_the_content_of_emails_is_escaped(app: Flask, inbox: DevInbox) -> None:
    message = EmailMessage()
    message["Subject"] = "<script>alert(1)</script>"
    message.set_content("<script>alert(2)</script>")
    inbox.send(message, to="ada@example.org")

    page = app.test_client().get("/dev/inbox", headers={"Accept": "text/html"}).text

    assert "<script>" not in page


def test_an_empty_inbox_shows_a_message(app: Flask, inbox: DevInbox) -> None:
    inbox.clear()
    assert "No emails yet" in app.test_client().get("/dev/inbox", headers={"Accept": "text/html"}).text


def test_production_has_no_inbox(production: Flask) -> None:
    assert production.test_client().get("/dev/inbox").json["error"]["code"] == "path_unknown"  # type: ignore[index]


@pytest.mark.parametrize("name", ["rebound.example", "127.0.0.1.example", "10.0.0.1:5000"])
def test_dns_rebinding_reveals_no_emails(app: Flask, name: str) -> None:
    response = app.test_client().get("/dev/inbox?to=ada@example.org", headers={"Host": name})

    assert (response.status_code, response.json["error"]["code"]) == (404, "path_unknown")  # type: ignore[index]


def test_every_host_name_is_accepted_with_listen_beyond_loopback(make_app: MakeApp) -> None:
    app = make_app(listen_beyond_loopback=True)

    assert app.test_client().get("/dev/inbox", headers={"Host": "dev.example"}).status_code == 200
