"""Fake SMTP server: records the emails it receives, and fails as a test configures it."""

import asyncio
import json
import re
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import count
from typing import Any, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

Mode = Literal["normal", "4xx", "5xx", "tarpit", "drop after DATA", "refuse"]
"""normal: accept everything · 4xx, 5xx: reject recipients transiently or permanently · tarpit: one byte of a reply each
`drip` · drop after DATA: accept the email and hang up without a reply · refuse: stop listening, end connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkMessage:
    """An email that the sink accepted."""

    at: float
    """When it was complete, in seconds since the epoch."""
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    talk: int
    """The number of its connection."""
    encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.raw, policy=policy.default)

    @property
    def message_id(self) -> str:
        # Parsing the whole email takes longer than sending it.
        match = re.search(rb"^Message-ID:\s*(<[^>]*>)", self.raw, re.MULTILINE | re.IGNORECASE)
        return match[1].decode() if match else ""


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


class Talk(SMTP):
    """One connection of the sink."""

    def __init__(self, sink: SmtpSink, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            Records(sink),
            loop=loop,
            hostname="sink.test",
            tls_context=sink.starttls,
            auth_require_tls=False,
            auth_exclude_mechanism={"PLAIN", "LOGIN"} - set(sink.mechanisms),
            authenticator=self._authenticated,
        )
        self.sink = sink
        self.number = 0
        self.dripping = False
        self.greeted = False
        self._smtp_methods = {name: self._as_told(name, method) for name, method in self._smtp_methods.items()}

    def encrypted(self) -> bool:
        assert self.transport is not None
        return self.transport.get_extra_info("ssl_object") is not None

    def hang_up(self) -> "asyncio.Task[None]":
        """Cut the connection; the task that is returned ends with it."""
        transport = self._original_transport or self.transport
        if isinstance(transport, asyncio.Transport):
            transport.abort()
        assert self._handler_coroutine is not None
        return self._handler_coroutine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self.number:
            self.sink.talks_begun += 1
            self.number = self.sink.talks_begun
            self.sink.talks.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        assert self._handler_coroutine is not None
        self._handler_coroutine.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            task.exception()  # Retrieved, so that asyncio does not report a connection that was cut on purpose.
        self.sink.talks.discard(self)

    async def push(self, status: str | bytes) -> None:
        if not self.greeted:
            self.greeted = True
            status = self.sink.answers.get("greeting", status)
        reply = status if isinstance(status, bytes) else status.encode()
        if self.dripping or self.sink.mode == "tarpit":
            for byte in reply + b"\r\n":
                self._writer.write(bytes([byte]))
                await self._writer.drain()
                await asyncio.sleep(self.sink.drip)
        else:
            await super().push(reply)
        if reply.startswith(b"421") and self.transport is not None:
            self.transport.close()

    def _as_told(
        self, command: str, method: Callable[[str | None], Awaitable[None]]
    ) -> Callable[[str | None], Awaitable[None]]:
        async def handle(argument: str | None) -> None:
            self.sink.commands.append(command if argument is None or command == "AUTH" else f"{command} {argument}")
            if command in self.sink.answers:
                await self.push(self.sink.answers[command])
            else:
                await method(argument)

        for name in vars(method):  # The attributes that @syntax of aiosmtpd sets.
            setattr(handle, name, getattr(method, name))
        return handle

    def _authenticated(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, credentials: LoginPassword
    ) -> AuthResult:
        user, password = credentials.login.decode(), credentials.password.decode()
        self.sink.sign_ins.append((user, password, self.encrypted()))
        good = self.sink.users is not None and self.sink.users.get(user) == password
        return AuthResult(success=good, handled=False, auth_data=user)


class Records:
    """The handler of aiosmtpd: records emails and replies to commands."""

    def __init__(self, sink: SmtpSink) -> None:
        self.sink = sink

    async def handle_MAIL(  # noqa: N802
        self, talk: Talk, session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        talk.dripping = False
        if self.sink.users is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, talk: Talk, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        self.sink.recipients.append((time.time(), address))
        match self.sink.mode_for(address):
            case "4xx":
                return f"451 4.7.1 <{address}> not now, come back later"
            case "5xx":
                return f"550 5.1.1 <{address}> is not known here"
            case "tarpit":
                talk.dripping = True
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, talk: Talk, session: Session, envelope: Envelope) -> str:  # noqa: N802
        sink = self.sink
        if "letter" in sink.answers:
            return sink.answers["letter"]
        with sink.arrival:
            sink.messages.append(
                SinkMessage(
                    at=time.time(),
                    sender=str(envelope.mail_from),
                    recipients=tuple(map(str, envelope.rcpt_tos)),
                    raw=bytes(envelope.original_content or b""),
                    talk=talk.number,
                    encrypted=talk.encrypted(),
                    user=session.auth_data if session.authenticated else None,
                )
            )
            sink.arrival.notify_all()
        if any(sink.mode_for(str(address)) == "drop after DATA" for address in envelope.rcpt_tos):
            talk.hang_up()
            await asyncio.Event().wait()  # Ends with the connection.
        return "250 OK"


def main() -> None:
    """Serve in a process of its own: `python -m tests.support.fakes [port]`, until standard input ends.

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
