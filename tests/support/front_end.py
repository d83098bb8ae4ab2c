"""Example front end of docs/front-end.md in a browser: its files, the servers of its page, and Chromium."""

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents import FRONT_END, fences, section
from tests.support.live import ROOT

CLIENT = ROOT / "src" / "javascript_client" / "client.js"
CREATED = 'createClient({ baseUrl: "" })'
"""The line of the example that a front end changes."""
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "server", "date"}


def write_example(folder: Path, **options: str) -> Path:
    """Write the example of the documentation and the client into a folder, with other options of the client."""
    blocks = [block for _, block in fences(section(FRONT_END, "3. Write the page"))]
    index, app = blocks
    assert app.count(CREATED) == 1
    if options:
        app = app.replace(CREATED, f"createClient({options})")
    (folder / "index.html").write_text(index, "utf-8")
    (folder / "app.js").write_text(app, "utf-8")
    shutil.copy(CLIENT, folder)
    return folder


def vite_config(port: int) -> str:
    """The configuration of the dev proxy, for a service on this port."""
    config = next(block for _, block in fences(FRONT_END.read_text("utf-8")) if "proxy" in block)
    assert "http://127.0.0.1:5000" in config
    return config.replace("http://127.0.0.1:5000", f"http://127.0.0.1:{port}")


class _PageServer(SimpleHTTPRequestHandler):
    """Serves files; with a port of the API it forwards `/api`, as a reverse proxy of a portal does."""

    def __init__(self, *arguments: Any, api_port: int | None, **named: Any) -> None:
        self._api_port = api_port
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        if self._api_port and self.path.startswith("/api/"):
            self._forward()
        else:
            super().do_GET()

    def _forward(self) -> None:
        assert self._api_port is not None
        connection = HTTPConnection("127.0.0.1", self._api_port, timeout=30)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    def do_POST(self) -> None:
        self._forward()

    def do_PUT(self) -> None:
        self._forward()

    def do_PATCH(self) -> None:
        self._forward()

    def do_DELETE(self) -> None:
        self._forward()

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def page_server(folder: Path, *, api_port: int | None = None, port: int = 0) -> Iterator[int]:
    """Serve the files of a folder on 127.0.0.1, and `/api` by the service on `api_port`; yields the port.

    `port` is a free one by default.
    """
    handler = partial(_PageServer, directory=str(folder), api_port=api_port)
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright; skips the test if one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if not program:
        pytest.skip("chromium is not installed (.ci/run installs it)")
    with playwright.sync_playwright() as started:
        # Chromium has no sandbox for root, as which CI runs.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = started.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@dataclass
class Tab:
    """One tab: a user who fills in the forms of the example, and what the browser reports."""

    page: Any
    requests: list[str] = field(default_factory=list)
    """Method and path of each request to the API."""
    problems: list[str] = field(default_factory=list)
    """Exceptions of scripts, and errors in the console."""

    @classmethod
    def open(cls, context: Any, url: str) -> "Tab":
        """Open the page."""
        tab = cls(context.new_page())
        tab.page.on("request", lambda request: tab.requests.append(f"{request.method} {_path(request.url)}"))
        tab.page.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.page.on("console", tab._note_message)
        tab.page.set_default_timeout(60_000)
        tab.page.goto(url)
        return tab

    def _note_message(self, message: Any) -> None:
        # Chromium reports every answer with an error status; those are part of the flows.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.problems.append(message.text)

    def fill(self, form: str, **values: str) -> None:
        """Wait for a form, fill it in and send it."""
        for name, value in values.items():
            self.page.fill(f"#{form} [name={name}]", value)
        self.page.click(f"#{form} button")

    def shows(self, form: str) -> None:
        """Wait until the page shows this form."""
        self.page.wait_for_selector(f"#{form}", state="visible")

    def message(self) -> str:
        """Wait for an error message."""
        self.page.wait_for_function("document.getElementById('message').textContent")
        text: str = self.page.text_content("#message")
        return text

    def user(self) -> str:
        """Wait until the user is signed in; return the address that the page shows."""
        self.shows("account")
        text: str = self.page.text_content("#user")
        return text

    def refreshes(self) -> int:
        """How many refreshes the page has requested."""
        return self.requests.count("POST /api/v1/users/refresh_token")


def _path(url: str) -> str:
    return re.sub(r"^https?://[^/]+|\?.*$", "", url)


def wait_for_code(mailbox: Any, email: str) -> str:
    """Wait for the emailed code of an address."""
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        if codes := [letter.code for letter in mailbox.letters_to(email) if letter.code]:
            return str(codes[0])
        time.sleep(0.05)
    raise AssertionError(f"no email to {email}")
