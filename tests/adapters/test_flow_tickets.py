"""Flow tickets of second steps and passkey ceremonies: sealed, for one purpose, for five minutes."""

import uuid
from datetime import timedelta

import pytest

from auth_service.adapters.crypto.flow_tickets import FlowTicket, FlowTickets, TicketPurpose, ticket_digest
from auth_service.adapters.crypto.keys import base64url, from_base64url

SECRET = "a-secret-of-the-tests-0123456789-abcdefghijklmn"
TICKETS = FlowTickets(SECRET)
TICKET = FlowTicket(
    purpose=TicketPurpose.SECOND_STEP,
    transport="cookie",
    user_id=2**53 - 1,
    credential_version=7,
    amr=["pwd"],
    session_id=uuid.uuid4(),
    challenge=bytes(32),
    first_step=bytes(32),
)


def test_fd6_a_ticket_returns_what_was_sealed() -> None:
    sealed = TICKETS.seal(TICKET)

    assert TICKETS.open(sealed, purpose=TicketPurpose.SECOND_STEP) == TICKET
    assert len(ticket_digest(sealed)) == 32
    assert str(TICKET.user_id) not in sealed


@pytest.mark.parametrize("purpose", [purpose for purpose in TicketPurpose if purpose is not TICKET.purpose])
def test_fd6_a_ticket_of_one_flow_is_no_ticket_of_another(purpose: TicketPurpose) -> None:
    assert TICKETS.open(TICKETS.seal(TICKET), purpose=purpose) is None


def test_fd6_a_modified_foreign_or_malformed_ticket_is_rejected() -> None:
    sealed = TICKETS.seal(TICKET)
    raw = bytearray(from_base64url(sealed))
    raw[20] ^= 1
    others = [
        base64url(bytes(raw)),
        sealed[:-4],
        sealed + "A",
        "",
        "A",
        "é" * 40,
        "A" * 5000,
        FlowTickets("another-secret-0123456789-abcdefghijklmnopqrst").seal(TICKET),
    ]

    assert [TICKETS.open(other, purpose=TICKET.purpose) for other in others] == [None] * len(others)


@pytest.mark.parametrize(
    ("age", "expected"), [(timedelta(minutes=4, seconds=50), TICKET), (timedelta(minutes=5), None)]
)
def test_fd6_a_ticket_expires_after_five_minutes(age: timedelta, expected: FlowTicket | None) -> None:
    sealed_before = FlowTickets(SECRET, ttl=TICKETS.ttl - age).seal(TICKET)

    assert TICKETS.open(sealed_before, purpose=TICKET.purpose) == expected
    assert timedelta(minutes=5) == TICKETS.ttl


def test_fd6_every_ticket_is_different() -> None:
    assert len({TICKETS.seal(TICKET) for _ in range(50)}) == 50
