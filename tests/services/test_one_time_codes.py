"""One-time codes by email: what binds a code, bound and unbound attempts, one class for every flow."""

import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from auth_service.db import unit_of_work
from auth_service.errors import CodeExpired, CodeWrong, TooManyCodes
from auth_service.models.outbox_message import CODE_KINDS, EmailKind
from auth_service.services.credentials.one_time_codes import (
    CodeNotEmailed,
    CodeSent,
    OneTimeCodes,
    Recipient,
    UnboundAttempts,
    bind_code,
    random_code,
)
from auth_service.services.email.addresses import Address, parse
from auth_service.services.users.recipients import recipient_or_decoy
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.stores import Query, Stores

ADA = parse("ada@example.org")
CODE, WRONG = "750505", "111111"

# Parts that an ambiguous encoding confuses: texts of digits, quotes and separators look like the adjacent parts.
HOSTILE = ("", "1", "1 1", " 1", "1,1", '1","1', "\\", "null", "None", "1:1", "[1]", "1|1")
NUMBERS = (None, 0, 1, 11)
SESSIONS = (None, uuid.UUID(int=0), uuid.UUID(int=1))
texts = st.sampled_from(HOSTILE) | st.text(max_size=20)
kinds = st.sampled_from(EmailKind)
numbers = st.sampled_from(NUMBERS) | st.integers(min_value=0, max_value=2**53)
sessions = st.sampled_from(SESSIONS) | st.uuids()


def bound(purpose: EmailKind, user_id: int | None, key: str, version: int | None, session_id: uuid.UUID | None) -> str:
    return bind_code(
        purpose=purpose,
        user_id=user_id,
        address=Address(stored="written@differently.example", key=key),
        credential_version=version,
        session_id=session_id,
    )


def test_cd4_no_two_bindings_share_their_bytes() -> None:
    bindings = list(itertools.product(EmailKind, NUMBERS, HOSTILE, NUMBERS, SESSIONS))

    assert len({bound(*parts).encode() for parts in bindings}) == len(bindings)


@given(parts=st.tuples(kinds, numbers, texts, numbers, sessions))
def test_cd4_every_part_can_be_decoded_from_a_binding(parts: tuple[Any, ...]) -> None:
    *others, session_id = parts

    read = json.loads(bound(*parts).encode())

    assert read == [*others, session_id and session_id.hex], "an encoding that can be decoded is unambiguous"


# The class, on real stores.


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """The codes of one purpose, for one user."""

    codes: OneTimeCodes
    to: Recipient

    def send(self, **more: Any) -> CodeSent:
        """Email a code."""
        with unit_of_work():
            return self.codes.send(**{"to": self.to, "network": "192.0.2.0/24", **more})

    def attempt(self, code: str, ticket: str | None = None, **changed: Any) -> int | None:
        """Try a code; returns the attempts that are left after a wrong one. Raises CodeExpired."""
        try:
            self.codes.verify_and_consume(code, replace(self.to, **changed), ticket=ticket)
        except CodeWrong as wrong:
            return int(wrong.members["attempts_left"])
        return None


@pytest.fixture
def roomy(make_app: MakeApp) -> Iterator[Flask]:
    """An application whose rate limits are not reached; this is its context, in which services are called."""
    app = make_app(limit_codes_per_network="1000/1d", limit_codes_a_day=100)
    with app.app_context():
        yield app


@pytest.fixture
def flow(roomy: Flask) -> Callable[..., Flow]:
    """Makes flows, each for a user of its own, who may have a session."""
    services: Services = roomy.extensions["auth_service"]
    user_id = ApiClient(roomy).sign_up(ADA.stored)

    def make(unbound: UnboundAttempts = UnboundAttempts.COUNTED_APART, *, session: bool = False, **more: Any) -> Flow:
        options = {"draw": lambda: CODE, **more}
        return Flow(
            codes=replace(services.sign_in.codes, unbound=unbound, **options),
            to=Recipient(
                address=ADA,
                language="en",
                user_id=user_id,
                credential_version=0,
                session_id=uuid.uuid4() if session else None,
            ),
        )

    return make


def test_every_kind_of_code_has_a_flow_and_all_flows_use_one_class_and_one_store(services: Services) -> None:
    codes = [
        services.registration.codes,
        services.sign_in.codes,
        services.password_reset.codes,
        services.email_change_flow.codes,
        services.account.codes,
        services.step_up.codes,
    ]

    assert {each.kind for each in codes} == set(CODE_KINDS)
    assert {type(each) for each in codes} == {OneTimeCodes}
    assert all(each.store is codes[0].store for each in codes), "flows differ by the binding of a code only"


def test_no_code_goes_into_an_email_that_does_not_count_for_the_daily_cap(services: Services) -> None:
    with pytest.raises(ValueError, match="new_device"):
        replace(services.sign_in.codes, kind=EmailKind.NEW_DEVICE)


def test_cd1_generated_codes_have_six_digits_and_may_begin_with_a_zero() -> None:
    codes = [random_code() for _ in range(2000)]

    assert all(re.fullmatch(r"[0-9]{6}", code) for code in codes)
    assert {code[0] for code in codes} == set("0123456789")
    assert len(set(codes)) > 1900


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": 1},
        {"user_id": None},
        {"address": parse("eve@example.org")},
        {"credential_version": 1},
        {"credential_version": None},
        {"session_id": uuid.UUID(int=7)},
        {"kind": EmailKind.RECOVERY_CODE},
    ],
    ids=str,
)
def test_cd4_a_code_is_valid_for_its_binding_only(
    flow: Callable[..., Flow], changed: dict[str, Any], session: bool
) -> None:
    mine = flow(session=session)
    ticket = mine.send().ticket
    changed = dict(changed)
    other = replace(mine, codes=replace(mine.codes, kind=changed.pop("kind", mine.codes.kind)))

    for code in (CODE, *[WRONG] * 7):
        with pytest.raises(CodeExpired):
            other.attempt(code, ticket, **changed)

    assert mine.attempt(WRONG, ticket) == 4, "attempts of another binding are not counted here"
    assert mine.attempt(CODE, ticket) is None
    with pytest.raises(CodeExpired):  # it is consumed
        mine.attempt(CODE, ticket)


def test_the_language_of_a_request_is_not_part_of_the_binding(flow: Callable[..., Flow]) -> None:
    ada = flow()

    assert ada.attempt(CODE, ada.send().ticket, language="ru", is_decoy=True) is None


def test_cd4_the_code_of_a_decoy_is_bound_and_evaluated_like_any_other(flow: Callable[..., Flow], query: Query) -> None:
    decoy = replace(flow(), to=recipient_or_decoy(parse("unknown@example.org"), None))
    ticket = decoy.send().ticket

    assert [decoy.attempt(WRONG, ticket) for _ in range(3)] == [4, 3, 2]
    assert decoy.attempt(WRONG) == 4
    with pytest.raises(CodeExpired):
        decoy.attempt(CODE, ticket, address=ADA)
    assert decoy.attempt(CODE, ticket) is None, "the code matches, but the flow has no user"
    assert query("SELECT count(*) FROM letters") == [(0,)]


def test_en1_nothing_is_emailed_to_an_address_that_another_user_has(flow: Callable[..., Flow], query: Query) -> None:
    ada = flow(session=True)

    ada.send()
    ada.send(to=replace(ada.to, address=parse("taken@example.org"), is_decoy=True))

    assert query("SELECT recipient FROM letters") == [(ADA.stored,)]


# Bound and unbound attempts.


def test_cd3_unbound_attempts_run_out_without_invalidating_the_code(flow: Callable[..., Flow]) -> None:
    ada = flow()
    ticket = ada.send().ticket

    assert [ada.attempt(WRONG) for _ in range(5)] == [4, 3, 2, 1, 0]
    for code in (WRONG, CODE):
        with pytest.raises(CodeExpired):
            ada.attempt(code, "a ticket that was never issued")
    assert ada.attempt(WRONG, ticket) == 4
    assert ada.attempt(CODE, ticket) is None


def test_cd3_bound_attempts_invalidate_the_code_for_every_client(flow: Callable[..., Flow]) -> None:
    ada = flow()
    ticket = ada.send().ticket

    assert [ada.attempt(WRONG, ticket) for _ in range(5)] == [4, 3, 2, 1, 0]
    for presented in (ticket, None):
        with pytest.raises(CodeExpired):
            ada.attempt(CODE, presented)


def test_cd4_where_unbound_attempts_are_rejected_the_code_needs_its_ticket(flow: Callable[..., Flow]) -> None:
    ada = flow(UnboundAttempts.REFUSED)
    ticket = ada.send().ticket

    for code in (CODE, *[WRONG] * 7):
        for presented in (None, "a ticket that was never issued"):
            with pytest.raises(CodeExpired):
                ada.attempt(code, presented)
    assert ada.attempt(CODE, ticket) is None


def test_without_cookies_attempts_count_for_the_newest_ticket_if_the_settings_allow(
    flow: Callable[..., Flow],
) -> None:
    ada = flow(UnboundAttempts.AS_BOUND)
    older, newest = ada.send(ticket="of another browser").ticket, ada.send(ticket="of one more").ticket

    assert [ada.attempt(WRONG), ada.attempt(WRONG, newest), ada.attempt(WRONG)] == [4, 3, 2]
    assert ada.attempt(WRONG, older) == 4
    assert ada.send().ticket == newest
    assert ada.attempt(WRONG) == 1, "a resend without a cookie counts for the newest ticket, too"


@pytest.mark.parametrize("session", [False, True])
def test_cd3_a_resend_replaces_the_code_and_does_not_reset_the_attempts(
    flow: Callable[..., Flow], session: bool
) -> None:
    ada = flow(session=session)
    ticket = ada.send(client_supplied="1234").ticket
    assert [ada.attempt(WRONG, ticket) for _ in range(3)] == [4, 3, 2]

    assert ada.send(ticket=ticket).ticket == ticket

    assert ada.attempt("1234", ticket) == 1
    assert ada.attempt(CODE, ticket) is None


@pytest.mark.parametrize("session", [False, True])
def test_cd3_a_new_code_after_an_invalidated_one_has_new_attempts_up_to_the_limit_of_the_ticket(
    flow: Callable[..., Flow], session: bool
) -> None:
    ada = flow(session=session)
    ticket = None
    for _ in range(3):
        ticket = ada.send(ticket=ticket).ticket
        assert [ada.attempt(WRONG, ticket) for _ in range(5)] == [4, 3, 2, 1, 0]

    with pytest.raises(TooManyCodes) as error:
        ada.send(ticket=ticket)

    assert 3500 < (error.value.retry_after or 0) <= 3600
    assert flow(session=session).send().ticket != ticket or session, "other tickets and sessions are not limited"


def test_rule_8_after_redis_lost_its_data_a_code_is_expired_and_the_next_one_works(
    flow: Callable[..., Flow], forget_everything_in_redis: Callable[[], None]
) -> None:
    ada = flow()
    ticket = ada.send().ticket
    forget_everything_in_redis()

    with pytest.raises(CodeExpired):
        ada.attempt(CODE, ticket)

    assert ada.attempt(CODE, ada.send(ticket=ticket).ticket) is None


def test_an_attempt_with_an_expired_code_is_not_counted(flow: Callable[..., Flow], stores: Stores) -> None:
    ada = flow()
    ticket = ada.send().ticket
    with redis.Redis.from_url(stores.redis_url) as client:
        [key] = client.scan_iter("auth:challenge:*")
        client.hset(key, "until", 1)  # in milliseconds since 1970, by the clock of Redis
        for presented, code in itertools.product((ticket, None), (CODE, WRONG)):
            with pytest.raises(CodeExpired):
                ada.attempt(code, presented)

        assert client.hmget(key, "wrong", "total", "unbound") == [b"0", b"0", b"0"]


def test_cd5_redis_stores_neither_codes_nor_addresses_in_plain_text(flow: Callable[..., Flow], stores: Stores) -> None:
    for ada in (flow(), flow(session=True)):
        ada.send()

    with redis.Redis.from_url(stores.redis_url) as client:
        stored = [(key, client.hgetall(key)) for key in client.scan_iter("auth:challenge:*")]
        stored += [(key, client.get(key)) for key in client.scan_iter("auth:newest:*")]
    assert len(stored) == 3
    assert CODE not in repr(stored)
    assert ADA.key not in repr(stored)


# The daily cap.


def with_daily_cap(flow: Flow, **more: Any) -> Flow:
    """The same flow, with one code a day."""
    return replace(flow, codes=replace(flow.codes, outbox=replace(flow.codes.outbox, codes_a_day=1), **more))


def test_cd10_beyond_a_hidden_daily_cap_no_code_is_emailed_or_accepted(flow: Callable[..., Flow], query: Query) -> None:
    ada = with_daily_cap(flow())
    first = ada.send()
    second = ada.send(ticket=first.ticket)

    assert second == first, "the answer does not reveal the cap"
    assert ada.attempt(CODE, first.ticket) == 4
    assert query("SELECT count(*) FROM letters") == [(1,)]


def test_cd10_a_revealed_daily_cap_rejects_before_anything_is_counted_or_replaced(flow: Callable[..., Flow]) -> None:
    ada = with_daily_cap(flow(), reveals_daily_cap=True)
    ticket = ada.send().ticket

    for _ in range(3):
        with pytest.raises(TooManyCodes) as error:
            ada.send(ticket=ticket, client_supplied=WRONG)
        assert 86_000 < (error.value.retry_after or 0) <= 86_400

    assert ada.attempt(CODE, ticket) is None, "the previous code is still valid"


@pytest.mark.parametrize(("reveals", "outcome"), [(True, CodeNotEmailed), (False, None)])
def test_cd10_concurrent_requests_cannot_exceed_the_daily_cap(
    flow: Callable[..., Flow], query: Query, reveals: bool, outcome: type[Exception] | None
) -> None:
    ada = with_daily_cap(flow(), reveals_daily_cap=reveals)
    ada.send()

    if outcome is None:
        ada.send(codes_today=0)  # the count read before the other request inserted its email
    else:
        with pytest.raises(outcome):
            ada.send(codes_today=0)

    assert query("SELECT count(*) FROM letters") == [(1,)]
