"""Client connection with time limits: a request has to arrive, and its response has to be read, in time (E21, A3)."""

import errno
import re
import select
import socket
import struct
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

from gunicorn.http.errors import ParseException

from auth_service import clock
from auth_service.adapters.request_threads import release_slot

ARRIVES_WITHIN = timedelta(seconds=4)
"""The longest that a request may take to arrive, from its first byte to its last."""

READ_WITHIN = timedelta(seconds=10)
"""The longest that a client may leave a response unread before it is dropped."""

LINGERS = timedelta(seconds=0.5)
"""How long a client may take to close a connection that is closed on this side."""

SEND_BUFFER = 64 * 1024
"""Bytes of a response that the kernel takes over (it doubles the figure). Without a bound it would take 4 MB for each
client that reads nothing, and hear so late of one that reads slowly that it looked like one that does not read."""

DISCARDED = 64 * 1024
"""The most that is read from a client whose connection ends."""

KEPT = 64 * 1024
"""Bytes of a request that are kept until it is answered."""

SEARCHED = 1024 * 1024
"""Bytes of a request with an endless URL or header that are searched for its Origin header."""

END_OF_HEAD = b"\r\n\r\n"

ORIGIN = re.compile(rb"\r\norigin:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class TooSlow(ParseException):
    """The request did not arrive in time."""


class ClientSocket(socket.socket):
    """The connection of a client, as gunicorn reads and writes it.

    Reading and writing first try without waiting. A thread that has to wait releases its request slot meanwhile, if it
    holds one, so that clients that are slow, or read nothing, do not keep others from being served.
    """

    _deadline: float | None = None
    _is_over = False
    _received: list[bytes]
    _room = 0
    """How many more bytes are kept in `_received`."""

    @classmethod
    def take_over(cls, connection: socket.socket) -> Self:
        """The same connection; the object that stood for it is of no use afterwards."""
        timeout = connection.gettimeout()
        taken = cls(connection.family, connection.type, connection.proto, fileno=connection.detach())
        taken.settimeout(timeout)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        taken.begin_request()
        return taken

    def begin_request(self) -> None:
        """Count the time of the next request from its first byte."""
        self._deadline = None
        self._received, self._room = [], KEPT

    def end_request(self) -> None:
        """Forget what was received: a connection that stays open would keep it."""
        self._received, self._room = [], 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive what there is; nothing after the end. Raises TooSlow."""
        if self._is_over:
            return b""
        if self.gettimeout() is not None:  # gunicorn bounds by itself how long it discards the rest of a body
            return super().recv(size, flags)
        if self._deadline is None:
            self._deadline = clock.monotonic() + ARRIVES_WITHIN.total_seconds()
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
        """Send all of it. Raises ConnectionResetError, and drops the connection, when the client reads nothing."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.send(rest, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, within=READ_WITHIN.total_seconds()):
                    self._drop()
                    raise ConnectionResetError(errno.ECONNRESET, "the response was not read in time") from None

    def origin(self, *, read_on: bool) -> str:
        """The Origin header of a request that gunicorn could not parse; empty where it has none, or more than one.

        `read_on` reads the rest of the headers first, as far as it arrives without a pause: gunicorn gives up in the
        middle of a line that is too long.
        """
        head = b"".join(self._received)
        found, searched = _origins(head), len(head)
        while read_on and END_OF_HEAD not in head and searched < SEARCHED:
            more = self._what_follows()
            if not more:
                break
            searched += len(more)
            # What was searched before ends in the middle of a line, which may be the one.
            head = head[head.rfind(b"\r\n") :][-KEPT:] + more
            found += _origins(head)
        return found[0].decode("latin-1") if len(found) == 1 else ""

    def _what_follows(self) -> bytes:
        if not self._wait(select.POLLIN, within=LINGERS.total_seconds()):
            return b""
        try:
            return super().recv(KEPT, socket.MSG_DONTWAIT)
        except OSError:
            return b""

    def finish(self) -> None:
        """Let the client read the last response to its end (RFC 9112, 9.6), so that closing does not have to wait.

        A connection that is closed with something unread is reset, and what the client has not read yet is lost.
        """
        if self._is_over:
            return
        self._is_over = True
        with suppress(OSError):
            self.shutdown(socket.SHUT_WR)
            until, discarded = clock.monotonic() + LINGERS.total_seconds(), 0
            while discarded < DISCARDED and self._wait(select.POLLIN, within=until - clock.monotonic()):
                if not (received := super().recv(4096, socket.MSG_DONTWAIT)):
                    break
                discarded += len(received)

    def _drop(self) -> None:
        self._is_over = True
        # By a reset: after an ordinary close the kernel would go on offering the rest for minutes.
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _wait(self, event: int, *, within: float) -> bool:
        poller = select.poll()
        poller.register(self, event)
        with release_slot():
            return bool(poller.poll(max(0.0, within) * 1000))


def _origins(head: bytes) -> list[bytes]:
    """The values of all Origin headers that have arrived whole; a body has none."""
    end = head.find(END_OF_HEAD)
    return ORIGIN.findall(head if end < 0 else head[: end + 2])
