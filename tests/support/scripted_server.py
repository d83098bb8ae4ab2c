"""Scripted HTTP server: an endpoint of the authentication service whose answers a test chooses."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ScriptedServer:
    """The answer to every request, and the requests so far."""

    url: str
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the answer."""
    drip: float = 0.0
    """Seconds between two bytes of the body."""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers and body of each request."""

    def answer_with(self, content: Any, *, status: int = 200, **headers: str) -> None:
        """Answer with this JSON from now on, or with these bytes as they are."""
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        length = int(handler.headers.get("Content-Length", 0))
        self.requests.append((handler.path, dict(handler.headers), handler.rfile.read(length)))
        time.sleep(self.delay)
        with suppress(OSError):  # The client has given up.
            handler.send_response(self.status)
            for name, value in {"Content-Type": "application/json", **self.headers}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(self.body)))
            handler.end_headers()
            step = 1 if self.drip else max(1, len(self.body))
            for start in range(0, len(self.body), step):
                handler.wfile.write(self.body[start : start + step])
                time.sleep(self.drip)


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A listening server that answers `{}` until the test says otherwise."""

    class Handler(BaseHTTPRequestHandler):
        """Answers as the script says."""

        def do_GET(self) -> None:
            script.respond(self)

        def do_POST(self) -> None:
            script.respond(self)

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script = ScriptedServer(url=f"http://127.0.0.1:{server.server_address[1]}/answer")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
