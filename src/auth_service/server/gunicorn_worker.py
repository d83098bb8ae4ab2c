"""gunicorn's threaded worker: gives every request its time, and refuses malformed HTTP in the contract's shape."""

import logging
import os
import select
import socket
import uuid
from datetime import timedelta
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.http.unreader import SocketUnreader
from gunicorn.util import close_graceful
from gunicorn.workers import gthread
from werkzeug.http import HTTP_STATUS_CODES

from auth_service import clock, logs
from auth_service.adapters.request_threads import Lanes, stepping_aside
from auth_service.api.http import metrics
from auth_service.api.http.middleware import fixed_headers
from auth_service.api.http.responses import JSON, error_body, status_of
from auth_service.errors import HeadersTooLarge, HttpRequestInvalid, InternalError, ServiceError, UrlTooLong

log = logging.getLogger(__name__)

ARRIVES_WITHIN = timedelta(seconds=4)
"""The longest that a request may take to arrive, from its first byte to its last."""

LINGERS = timedelta(seconds=0.5)
"""How long a client may take to notice that a connection ends, before it is cut."""

# How long a thread waits for the rest of a body that nobody read. gunicorn has five seconds for this, in which a few
# clients would keep every thread from all others.
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.1


class TooSlow(ParseException):
    """The request did not arrive in time."""


class PunctualReader(SocketUnreader):
    """Reads one request after the other from a connection, each within its time."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._until: float | None = None

    def begin(self) -> None:
        """Start to count anew with the next byte."""
        self._until = None

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Receive what there is. Raises TooSlow."""
        # gunicorn sets a timeout of its own while it throws away the rest of a body that was not read.
        if self.sock.gettimeout() is None:
            self._wait()
        received: bytes = super().chunk(size_hint)
        return received

    def _wait(self) -> None:
        if self._until is None:
            self._until = clock.monotonic() + ARRIVES_WITHIN.total_seconds()
        if _readable(self.sock):
            return
        # Hundreds may be slow at once, by bad lines or on purpose: they wait beside those who are not.
        with stepping_aside():
            if not _readable(self.sock, within=max(0.0, self._until - clock.monotonic())):
                raise TooSlow


class Worker(gthread.ThreadWorker):
    """Answers in JSON, and logs neither the request line nor headers: they may hold codes and cookies."""

    def get_thread_pool(self) -> Any:
        """The threads that answer: so many at work, and besides those that wait for a hash or for a slow client."""
        return Lanes(at_once=self.cfg.threads)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Let people in or not; a worker that ends lets in whoever is at the door already, and closes it.

        gunicorn only turns away from the door, and closes it after the last answer. Whoever connected meanwhile would
        wait for nobody, and be cut off then.
        """
        super().set_accept_enabled(enabled)
        if self.alive and self.ppid == os.getppid():
            return
        for listener in self.sockets:
            before = None
            while before != self.nr_conns:
                before = self.nr_conns
                self.accept(listener)
            listener.close()

    def handle(self, conn: Any) -> Any:
        """Answer one request of a connection."""
        # Whoever connects and says nothing is for the main loop to wait for; gunicorn's threads would wait a moment.
        if not conn.initialized and not conn.data_ready and not _readable(conn.sock):
            return gthread._DEFER  # noqa: SLF001 - what its own way of handling returns then
        if conn.parser is None:
            conn.parser = get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = PunctualReader(conn.sock)
        conn.parser.unreader.begin()
        goes_on = super().handle(conn)
        if not goes_on:
            # gunicorn would do this in the main loop, and wait there for two seconds, letting nobody else in, until a
            # client that was told that the connection ends has closed it, too.
            with stepping_aside():
                close_graceful(conn.sock, timeout=LINGERS.total_seconds())
            conn.close = _closed_already
        return goes_on

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer a request that gunicorn could not hand to the application."""
        refusal = _refusal(exc)
        metrics.observe_refusal(type(refusal))
        status = status_of(type(refusal))
        request_id = uuid.uuid4().hex
        logs.request_id.set(request_id)
        log.log(
            logging.ERROR if isinstance(refusal, InternalError) else logging.INFO,
            "request not understood",
            extra={"trouble": type(exc).__name__, "status": status},
        )
        body = error_body(refusal).encode()
        headers = {
            "Connection": "close",
            "Content-Type": JSON,
            "Content-Length": str(len(body)),
            "X-Request-Id": request_id,
            **fixed_headers(self.wsgi.extensions["auth_service"].settings),
        }
        head = [f"HTTP/1.1 {status} {HTTP_STATUS_CODES[status]}", *(f"{name}: {headers[name]}" for name in headers)]
        try:
            client.sendall("\r\n".join([*head, "", ""]).encode() + body)
        except OSError:
            log.debug("the client has gone")


def _readable(sock: socket.socket, *, within: float = 0.0) -> bool:
    """Whether there is something to read, or will be within so many seconds."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(within * 1000))


def _closed_already(*, graceful: bool = False) -> None:
    """Stands in for closing a connection a second time."""


def _refusal(exc: Exception) -> ServiceError:
    if isinstance(exc, LimitRequestLine):
        return UrlTooLong()
    if isinstance(exc, LimitRequestHeaders):
        return HeadersTooLarge()
    return HttpRequestInvalid() if isinstance(exc, ParseException) else InternalError()
