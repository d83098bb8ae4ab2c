"""Daily cap of the outbox: which emails count for an address, and until when."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from jinja2.meta import find_undeclared_variables

from auth_service.db import unit_of_work
from auth_service.models.outbox_message import CODE_KINDS, EmailKind
from auth_service.services.email.addresses import parse
from auth_service.services.email.rendering import TEMPLATES
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.statements import plan_of, statements
from tests.support.stores import Query

ADA = parse("ada@example.org")


@pytest.mark.clock
def test_the_daily_cap_is_exact(write: Callable[..., bool], services: Services) -> None:
    for _ in range(10):
        assert write()

    assert not write()
    wait = services.outbox.daily_cap_error(ADA).retry_after
    assert wait is not None
    assert 86_000 < wait <= 86_400


def test_emails_without_a_code_neither_count_for_the_daily_cap_nor_delay_the_next_code(
    write: Callable[..., bool], services: Services, query: Query
) -> None:
    for _ in range(10):
        write()
    query("UPDATE letters SET created_at = now() - interval '23 hours 59 minutes'")
    with unit_of_work():
        for _ in range(10):
            services.outbox.put(
                services.outbox.message(
                    kind="password_changed", to=ADA, user_id=None, language="en", values={}, ttl=timedelta(days=1)
                )
            )

    wait = services.outbox.daily_cap_error(ADA).retry_after

    assert wait is not None
    assert 0 < wait <= 60


def test_the_daily_cap_counts_kinds_that_carry_a_code_whatever_other_kinds_are_called(
    write: Callable[..., bool], services: Services, query: Query
) -> None:
    write()
    [(kind,)] = query("SELECT kind FROM letters")
    copies = (
        "INSERT INTO letters (id, dedup_key, kind, recipient, recipient_key, language, not_after, state, ended_at)"
        " SELECT gen_random_uuid(), %s || n, %s, recipient, recipient_key, 'en', now(), 'sent', now()"
        " FROM letters, generate_series(1, 9) n WHERE dedup_key NOT LIKE '%%copy%%'"
    )
    query(copies, "copy of another kind", "discount_code")
    assert not services.outbox.is_full(ADA)

    for number, kind in enumerate(CODE_KINDS):
        query("DELETE FROM letters WHERE dedup_key LIKE %s", "copy of a code%")
        query(copies, f"copy of a code {number} ", kind.value)
        assert services.outbox.is_full(ADA), kind
    assert not write()


def test_kinds_that_carry_a_code_are_those_whose_templates_show_one() -> None:
    sources: dict[str, set[str]] = {}
    for name in TEMPLATES.list_templates():
        kind, _, form = name.partition(".")
        if form != "html":  # the HTML layout is shared by all kinds
            source = TEMPLATES.loader.get_source(TEMPLATES, name)[0]  # type: ignore[union-attr] # there is one
            sources.setdefault(kind, set()).update(find_undeclared_variables(TEMPLATES.parse(source)))

    assert sources.keys() == set(EmailKind)
    assert {kind for kind, variables in sources.items() if "code" in variables} == set(CODE_KINDS)
    assert [kind.carries_code for kind in EmailKind] == [kind in CODE_KINDS for kind in EmailKind]


def test_the_daily_cap_is_counted_along_the_index_of_an_address(app: Flask, ada: int, query: Query) -> None:
    query(
        "INSERT INTO letters (id, dedup_key, kind, recipient, recipient_key, language, not_after, state, ended_at)"
        " SELECT gen_random_uuid(), n, 'sign_in_code', 'x', n % 1000, 'en', now(), 'sent', now()"
        " FROM generate_series(1, 10000) n"
    )
    query("ANALYZE letters")
    for address in ("192.0.2.1", "192.0.2.2"):  # the second pair of requests finds the statements prepared
        api = ApiClient(app, address=address)
        with statements(app) as sent:
            assert api.ask_for_code(ada).status_code == 200
            assert api.call("POST", "/sign_in/send_code", json={"email": ADA.stored}).status_code == 200

    # Statements that share a round trip are one text.
    all_of_them = [(one.strip(), values) for text, values in sent for one in text.split(";")]
    counting = [(text, values) for text, values in all_of_them if "sign_in_code" in f"{text} {values}"]
    assert len(counting) >= 3, (
        "statements that read the user and the count, the count alone, and those that insert emails"
    )
    for statement, values in counting:
        plan = plan_of(app, statement, values)
        assert "ix_letters_recipient_key_created_at" in {name for _, name in plan}, plan
        assert ("Seq Scan", "letters") not in plan, plan  # the planner may read a table of users that fits in one page


@pytest.mark.clock
def test_the_daily_cap_counts_a_sliding_window(write: Callable[..., bool], services: Services, query: Query) -> None:
    for _ in range(10):
        write()
    query("UPDATE letters SET created_at = now() - interval '23 hours 59 minutes'")
    assert not write()
    wait = services.outbox.daily_cap_error(ADA).retry_after
    assert wait is not None
    assert 0 < wait <= 60

    query("UPDATE letters SET created_at = now() - interval '24 hours'")
    assert write()
