"""One connection of the fake SMTP server: what it replies, and what it records."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.smtp_sink_message import SinkMessage

if TYPE_CHECKING:
    from tests.support.smtp_sink import SmtpSink


class Talk(SMTP):
    """One connection of the sink."""

    def __init__(self, sink: "SmtpSink", loop: asyncio.AbstractEventLoop) -> None:
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

    def __init__(self, sink: "SmtpSink") -> None:
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
