"""gunicorn worker: a thread for each connection, time limits for slow clients, and JSON errors for malformed HTTP."""

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
from auth_service.api.http.problems import requested_form
from auth_service.api.http.responses import status_of
from auth_service.errors import HeadersTooLarge, HttpRequestInvalid, InternalError, ServiceError, UrlTooLong
from auth_service.server.client_socket import ClientSocket

log = logging.getLogger(__name__)


class Worker(gthread.ThreadWorker):
    """Answers malformed HTTP in JSON. Logs neither request line nor headers, which may contain codes and cookies.

    `docs/decisions/0018-private-api.md` lists the private API of gunicorn that this class uses.
    """

    def get_thread_pool(self) -> RequestThreads:
        """Return a pool with one thread for each connection. `RequestSlots` limits the concurrent requests."""
        return RequestThreads(self.cfg.worker_connections)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting. A worker that shuts down accepts the waiting connections and closes the listener.

        gunicorn closes the listener only after the last response. Until then the kernel would assign connections to the
        listener, and reset them at the end (graceful shutdown).
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
            # Otherwise the main loop would wait up to two seconds for the client, without accepting connections.
            conn.sock.finish()
        return keep_alive

    def handle_error(self, req: Any, client: ClientSocket, addr: Any, exc: Exception) -> None:
        """Answer a request that gunicorn could not parse or pass to the application."""
        error = _error_for(exc)
        metrics.observe_error(type(error))
        status = status_of(type(error))
        request_id = uuid.uuid4().hex
        logs.request_id.set(request_id)
        log.log(
            logging.ERROR if isinstance(error, InternalError) else logging.INFO,
            "request not understood",
            extra={"error": type(exc).__name__, "status": status},
        )
        settings = self.wsgi.extensions["auth_service"].settings
        request = client.unparsed_headers(read_on=isinstance(error, (UrlTooLong, HeadersTooLarge)))
        text, content_type = requested_form(
            error, accept=request.accept, public_url=settings.public_url, request_id=request_id
        )
        body = text.encode()
        headers = {
            "Connection": "close",
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "X-Request-Id": request_id,
            **fixed_headers(settings),
            **cors_headers(settings, request.origin),
        }
        head = [f"HTTP/1.1 {status} {HTTP_STATUS_CODES[status]}", *(f"{name}: {headers[name]}" for name in headers)]
        try:
            client.sendall("\r\n".join([*head, "", ""]).encode() + body)
        except OSError:
            log.debug("the client has closed the connection")


def _error_for(exc: Exception) -> ServiceError:
    if isinstance(exc, LimitRequestLine):
        return UrlTooLong()
    if isinstance(exc, LimitRequestHeaders):
        return HeadersTooLarge()
    return HttpRequestInvalid() if isinstance(exc, ParseException) else InternalError()
