"""One-time codes by email: one class for every flow, what a code is bound to, and its daily cap."""

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from auth_service.errors import CodeExpired, TooManyCodes
from auth_service.models.outbox_message import CODE_KINDS, EmailKind
from auth_service.services.credentials.one_time_codes import CodeNotEmailed, OneTimeCodes, random_code
from auth_service.services.email.addresses import parse
from auth_service.services.users.recipients import recipient_or_decoy
from auth_service.wiring import Services
from tests.support.code_flows import Flow
from tests.support.stores import Query, Stores

ADA = parse("ada@example.org")
CODE, WRONG = "750505", "111111"


def test_every_kind_of_code_has_a_flow_and_all_flows_use_one_class_and_one_store(services: Services) -> None:
    codes = [
        services.registration.codes,
        services.sign_in.codes,
        services.password_reset.codes,
        services.email_change_flow.codes,
        services.account.codes,
        services.step_up.codes,
        services.delayed_resets.codes,
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
