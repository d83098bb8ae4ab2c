"""Invitation endpoints for administrators and services: invite people, list, send again, revoke."""

import uuid

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.http.language import preferred_language
from auth_service.api.security.authorization import caller, permission
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import ADMIN_READS, ADMIN_WRITES, INVITATIONS
from auth_service.api.v1.schemas.admin.invitations import (
    CreateInvitationRequest,
    InvitationResponse,
    InvitationSentResponse,
    InvitationsQuery,
)
from auth_service.errors import (
    BeyondYourOwn,
    EmailTaken,
    InvitationOpen,
    InvitationUnknown,
    LimitReached,
    RedisUnavailable,
    RegistrationClosed,
    RoleIsSystem,
    RoleUnknown,
    TooManyCodes,
)
from auth_service.models.permission import Permission
from auth_service.services.flows.invitations.invitations import InvitationSent
from auth_service.services.flows.invitations.statements import InvitationRecord
from auth_service.services.pagination import Page

admin_invitations = Namespace("invitations", description="Invitations of people by email.")


@admin_invitations.route("/invitations")
class Invitations(Resource):
    """All invitations."""

    @admin_invitations.contract(
        operation="list_invitations",
        summary="List the invitations, the newest first",
        access=permission(Permission.USERS_INVITE),
        query=InvitationsQuery,
        items=InvitationResponse,
        limits=[ADMIN_READS],
    )
    def get(self, query: InvitationsQuery) -> Page[InvitationRecord]:
        return services().invitations.page(caller=caller(), state=query.state, cursor=query.cursor, limit=query.limit)

    @admin_invitations.contract(
        operation="create_invitation",
        summary="Invite a person by email",
        description=(
            "The caller must have all permissions of the roles, now and when the invitation is accepted. The email "
            "counts for the limits of codes of the address, too."
        ),
        access=permission(Permission.USERS_INVITE),
        body=CreateInvitationRequest,
        data=InvitationResponse,
        status=201,
        limits=[ADMIN_WRITES, INVITATIONS],
        errors=[
            RegistrationClosed,
            EmailTaken,
            InvitationOpen,
            RoleUnknown,
            RoleIsSystem,
            BeyondYourOwn,
            LimitReached,
            TooManyCodes,
            RedisUnavailable,
        ],
    )
    def post(self, body: CreateInvitationRequest) -> InvitationRecord:
        return services().invitations.create(
            email=body.email,
            roles=body.roles,
            language=body.language or preferred_language(),
            caller=caller(),
            client=client_info(),
        )


@admin_invitations.route("/invitations/<uuid:invitation_id>")
class Invitation(Resource):
    """One invitation."""

    @admin_invitations.contract(
        operation="revoke_invitation",
        summary="Revoke an invitation",
        description="The answer is the same if it is revoked already; an accepted invitation is unknown.",
        access=permission(Permission.USERS_INVITE),
        done=True,
        limits=[ADMIN_WRITES],
        errors=[InvitationUnknown],
    )
    def delete(self, invitation_id: uuid.UUID) -> None:
        services().invitations.revoke(invitation_id, caller=caller(), client=client_info())


@admin_invitations.route("/invitations/<uuid:invitation_id>/resend")
class ResendInvitation(Resource):
    """Another email for an invitation."""

    @admin_invitations.contract(
        operation="resend_invitation",
        summary="Send an invitation again, also after it has expired",
        description="The email has a new link, which replaces the earlier one. The inviter and the roles stay.",
        access=permission(Permission.USERS_INVITE),
        data=InvitationSentResponse,
        limits=[ADMIN_WRITES, INVITATIONS],
        errors=[RegistrationClosed, InvitationUnknown, EmailTaken, TooManyCodes, RedisUnavailable],
    )
    def post(self, invitation_id: uuid.UUID) -> InvitationSent:
        return services().invitations.resend(invitation_id, caller=caller(), client=client_info())
