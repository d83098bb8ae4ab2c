"""Account revert endpoint: revert an account takeover with the link of a security notification."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security.authentication import anyone
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import CODE_ATTEMPTS
from auth_service.api.v1.schemas.account_revert import AccountRevertRequest
from auth_service.errors import EmailTaken, UndoUnknown

account_revert = Namespace("undos", description="Account revert with the link of a security notification.")


@account_revert.route("/undo")
class AccountRevert(Resource):
    """Account revert links."""

    @account_revert.contract(
        operation="revert_account",
        summary="Revert an account takeover with the token of an emailed link",
        description=(
            "The token is the part of the link after `#`. Revokes every session, invalidates the password "
            "and restores a changed email address. The user then sets a new password with a password reset."
        ),
        access=anyone,
        body=AccountRevertRequest,
        done=True,
        limits=[CODE_ATTEMPTS],
        errors=[UndoUnknown, EmailTaken],
    )
    def post(self, body: AccountRevertRequest) -> None:
        services().account_revert.redeem(body.token.get_secret_value(), client=client_info())
