"""The dev inbox of the `local` and `test` profiles: letters that were really delivered, to read and to test with."""

import json
from dataclasses import asdict
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request

from auth_service.adapters.email.dev_inbox import DevInbox, InboxMessage
from auth_service.api.http.responses import answer
from auth_service.errors import PathUnknown

NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

STYLE = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def blueprint(inbox: DevInbox, *, beyond_loopback: bool) -> Blueprint:
    """`/dev/inbox`: a page for people; JSON with `?to=E`, or for those who ask for JSON.

    Under the names of this machine only, unless others are meant to reach it (`beyond_loopback`).
    """
    made = Blueprint("dev", __name__, url_prefix="/dev")

    @made.before_request
    def known_by_this_name() -> None:
        # A page of a stranger may have a name of its own point here (DNS rebinding), and would be of the same origin.
        if not beyond_loopback and urlsplit(request.host_url).hostname not in NAMES:
            raise PathUnknown

    @made.get("/inbox")
    def letters() -> Response:
        to = request.args.get("to")
        found = inbox.letters(to=to)
        if to is not None or not request.accept_mimetypes.accept_html:
            return answer(status=200, data=_json(found), done=False)
        page = Response(render_template("inbox.html", letters=found), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = STYLE
        return page

    return made


def _json(letters: list[InboxMessage]) -> bytes:
    return json.dumps(
        [{**asdict(letter), "received_at": letter.received_at.isoformat()} for letter in letters]
    ).encode()
