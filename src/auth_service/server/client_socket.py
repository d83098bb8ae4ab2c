"""Client connection with time limits against slow clients (Slowloris): for each request, and for each response."""

import errno
import re
import select
import socket
import struct
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple, Self

from gunicorn.http.errors import ParseException

from auth_service import clock
from auth_service.adapters.request_threads import release_slot

REQUEST_WITHIN = timedelta(seconds=4)
"""Time limit for the arrival of a request, from its first byte to its last (Slowloris)."""

READ_WITHIN = timedelta(seconds=10)
"""Time limit for a pause in which the client does not read its response; then the connection is dropped."""

CLOSE_WITHIN = timedelta(seconds=0.5)
"""Time limit for the client to close a connection that is already closed on this side."""

SEND_BUFFER = 64 * 1024
"""Bytes of a response that the kernel buffers (the kernel doubles the number). Without this bound it would buffer 4 MB
for each client that reads nothing, and a slow client would seem to read nothing, because its progress shows late."""

MOST_DISCARDED = 64 * 1024
"""Upper bound of the bytes that are read and discarded while a connection is closed."""

MOST_KEPT = 64 * 1024
"""Upper bound of the bytes of a request that are kept until the request is answered."""

MOST_SEARCHED = 1024 * 1024
"""Upper bound of the bytes of a request with an endless URL or header that are searched for its headers."""

END_OF_HEAD = b"\r\n\r\n"

HEADER = re.compile(rb"\r\n(origin|accept):[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
"""The request headers that decide about the form of an error response."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class TooSlow(ParseException):
    """The request did not arrive in time."""


class UnparsedHeaders(NamedTuple):
    """Headers of a request that could not be parsed."""

    origin: str
    """Empty if there is none or several."""
    accept: str
    """Empty if there is none; several are joined, as they mean the same in one line."""


class ClientSocket(socket.socket):
    """The connection of a client, as gunicorn reads and writes it.

    Reading and writing first try without waiting. A thread that has to wait releases its request slot until the wait
    ends, so that slow clients do not block others.
    """

    _deadline: float | None = None
    _is_finished = False
    _received: list[bytes]
    _room = 0
    """How many more bytes are kept in `_received`."""

    @classmethod
    def take_over(cls, connection: socket.socket) -> Self:
        """Return a `ClientSocket` for the same connection. `connection` is detached and cannot be used afterwards."""
        timeout = connection.gettimeout()
        taken = cls(connection.family, connection.type, connection.proto, fileno=connection.detach())
        taken.settimeout(timeout)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        taken.begin_request()
        return taken

    def begin_request(self) -> None:
        """Reset the time limit: it starts with the first byte of the next request."""
        self._deadline = None
        self._received, self._room = [], MOST_KEPT

    def end_request(self) -> None:
        """Free the received bytes, which a kept-alive connection would keep in memory."""
        self._received, self._room = [], 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive the bytes that have arrived; none after `finish`. Raises TooSlow."""
        if self._is_finished:
            return b""
        if self.gettimeout() is not None:  # gunicorn discards the rest of a body, with a timeout of its own
            return super().recv(size, flags)
        if self._deadline is None:
            self._deadline = clock.monotonic() + REQUEST_WITHIN.total_seconds()
        while True:
            with suppress(BlockingIOError):
                received = super().recv(size, flags | socket.MSG_DONTWAIT)
                if self._room > 0:
                    self._received.append(received)
                    self._room -= len(received)
                return received
            if not self._wait(select.POLLIN, within=self._deadline - clock.monotonic()):
                raise TooSlow

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of `data`. If the client reads nothing, drops the connection and raises ConnectionResetError."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.send(rest, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, within=READ_WITHIN.total_seconds()):
                    self._drop()
                    raise ConnectionResetError(errno.ECONNRESET, "the response was not read in time") from None

    def unparsed_headers(self, *, read_on: bool) -> UnparsedHeaders:
        """Return headers of a request that gunicorn could not parse.

        `read_on` reads more of the headers until a pause: gunicorn stops in the middle of a line that is too long.
        """
        head = b"".join(self._received)
        headers, searched = _headers(head), len(head)
        while read_on and END_OF_HEAD not in head and searched < MOST_SEARCHED:
            more = self._receive_more()
            if not more:
                break
            searched += len(more)
            # The end of the searched part may be an incomplete line, so its last line is searched again.
            head = head[head.rfind(b"\r\n") :][-MOST_KEPT:] + more
            headers += _headers(head)
        origins = [value for name, value in headers if name == b"origin"]
        return UnparsedHeaders(
            origin=origins[0].decode("latin-1") if len(origins) == 1 else "",
            accept=b", ".join(value for name, value in headers if name == b"accept").decode("latin-1"),
        )

    def _receive_more(self) -> bytes:
        if not self._wait(select.POLLIN, within=CLOSE_WITHIN.total_seconds()):
            return b""
        try:
            return super().recv(MOST_KEPT, socket.MSG_DONTWAIT)
        except OSError:
            return b""

    def finish(self) -> None:
        """Wait until the client has read the last response, so that the connection can be closed (RFC 9112, 9.6).

        Closing a connection with unread input resets it, and the client loses the part of the response not yet read.
        """
        if self._is_finished:
            return
        self._is_finished = True
        with suppress(OSError):
            self.shutdown(socket.SHUT_WR)
            until, discarded = clock.monotonic() + CLOSE_WITHIN.total_seconds(), 0
            while discarded < MOST_DISCARDED and self._wait(select.POLLIN, within=until - clock.monotonic()):
                if not (received := super().recv(4096, socket.MSG_DONTWAIT)):
                    break
                discarded += len(received)

    def _drop(self) -> None:
        self._is_finished = True
        # Close with a reset: after an ordinary close the kernel would retransmit the rest for minutes.
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _wait(self, event: int, *, within: float) -> bool:
        poller = select.poll()
        poller.register(self, event)
        with release_slot():
            return bool(poller.poll(max(0.0, within) * 1000))


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the names in lower case and the values of the headers that have arrived. The body is not searched."""
    end = head.find(END_OF_HEAD)
    return [(name.lower(), value) for name, value in HEADER.findall(head if end < 0 else head[: end + 2])]
