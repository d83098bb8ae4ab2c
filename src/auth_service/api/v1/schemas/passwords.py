"""Request models of password reset and password change."""

from auth_service.api.v1.schemas.fields import (
    EXAMPLE_PASSWORD,
    Code,
    Email,
    NewPassword,
    Password,
    RequestModel,
    example,
)


class PasswordResetRequest(RequestModel):
    """An email address, the code that was sent to it, and the new password."""

    email: Email
    code: Code
    new_password: NewPassword


class ChangePasswordRequest(RequestModel):
    """The current password and the new one."""

    model_config = example(current_password=EXAMPLE_PASSWORD, new_password="another horse battery")  # noqa: S106 - an example

    current_password: Password
    new_password: NewPassword
