"""The forms of passwords."""

from auth_service.api.v1.schemas.fields import Code, Email, Form, NewPassword


class RecoveryForm(Form):
    """An address, the code that was mailed there, and the password that is wanted."""

    email: Email
    code: Code
    new_password: NewPassword
