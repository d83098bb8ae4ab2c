"""gunicorn worker: threads for clients that are slow, time limits for each of them, and JSON for malformed HTTP."""

import logging
import os
import uuid
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers import gthread
from werkzeug.http import HTTP_STATUS_CODES

from auth_service import logs
from auth_service.adapters.request_threads import RequestThreads
from auth_service.api.http import metrics
from auth_service.api.http.middleware import cors_headers, fixed_headers
from auth_service.api.http.responses import JSON, error_body, status_of
from auth_service.errors import HeadersTooLarge, HttpRequestInvalid, InternalError, ServiceError, UrlTooLong
from auth_service.server.client_socket import ClientSocket

log = logging.getLogger(__name__)


class Worker(gthread.ThreadWorker):
    """Answers in JSON, and logs neither the request line nor headers: they may hold codes and cookies.

    What it uses of gunicorn beyond the settings is listed in `docs/decisions/0018-private-api.md`.
    """

    def get_thread_pool(self) -> RequestThreads:
        """A thread for every client that may be slow; how many requests are at work is up to `RequestSlots`."""
        return RequestThreads(self.cfg.worker_connections)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not. A worker that stops accepts those that wait already, and closes the listener.

        gunicorn closes it only after the last response. Connections that the kernel gave to this listener meanwhile
        would not be served, and be reset in the end (E18).
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
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket.take_over(conn.sock)
        conn.sock.begin_request()
        keep_alive = super().handle(conn)
        conn.sock.end_request()
        if not keep_alive:
            # The main loop would wait for the client here, up to two seconds, and accept nobody meanwhile.
            conn.sock.finish()
        return keep_alive

    def handle_error(self, req: Any, client: ClientSocket, addr: Any, exc: Exception) -> None:
        """Answer a request that gunicorn could not hand to the application."""
        refusal = _refusal(exc)
        metrics.observe_error(type(refusal))
        status = status_of(type(refusal))
        request_id = uuid.uuid4().hex
        logs.request_id.set(request_id)
        log.log(
            logging.ERROR if isinstance(refusal, InternalError) else logging.INFO,
            "request not understood",
            extra={"trouble": type(exc).__name__, "status": status},
        )
        body = error_body(refusal).encode()
        settings = self.wsgi.extensions["auth_service"].settings
        headers = {
            "Connection": "close",
            "Content-Type": JSON,
            "Content-Length": str(len(body)),
            "X-Request-Id": request_id,
            **fixed_headers(settings),
            **cors_headers(settings, client.origin(read_on=isinstance(refusal, (UrlTooLong, HeadersTooLarge)))),
        }
        head = [f"HTTP/1.1 {status} {HTTP_STATUS_CODES[status]}", *(f"{name}: {headers[name]}" for name in headers)]
        try:
            client.sendall("\r\n".join([*head, "", ""]).encode() + body)
        except OSError:
            log.debug("the client has gone")


def _refusal(exc: Exception) -> ServiceError:
    if isinstance(exc, LimitRequestLine):
        return UrlTooLong()
    if isinstance(exc, LimitRequestHeaders):
        return HeadersTooLarge()
    return HttpRequestInvalid() if isinstance(exc, ParseException) else InternalError()
