"""Request models of password reset and password change."""

from auth_service.api.v1.schemas.fields import Code, Email, NewPassword, Password, RequestModel


class PasswordResetRequest(RequestModel):
    """An email address, the code that was sent to it, and the new password."""

    email: Email
    code: Code
    new_password: NewPassword


class ChangePasswordRequest(RequestModel):
    """The current password and the new one."""

    current_password: Password
    new_password: NewPassword
