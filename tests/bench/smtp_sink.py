"""SMTP sink: a server that replies at once and stores nothing.

`python -m tests.bench.smtp_sink` runs until standard input is closed.
"""

import asyncio
import sys
import threading

REPLIES = {b"EHLO": b"250 sink\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
END_OF_MESSAGE = b"\r\n.\r\n"


class Connection(asyncio.Protocol):
    """One connection. Commands arrive one at a time, since the mail worker waits for each reply."""

    def __init__(self) -> None:
        self._received = b""
        self._in_message = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(END_OF_MESSAGE if self._in_message else b"\r\n"):
            return
        command, self._received = self._received[:4].upper(), b""
        if self._in_message:
            self._in_message = False
            self._transport.write(b"250 taken\r\n")
        else:
            self._in_message = command == b"DATA"
            self._transport.write(REPLIES.get(command, b"250 ok\r\n"))


async def serve() -> None:
    """Listen on a free port of 127.0.0.1 and print it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()

    def wait_for_end_of_input() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve())
