"""Faults of the SMTP server: the API is not affected, and each email is delivered or ends in a final state."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.client import RegistrationClient, expect_success
from tests.faults.programs import wait_until
from tests.faults.service import Service
from tests.support.smtp_sink_message import Mode

pytestmark = pytest.mark.slow

MAX_MEDIAN_SECONDS = 0.5
"""Seconds; half of the responses are faster also on a busy machine. An email may take one second."""


@pytest.fixture(autouse=True)
def _normal_smtp_server(service: Service) -> None:
    service.sink.mode = "normal"
    service.sink.modes.clear()


def request_codes(service: Service, number: int, *, port: int | None = None) -> list[RegistrationClient]:
    """Clients that have requested a code each."""
    clients = [service.registration_client("client") for _ in range(number)]

    def request_code(client: RegistrationClient) -> None:
        client.port = port or client.port
        expect_success(client.sign_up)
        expect_success(client.send_code)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(request_code, clients))
    return clients


def emails_per_client(service: Service, clients: list[RegistrationClient]) -> set[int]:
    """The numbers of emails that arrived for a client."""
    times = Counter(recipient for email in service.sink.messages for recipient in email.recipients)
    return {times[client.email] for client in clients}


def first_states(service: Service, clients: list[RegistrationClient]) -> list[str]:
    """The state of the first email to each client."""
    return [service.outbox_rows(client.email)[0][0] for client in clients]


def finish(service: Service, client: RegistrationClient) -> None:
    expect_success(lambda: client.confirm_email(service.newest_code(client)))
    expect_success(client.finish)


@pytest.mark.undisturbed  # the codes expire
@pytest.mark.parametrize(
    ("mode", "error"),
    [("refuse", "refused the connection"), ("4xx", "451"), ("tarpit", "took too long")],
)
def test_emails_are_delivered_after_the_smtp_server_recovers(
    mode: Mode, error: str, service: Service, report: Callable[[str], None]
) -> None:
    service.sink.mode = mode
    clients = [service.registration_client("patient") for _ in range(5)]
    responses = [
        expect_success(step) for client in clients for step in (client.sign_up, client.send_code, client.look_up)
    ]
    wait_until(
        lambda: all(error in (service.outbox_rows(client.email)[0][2] or "") for client in clients),
        within=10,
        what="every email was tried",
    )

    service.sink.mode = "normal"
    repaired = time.monotonic()
    for client in clients:
        finish(service, client)

    assert statistics.median(response.seconds for response in responses) < MAX_MEDIAN_SECONDS
    assert first_states(service, clients) == ["sent"] * 5
    assert emails_per_client(service, clients) == {1}
    report(f"all emails arrived within {time.monotonic() - repaired:.1f} s after the recovery of the server")


def test_a_permanently_rejected_email_is_dead_and_the_next_one_is_sent(service: Service) -> None:
    service.sink.mode = "5xx"
    [client] = request_codes(service, 1)
    wait_until(lambda: service.outbox_rows(client.email)[0][0] == "dead", within=10, what="the email is dead")
    assert service.outbox_rows(client.email) == [("dead", 1, "550 recipient not accepted")]
    assert service.sql("SELECT payload FROM letters WHERE recipient = %s", client.email) == [(None,)]

    service.sink.mode = "normal"
    expect_success(client.resend_code)
    finish(service, client)


def test_an_email_with_a_lost_smtp_reply_is_repeated_with_the_same_message_id(service: Service) -> None:
    service.sink.mode = "drop after DATA"
    [client] = request_codes(service, 1)
    service.sink.wait_for(1, to=client.email)
    service.sink.mode = "normal"
    emails = service.sink.wait_for(2, to=client.email)

    assert len({email.message_id for email in emails}) == 1
    assert len({email.raw for email in emails}) == 1
    finish(service, client)
    assert service.outbox_rows(client.email)[0][0] == "sent"


@pytest.fixture(scope="module")
def short_lived_codes(service: Service) -> Iterator[int]:
    """The port of an API whose codes expire after two seconds."""
    with service.another_api(CODE_LIFETIME_SECONDS="2") as port:
        yield port


def test_an_expired_code_is_not_sent(service: Service, short_lived_codes: int) -> None:
    service.sink.mode = "refuse"
    clients = request_codes(service, 5, port=short_lived_codes)
    wait_until(lambda: first_states(service, clients) == ["expired"] * 5, within=15, what="all emails are expired")
    service.sink.mode = "normal"

    for client in clients:
        client.port = service.port
        expect_success(client.resend_code)
        finish(service, client)
    assert emails_per_client(service, clients) == {1}


def test_a_tarpit_does_not_delay_emails_to_other_recipients(service: Service, report: Callable[[str], None]) -> None:
    # The defaults of an installation: an email may take fifteen seconds.
    service.restart_mailer(MAIL_TIMEOUT_SECONDS="15", OUTBOX_LEASE_SECONDS="60")
    tarpitted = [service.registration_client("slow") for _ in range(3)]
    service.sink.modes |= {client.email: "tarpit" for client in tarpitted}
    for client in tarpitted:
        expect_success(client.sign_up)
        expect_success(client.send_code)
    wait_until(
        lambda: {client.email for client in tarpitted} <= {to for _, to in service.sink.recipients},
        within=10,
        what="all three emails are in the tarpit",
    )

    requested_at: dict[str, float] = {}
    for _ in range(30):
        quick = service.registration_client("quick")
        expect_success(quick.sign_up)
        expect_success(quick.send_code)
        requested_at[quick.email] = time.time()
    wait_until(lambda: all(map(service.sink.to, requested_at)), within=10, what="the emails to other recipients")

    assert not any(service.sink.to(client.email) for client in tarpitted)
    delays = sorted(service.sink.to(email)[0].at - at for email, at in requested_at.items())
    report(f"behind three tarpits: median {delays[15]:.2f} s, slowest {delays[-1]:.2f} s")
    service.sink.modes.clear()
    service.sink.hang_up()
    for client in tarpitted:
        finish(service, client)


def test_a_code_that_expires_while_its_email_waits_for_a_sender_thread_is_not_sent(
    service: Service, short_lived_codes: int
) -> None:
    service.mailer.stop()
    clients = request_codes(service, 4, port=short_lived_codes)
    service.sink.modes |= {client.email: "tarpit" for client in clients}
    service.mailer.start(MAIL_SENDERS="1", MAIL_TIMEOUT_SECONDS="4", OUTBOX_LEASE_SECONDS="60")
    wait_until(lambda: first_states(service, clients) == ["expired"] * 4, within=30, what="all emails are expired")

    assert len({to for _, to in service.sink.recipients} & {client.email for client in clients}) <= 1
    assert service.sql("SELECT count(*) FROM letters WHERE state <> 'waiting' AND payload IS NOT NULL") == [(0,)]


@pytest.fixture(scope="module")
def two_mailers(service: Service) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Two running mail workers; the context manager pauses both, so that emails accumulate."""
    settings = {"MAIL_TIMEOUT_SECONDS": "5", "OUTBOX_LEASE_SECONDS": "6"}
    service.restart_mailer(**settings)
    service.second_mailer.start(**settings)
    service.wait_until_mail_workers_run()

    @contextmanager
    def paused() -> Iterator[None]:
        with service.mailer.frozen(), service.second_mailer.frozen():
            yield

    yield paused
    assert service.second_mailer.stop() == 0


def test_two_mail_workers_send_each_email_once(
    two_mailers: Callable[[], AbstractContextManager[None]], service: Service, report: Callable[[str], None]
) -> None:
    with two_mailers():
        clients = request_codes(service, 300)
    took = wait_until(lambda: outbox_is_empty(service), within=30, what="no email waits in the outbox")

    assert emails_per_client(service, clients) == {1}
    report(f"300 emails by two mail workers in {took:.1f} s")


def test_two_mail_workers_send_each_email_once_to_a_slow_server(
    two_mailers: Callable[[], AbstractContextManager[None]], service: Service
) -> None:
    """Emails wait for a sender thread longer than their lease: a worker with an expired lease must not send them."""
    # An SMTP dialogue has about fifty bytes of replies: two of the five seconds allowed; four emails for each thread.
    service.sink.drip = 0.035
    with two_mailers():
        clients = request_codes(service, 32)
        service.sink.modes |= {client.email: "tarpit" for client in clients}
    wait_until(lambda: outbox_is_empty(service), within=40, what="no email waits in the outbox")
    service.sink.drip = 1.0

    assert emails_per_client(service, clients) == {1}


def outbox_is_empty(service: Service) -> bool:
    return not service.sql("SELECT id FROM letters WHERE state = 'waiting'")
