"""Attempts at one-time codes: bound and unbound ones, expired codes, and what a new code resets."""

import itertools
from collections.abc import Callable

import pytest
import redis

from auth_service.errors import CodeExpired, TooManyCodes
from auth_service.services.credentials.one_time_codes import UnboundAttempts
from tests.support.code_flows import Flow
from tests.support.stores import Stores

CODE, WRONG = "750505", "111111"


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
