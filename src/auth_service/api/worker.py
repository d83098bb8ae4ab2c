"""gunicorn's threaded worker, speaking the contract's shape also where HTTP itself was malformed."""

import logging
import socket
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

from auth_service.api.envelope import error_body, status_of
from auth_service.errors import BadRequest, InternalError, Refusal

log = logging.getLogger(__name__)

STATUS_LINE = {
    400: "400 Bad Request",
    414: "414 URI Too Long",
    431: "431 Request Header Fields Too Large",
    500: "500 Internal Server Error",
}


class Worker(ThreadWorker):
    """Answers in JSON, and logs neither the request line nor headers: they may hold codes and cookies."""

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer a request that gunicorn could not hand to the application."""
        refusal: Refusal = BadRequest() if isinstance(exc, (ParseException, OSError)) else InternalError()
        status = status_of(type(refusal))
        if isinstance(exc, LimitRequestLine):
            status = 414
        elif isinstance(exc, LimitRequestHeaders):
            status = 431
        log.log(
            logging.INFO if isinstance(refusal, BadRequest) else logging.ERROR,
            "request not understood",
            extra={"trouble": type(exc).__name__, "status": status},
        )
        body = error_body(refusal)
        head = (
            f"HTTP/1.1 {STATUS_LINE[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
        )
        try:
            client.sendall(head.encode() + body.encode())
        except OSError:
            log.debug("the client has gone")
