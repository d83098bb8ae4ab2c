"""Dev inbox page (`/dev/inbox`): the emails that the profiles `local` and `test` deliver to files."""

import json
from dataclasses import asdict
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request

from auth_service.adapters.email.dev_inbox import DevInbox, InboxMessage
from auth_service.api.http.responses import success_response
from auth_service.errors import PathUnknown
from auth_service.services.email import addresses

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def blueprint(inbox: DevInbox, *, beyond_loopback: bool) -> Blueprint:
    """Return the blueprint of `/dev/inbox`: HTML for browsers; JSON with `?to=EMAIL` or if `Accept` excludes HTML.

    Answers only requests to a loopback host name, unless `beyond_loopback` is set.
    """
    dev = Blueprint("dev", __name__, url_prefix="/dev")

    @dev.before_request
    def reject_other_hosts() -> None:
        # DNS rebinding: a malicious page can resolve its host name to this machine and read the inbox as its origin.
        if not beyond_loopback and urlsplit(request.host_url).hostname not in LOOPBACK_HOSTS:
            raise PathUnknown

    @dev.get("/inbox")
    def emails() -> Response:
        to = request.args.get("to")
        if to is not None:
            to = _deliverable(to)
        messages = inbox.messages(to=to)
        if to is not None or not request.accept_mimetypes.accept_html:
            return success_response(status=200, data=_json(messages), done=False)
        page = Response(render_template("inbox.html", emails=messages), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return page

    return dev


def _deliverable(to: str) -> str:
    """Return the form of an address that email is sent to; a text that is no address has no emails."""
    try:
        return addresses.parse(to).stored
    except ValueError:
        return to


def _json(messages: list[InboxMessage]) -> bytes:
    return json.dumps(
        [{**asdict(message), "received_at": message.received_at.isoformat()} for message in messages]
    ).encode()
