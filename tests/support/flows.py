"""Flows of the services: each function prepares one on a world, and returns what runs it in a unit of work."""

import uuid
from collections.abc import Callable

from auth_service.db import unit_of_work
from auth_service.errors import AccountBanned, CredentialsRejected, PasswordAlreadySet, RefreshRejected
from auth_service.services.caller import SYSTEM
from auth_service.services.email.addresses import Address, parse
from auth_service.services.flows.sign_in_stages import SignInContext
from tests.support.interleaving import CLIENT, PASSWORD, World

OTHER = "analytical engines hum"
NETWORK = "198.51.100.7"

Flow = Callable[[World], Callable[[], object]]
"""Prepares what a flow needs, and returns the flow."""


def context() -> SignInContext:
    return SignInContext(client=CLIENT, transport="bearer", device_token=None)


def address(email: str) -> Address:
    return parse(email)


def sign_up(world: World) -> Callable[[], object]:
    email = address(world.email())
    return lambda: world.services.registration.sign_up(email=email, language="en")


def send_code(world: World) -> Callable[[], object]:
    user = world.api().sign_up(world.email())
    return lambda: world.services.registration.send_code(
        user_id=user, client_supplied=None, ticket=None, language="ru", network=NETWORK
    )


def confirmed(world: World) -> tuple[int, str]:
    api, email = world.api(), world.email()
    user = api.sign_up(email)
    api.ask_for_code(user)
    assert api.confirm(user, world.mailbox.code_sent_to(email)).status_code == 200
    ticket = api.client.get_cookie("registration")
    assert ticket is not None
    return user, ticket.value


def finish(world: World) -> Callable[[], object]:
    user, ticket = confirmed(world)
    return lambda: world.services.registration.finish(user_id=user, ticket=ticket, password=PASSWORD, client=CLIENT)


def finish_with_another_password(world: World) -> Callable[[], object]:
    user, ticket = confirmed(world)
    with world.app.app_context(), unit_of_work():
        world.services.registration.finish(user_id=user, ticket=ticket, password=PASSWORD, client=CLIENT)
    return lambda: world.services.registration.finish(user_id=user, ticket=ticket, password=OTHER, client=CLIENT)


def sign_in_on_a_new_device(world: World) -> Callable[[], object]:
    _, email = world.registered()
    world.query("UPDATE users SET verified_at = now() - interval '2 days'")
    return lambda: world.services.sign_in.by_password(email=address(email), password=PASSWORD, context=context())


def sign_in_with_a_wrong_password(world: World) -> Callable[[], object]:
    _, email = world.registered()
    return lambda: world.services.sign_in.by_password(email=address(email), password=OTHER, context=context())


def send_sign_in_code(world: World) -> Callable[[], object]:
    _, email = world.registered()
    return lambda: world.services.sign_in.send_code(email=address(email), ticket=None, network=NETWORK)


def send_sign_in_code_to_an_unknown_address(world: World) -> Callable[[], object]:
    email = address(world.email())
    return lambda: world.services.sign_in.send_code(email=email, ticket=None, network=NETWORK)


def sign_in_by_code(world: World) -> Callable[[], object]:
    _, email = world.registered()
    world.api().ask_to_sign_in(email)
    code = world.mailbox.code_sent_to(email)
    return lambda: world.services.sign_in.by_code(email=address(email), code=code, ticket=None, context=context())


def refresh(world: World) -> Callable[[], object]:
    token = world.tokens()["refresh_token"]
    return lambda: world.services.sessions.refresh(token=token, client=CLIENT)


def refresh_with_a_reused_token(world: World) -> Callable[[], object]:
    token = world.tokens()["refresh_token"]
    api = world.api()
    api.refresh(api.refresh(token).get_json()["data"]["refresh_token"])
    return lambda: world.services.sessions.refresh(token=token, client=CLIENT)


def sign_out(world: World) -> Callable[[], object]:
    caller = world.caller()
    return lambda: world.services.sessions.sign_out(caller.holder, client=CLIENT)


def end_another_session(world: World) -> Callable[[], object]:
    _, email = world.registered()
    first, second = (world.api().signed_in(email, PASSWORD)["access_token"] for _ in range(2))
    with world.app.app_context(), unit_of_work():
        caller, other = (world.services.sessions.current_user(token) for token in (first, second))
    return lambda: world.services.my_sessions.revoke(other.session_id, current_user=caller, client=CLIENT)


def end_all_sessions(world: World) -> Callable[[], object]:
    caller = world.caller()
    return lambda: world.services.my_sessions.revoke_all(caller.holder, client=CLIENT)


def change_password(world: World) -> Callable[[], object]:
    caller = world.caller()
    return lambda: world.services.account.change_password(caller, current=PASSWORD, new=OTHER, client=CLIENT)


def send_deletion_code(world: World) -> Callable[[], object]:
    caller = world.caller()
    return lambda: world.services.account.send_deletion_code(caller, network=NETWORK)


def delete_account(world: World) -> Callable[[], object]:
    caller = world.caller()
    return lambda: world.services.account.delete(caller, password=PASSWORD, code=None, client=CLIENT)


def ban_user(world: World) -> Callable[[], object]:
    user, _ = world.registered()
    world.query("INSERT INTO user_roles (user_id, role) VALUES (%s, 'ROLE_PORTAL_ADMIN')", user)
    other, _ = world.registered()
    world.query("INSERT INTO user_roles (user_id, role) VALUES (%s, 'ROLE_PORTAL_ADMIN')", other)
    return lambda: world.services.user_administration.ban(
        user, reason="a test", until=None, caller=SYSTEM, client=CLIENT
    )


def banned(world: World) -> tuple[int, str]:
    user, email = world.registered()
    world.query(
        "UPDATE users SET banned_until = 'infinity', banned_at = now(), ban_reason = 'a test' WHERE id = %s", user
    )
    return user, email


def unban_user(world: World) -> Callable[[], object]:
    user, _ = banned(world)
    return lambda: world.services.user_administration.unban(user, caller=SYSTEM, client=CLIENT)


def sign_in_of_a_banned_user(world: World) -> Callable[[], object]:
    _, email = banned(world)
    return lambda: world.services.sign_in.by_password(email=address(email), password=PASSWORD, context=context())


def force_password_reset(world: World) -> Callable[[], object]:
    user, _ = world.registered()
    return lambda: world.services.user_administration.force_password_reset(
        user, reason="a test", caller=SYSTEM, client=CLIENT
    )


def delete_user(world: World) -> Callable[[], object]:
    user, _ = world.registered()
    return lambda: world.services.user_administration.delete(user, reason="a test", caller=SYSTEM, client=CLIENT)


def begin_email_change(world: World) -> Callable[[], object]:
    caller, email = world.caller(), address(world.email())
    return lambda: world.services.email_change_flow.begin(
        caller, email=email, password=PASSWORD, client=CLIENT, network=NETWORK
    )


def change_email(world: World) -> Callable[[], object]:
    tokens, email = world.tokens(), world.email()
    assert world.api().ask_to_move(tokens["access_token"], email, password=PASSWORD).status_code == 200
    code = world.mailbox.code_sent_to(email)
    with world.app.app_context(), unit_of_work():
        caller = world.services.sessions.current_user(tokens["access_token"])
    return lambda: world.services.email_change_flow.confirm(caller, code=code, client=CLIENT)


def reset_password(world: World) -> Callable[[], object]:
    _, email = world.registered()
    world.api().ask_to_recover(email)
    code = world.mailbox.code_sent_to(email)
    return lambda: world.services.password_reset.set_password(
        email=address(email), code=code, new_password=OTHER, ticket=None, client=CLIENT
    )


def revert_email_change(world: World) -> Callable[[], object]:
    _, before = world.registered()
    tokens, email = world.api().signed_in(before, PASSWORD), world.email()
    api = world.api()
    api.ask_to_move(tokens["access_token"], email, password=PASSWORD)
    assert api.move(tokens["access_token"], world.mailbox.code_sent_to(email)).status_code == 200
    token = world.mailbox.undo_sent_to(before, about="address")
    return lambda: world.services.account_revert.redeem(token, client=CLIENT)


def export_data(world: World) -> Callable[[], object]:
    caller = world.caller()
    return lambda: world.services.export.of(caller, client=CLIENT)


def rotate_signing_key(world: World) -> Callable[[], object]:
    world.query("UPDATE signing_keys SET created_at = now() - interval '1 hour'")
    return world.services.signing_keys.rotate


def create_service_key(world: World) -> Callable[[], object]:
    from datetime import timedelta

    name = f"shop-{uuid.uuid4().hex[:8]}"
    return lambda: world.services.service_keys.create(name=name, scopes=["tokens:introspect"], ttl=timedelta(days=1))


def invite(world: World) -> Callable[[], object]:
    email = address(world.email())
    return lambda: world.services.invitations.create(
        email=email, roles=["ROLE_PORTAL_ADMIN"], language="en", caller=SYSTEM, client=CLIENT
    )


def invited(world: World) -> tuple[uuid.UUID, str]:
    """A new invitation: the id, and the token of its link."""
    email = world.email()
    with world.app.app_context(), unit_of_work():
        invitation = world.services.invitations.create(
            email=address(email), roles=["ROLE_PORTAL_ADMIN"], language="en", caller=SYSTEM, client=CLIENT
        )
    return invitation.id, world.mailbox.invitation_sent_to(email)


def send_invitation_again(world: World) -> Callable[[], object]:
    invitation, _ = invited(world)
    return lambda: world.services.invitations.resend(invitation, caller=SYSTEM, client=CLIENT)


def revoke_invitation(world: World) -> Callable[[], object]:
    invitation, _ = invited(world)
    return lambda: world.services.invitations.revoke(invitation, caller=SYSTEM, client=CLIENT)


def accept_invitation(world: World) -> Callable[[], object]:
    _, token = invited(world)
    return lambda: world.services.invitation_acceptance.accept(token, password=PASSWORD, client=CLIENT)


FLOWS: list[Flow] = [
    sign_up,
    send_code,
    finish,
    sign_in_on_a_new_device,
    send_sign_in_code,
    send_sign_in_code_to_an_unknown_address,
    sign_in_by_code,
    refresh,
    sign_out,
    end_another_session,
    end_all_sessions,
    change_password,
    send_deletion_code,
    delete_account,
    ban_user,
    unban_user,
    force_password_reset,
    delete_user,
    begin_email_change,
    change_email,
    reset_password,
    revert_email_change,
    export_data,
    rotate_signing_key,
    create_service_key,
    invite,
    send_invitation_again,
    revoke_invitation,
    accept_invitation,
]

REJECTED: list[tuple[Flow, type[Exception]]] = [
    (sign_in_with_a_wrong_password, CredentialsRejected),
    (sign_in_of_a_banned_user, AccountBanned),
    (finish_with_another_password, PasswordAlreadySet),
    (refresh_with_a_reused_token, RefreshRejected),
]
"""Flows whose error commits: the failed attempt is recorded with everything that was added to it."""
