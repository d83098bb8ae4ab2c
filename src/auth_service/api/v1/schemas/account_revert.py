"""Request model of the account revert."""

from auth_service.api.v1.schemas.fields import LinkToken, RequestModel


class AccountRevertRequest(RequestModel):
    """The single-use token of an account revert link."""

    token: LinkToken
