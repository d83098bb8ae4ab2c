"""Fake SMTP server: records the emails it receives, and fails as a test configures it."""

import asyncio
import json
import ssl
import sys
import threading
from itertools import count
from typing import Any, Self

from tests.support.smtp_sink_message import Mode, SinkMessage
from tests.support.smtp_sink_talk import Talk


class SmtpSink:
    """An SMTP server in a thread of its own, on a loopback port that it keeps from `start` to `stop`.

    `mode` may be changed at any time; `modes` overrules it for single recipients (4xx, 5xx, tarpit, drop after DATA).
    `answers` overrules everything: a reply by the command that it answers, with "greeting" for the first line of all
    and "letter" for the reply to the data of an email; a 421 also hangs up. Every accepted email is in `messages`,
    every recipient of a RCPT command is in `recipients`, as (seconds since the epoch, address).
    """

    def __init__(
        self,
        *,
        mode: Mode = "normal",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
        mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN"),
        drip: float = 1.0,
    ) -> None:
        self.port = port
        self.drip = drip
        self.users = users
        self.modes: dict[str, Mode] = {}
        self.answers: dict[str, str] = {}
        self.messages: list[SinkMessage] = []
        self.recipients: list[tuple[float, str]] = []
        self.commands: list[str] = []
        """The command lines of all connections, without the arguments of AUTH."""
        self.sign_ins: list[tuple[str, str, bool]] = []
        """User, password, and whether the connection was encrypted."""
        self.talks: set[Talk] = set()
        """The connections that are open."""
        self.talks_begun = 0
        self.starttls = starttls
        self.mechanisms = mechanisms
        self.arrival = threading.Condition()
        self._tls = tls
        self._mode: Mode = mode
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: asyncio.Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if self._loop is not None:
            self._on_loop(self._listen_or_not())

    def mode_for(self, recipient: str) -> Mode:
        return self.modes.get(recipient, self._mode)

    def start(self) -> None:
        """Start to listen; `port` and `url` are valid from here on."""
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="smtp-sink", daemon=True)
        self._thread.start()
        self._loop = loop
        self._on_loop(self._listen_or_not())

    def stop(self) -> None:
        """Hang up and stop to listen. What was recorded stays."""
        if self._loop is None or self._thread is None:
            return
        loop, self._loop = self._loop, None
        self._mode = "refuse"
        asyncio.run_coroutine_threadsafe(self._finish(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(10)
        loop.close()

    def hang_up(self) -> None:
        """End all connections, as a restart of the server would, and continue to listen."""
        self._on_loop(self._end_talks())

    def clear(self) -> None:
        """Delete all records."""
        self.messages.clear()
        self.recipients.clear()
        self.commands.clear()
        self.sign_ins.clear()

    def to(self, recipient: str) -> list[SinkMessage]:
        return [message for message in self.messages if recipient in message.recipients]

    def wait_for(self, number: int, *, to: str | None = None, timeout: float = 10) -> list[SinkMessage]:
        """Wait for `number` emails (to `to`), and return them. Raises TimeoutError."""

        def arrived() -> list[SinkMessage]:
            return self.messages if to is None else self.to(to)

        with self.arrival:
            if not self.arrival.wait_for(lambda: len(arrived()) >= number, timeout):
                raise TimeoutError(f"{len(arrived())} of {number} emails arrived within {timeout} s")
            return list(arrived())

    def _on_loop(self, coroutine: Any) -> None:
        assert self._loop is not None, "start the sink first"
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen_or_not(self) -> None:
        if self._mode == "refuse":
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            await self._end_talks()
        elif self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(lambda: Talk(self, loop), "127.0.0.1", self.port, ssl=self._tls)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _finish(self) -> None:
        await self._listen_or_not()
        # Connections that were still being opened, in the middle of a TLS handshake for instance.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _end_talks(self) -> None:
        tasks = [talk.hang_up() for talk in self.talks]
        if tasks:
            await asyncio.wait(tasks)


def main() -> None:
    """Serve in a process of its own: `python -m tests.support.smtp_sink [port]`, until standard input ends.

    Prints the URL, then for each email a line of JSON: its time, recipients and Message-ID.
    """
    with SmtpSink(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as sink:
        print(sink.url, flush=True)
        threading.Thread(target=_print_emails, args=(sink,), daemon=True).start()
        sys.stdin.read()


def _print_emails(sink: SmtpSink) -> None:
    for number in count():
        with sink.arrival:
            while len(sink.messages) <= number:
                sink.arrival.wait()
        email = sink.messages[number]
        print(json.dumps({"at": email.at, "to": email.recipients, "message_id": email.message_id}), flush=True)


if __name__ == "__main__":
    main()
