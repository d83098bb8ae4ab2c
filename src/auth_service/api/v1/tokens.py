"""Token introspection (RFC 7662), token revocation (RFC 7009) and forward auth."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import anyone, current_user, service
from auth_service.api.security.client_info import client_info
from auth_service.api.security.gateway import forward_auth
from auth_service.api.security.rate_limits import REFRESHES
from auth_service.api.v1.schemas.tokens import (
    ForwardAuthResponse,
    IntrospectionRequest,
    IntrospectionResponse,
    RevocationRequest,
)
from auth_service.models.service_key import INTROSPECT
from auth_service.services.sessions.introspection import TokenState
from auth_service.services.sessions.sessions import CurrentUser

tokens = Namespace("tokens", description="Token introspection, token revocation and forward auth.")


@tokens.route("/tokens/introspect")
class Introspect(Resource):
    """Token introspection (RFC 7662)."""

    @tokens.contract(
        operation="introspect_token",
        summary="Introspect a token (RFC 7662)",
        description=(
            "The response to a form (`application/x-www-form-urlencoded`) is `data` alone, without the "
            "envelope. A refresh token is looked up only with `token_type_hint=refresh_token`."
        ),
        access=service(INTROSPECT),
        body=IntrospectionRequest,
        accepts_form=True,
        data=IntrospectionResponse,
    )
    def post(self, body: IntrospectionRequest) -> TokenState:
        return services().introspection.of(body.token.get_secret_value(), hint=body.token_type_hint)


@tokens.route("/tokens/revoke")
class Revoke(Resource):
    """Token revocation (RFC 7009)."""

    @tokens.contract(
        operation="revoke_token",
        summary="Revoke the session of a refresh token or of an access token (RFC 7009)",
        description=(
            "The token has to be in the body; cookies authorize nothing here. The answer is the same for an unknown, "
            "expired or revoked token."
        ),
        access=anyone,
        body=RevocationRequest,
        accepts_form=True,
        done=True,
        limits=[REFRESHES],
    )
    def post(self, body: RevocationRequest) -> None:
        services().token_revocation.revoke(body.token.get_secret_value(), client=client_info())


@tokens.route("/sessions/verify")
class Verify(Resource):
    """Forward auth (`auth_request` of nginx)."""

    @tokens.contract(
        operation="authorize_forwarded_request",
        summary="Authorize a request for a gateway, such as nginx with auth_request",
        description=(
            "Send the bearer token or the cookies of the original request, and its method in "
            "`X-Original-Method`: a request with cookies and an unsafe method has to pass the CSRF check."
        ),
        access=forward_auth,
        ignores_query=True,
        data=ForwardAuthResponse,
        headers={
            "X-User-Id": lambda user: str(user.id),
            "X-User-Roles": lambda user: ",".join(user.roles),
        },
    )
    def get(self) -> CurrentUser:
        return current_user()
