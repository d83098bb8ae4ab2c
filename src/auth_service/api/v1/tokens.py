"""What other services ask about tokens that were shown to them."""

from flask_restx import Resource

from auth_service.api.access import at_a_gateway, caller, service
from auth_service.api.contract import Namespace
from auth_service.api.v1.schemas.tokens import IdentityCard, IntrospectForm, TokenStateCard
from auth_service.api.wired import services
from auth_service.models.service_key import INTROSPECT
from auth_service.services.introspection import TokenState
from auth_service.services.sessions import Caller

tokens = Namespace("tokens", description="For other services: whose token, and whose request, is this?")


@tokens.route("/tokens/introspect")
class Introspect(Resource):
    """Introspection of tokens (RFC 7662)."""

    @tokens.contract(access=service(INTROSPECT), body=IntrospectForm, form_too=True, data=TokenStateCard)
    def post(self, body: IntrospectForm) -> TokenState:
        """Say whether a token is good now, and whose it is (RFC 7662).

        A form (`application/x-www-form-urlencoded`), as libraries send it, is answered with what is in `data` here and
        nothing around it. A refresh token counts only where the hint says that it is one.
        """
        return services().introspection.of(body.token.get_secret_value(), hint=body.token_type_hint)


@tokens.route("/sessions/verify")
class Verify(Resource):
    """Checks for a gateway (nginx `auth_request`)."""

    @tokens.contract(
        access=at_a_gateway,
        ignores_query=True,
        data=IdentityCard,
        headers={
            "X-User-Id": lambda somebody: str(somebody.id),
            "X-User-Roles": lambda somebody: ",".join(somebody.roles),
        },
    )
    def get(self) -> Caller:
        """Say whose request this is, for the auth_request of nginx and its like.

        Takes the bearer token or the cookies of the original request, whose method is in `X-Original-Method`: if it is
        an unsafe one and a cookie speaks for it, it has to come from an allowed page.
        """
        return caller()
