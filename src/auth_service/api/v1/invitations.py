"""Invitation endpoints for the invited person: read the invitation of a link, accept it."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import anyone
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import CODE_ATTEMPTS
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.invitations import (
    AcceptInvitationRequest,
    ReadInvitationRequest,
    ReadInvitationResponse,
)
from auth_service.api.v1.schemas.registration import UserResponse
from auth_service.errors import EmailTaken, InvitationUnknown, RegistrationClosed
from auth_service.services.authorization.statements import UserWithRoles
from auth_service.services.flows.invitations.statements import InvitationRecord

invitation_links = Namespace("invitation_links", description="Registration with the link of an invitation.")


@invitation_links.route("/invitation")
class InvitationOfLink(Resource):
    """The invitation of a link."""

    @invitation_links.contract(
        operation="get_invitation",
        summary="Return the invitation of an emailed link",
        description="The token is the part of the link after `#`. It is not consumed.",
        access=anyone,
        body=ReadInvitationRequest,
        data=ReadInvitationResponse,
        limits=[CODE_ATTEMPTS],
        errors=[InvitationUnknown, RegistrationClosed],
    )
    def post(self, body: ReadInvitationRequest) -> InvitationRecord:
        return services().invitation_acceptance.read(body.token.get_secret_value())


@invitation_links.route("/invitation/accept")
class AcceptInvitation(Resource):
    """Acceptance of an invitation."""

    @invitation_links.contract(
        operation="accept_invitation",
        summary="Accept an invitation, with or without a password",
        description=(
            "Creates a confirmed user, or confirms the temporary user of the address, with the roles of the invitation "
            "that the inviter may still grant. Opens no session: the user signs in. The token works once; a repeated "
            "request is 404 `invitation_unknown`."
        ),
        access=anyone,
        body=AcceptInvitationRequest,
        data=UserResponse,
        limits=[CODE_ATTEMPTS],
        errors=[InvitationUnknown, RegistrationClosed, EmailTaken],
    )
    def post(self, body: AcceptInvitationRequest) -> UserWithRoles:
        return services().invitation_acceptance.accept(
            body.token.get_secret_value(), password=revealed(body.password), client=client_info()
        )
