"""Limits of invitations: emails of an address, requests of a caller, and one email for one idempotency key."""

from collections.abc import Callable

from tests.support.actors import ADA, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp
from tests.support.invitations import invited
from tests.support.stores import Query


def test_cd10_resend_is_bounded_by_the_limits_of_the_address(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, query: Query
) -> None:
    invitation = invited(admin)
    earlier = mailbox.invitation_sent_to(ADA)
    path = f"/invitations/{invitation}/resend"
    assert [admin.data("POST", path)["resend_after"] == 0 for _ in range(2)] == [True, False]

    answer = admin.call("POST", path)

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (429, "too_many_codes")
    assert 0 < answer.get_json()["error"]["retry_after"] <= 3600
    assert mailbox.invitation_sent_to(ADA) != earlier
    admin.data("DELETE", f"/invitations/{invitation}")
    assert admin.error("POST", "/invitations", json={"email": ADA}) == (429, "too_many_codes")
    assert query("SELECT count(*) FROM letters WHERE kind = 'invitation'") == [(3,)]


def test_cd10_the_daily_cap_of_an_address_counts_invitations_also_when_redis_loses_its_data(
    administration: Administration,
    admin: AdminClient,
    mailbox: Mailbox,
    api: ApiClient,
    query: Query,
    forget_everything_in_redis: Callable[[], None],
) -> None:
    invitation = invited(admin)
    for _ in range(9):
        forget_everything_in_redis()
        admin.data("POST", f"/invitations/{invitation}/resend")
    token = mailbox.invitation_sent_to(ADA)
    forget_everything_in_redis()

    assert admin.error("POST", f"/invitations/{invitation}/resend") == (429, "too_many_codes")
    assert query("SELECT count(*) FROM letters WHERE kind = 'invitation'") == [(10,)]
    assert api.call("POST", "/invitation", json={"token": token}).status_code == 200, "the last link stays valid"
    user_id = api.sign_up(ADA)
    assert api.ask_for_code(user_id).status_code == 429, "codes and invitations share the cap"


def test_rl2_invitations_are_limited_for_each_caller(make_app: MakeApp, mailbox: Mailbox) -> None:
    limited = make_app(limit_invitations="3/1h")
    administration = Administration(limited, mailbox)
    admin, other = administration.administrator(), administration.administrator("other@example.org")
    invitation = invited(admin, "a1@example.org")
    invited(admin, "a2@example.org")
    admin.data("POST", f"/invitations/{invitation}/resend")

    assert admin.error("POST", "/invitations", json={"email": "a3@example.org"}) == (429, "too_many_requests")
    assert admin.error("POST", f"/invitations/{invitation}/resend") == (429, "too_many_requests")
    invited(other, "a3@example.org")


def test_lv6_a_repeated_request_with_one_idempotency_key_sends_one_email(admin: AdminClient, mailbox: Mailbox) -> None:
    answers = [
        admin.call("POST", "/invitations", json={"email": ADA}, headers={"Idempotency-Key": "invite-ada"})
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].text == answers[1].text
    assert len(mailbox.letters_to(ADA)) == 1
