"""The forms of passwords."""

from auth_service.api.v1.schemas.fields import Code, Email, Form, NewPassword
from auth_service.api.v1.schemas.sessions import Password


class RecoveryForm(Form):
    """An address, the code that was mailed there, and the password that is wanted."""

    email: Email
    code: Code
    new_password: NewPassword


class PasswordForm(Form):
    """The password that is in force, and the one that is wanted in its place."""

    current_password: Password
    new_password: NewPassword
