"""The forms of passwords."""

from auth_service.api.v1.schemas.fields import Code, Email, NewPassword, RequestModel
from auth_service.api.v1.schemas.sessions import Password


class RecoveryRequest(RequestModel):
    """An address, the code that was mailed there, and the password that is wanted."""

    email: Email
    code: Code
    new_password: NewPassword


class PasswordRequest(RequestModel):
    """The password that is in force, and the one that is wanted in its place."""

    current_password: Password
    new_password: NewPassword
