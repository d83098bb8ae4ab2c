"""Creation of administrators by the operator of the service (`manage.py create-superuser`)."""

from dataclasses import dataclass

from auth_service.errors import UserUnknown
from auth_service.models import PORTAL_ADMIN
from auth_service.services.audit.events import COMMAND_LINE
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.roles import Roles
from auth_service.services.caller import SYSTEM
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.addresses import Address
from auth_service.services.email.rendering import LANGUAGES
from auth_service.services.users.import_users import ImportedUser, UserImport
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class Superusers:
    """Creates or promotes administrators. The operator vouches for the address."""

    users: Users
    user_import: UserImport
    passwords: Passwords
    roles: Roles
    administrators: Administrators

    def exists(self, email: Address) -> bool:
        """Whether a verified user has this address."""
        user = self.users.by_email(email)
        return user is not None and user.verified_mail

    def password_hash(self, password: str, *, email: Address) -> str:
        """Check and hash a new password. Raises ValidationFailed, ServiceBusy."""
        return self.passwords.check_and_hash(password, email=email.stored)

    def promote(self, email: Address, *, password_hash: str | None) -> int:
        """Grant `ROLE_PORTAL_ADMIN` to the user with this address, who is created if necessary; return the id.

        `password_hash` is the password of a created user; None if the user signs in with an emailed code. The password
        of an existing user stays.
        """
        self.administrators.lock()
        user = ImportedUser(email=email, verified=True, password_hash=password_hash, language=LANGUAGES[0])
        self.user_import.import_users([user])
        created = self.users.by_email(email)
        if created is None:
            raise UserUnknown
        self.roles.grant(created.id, PORTAL_ADMIN, caller=SYSTEM, client=COMMAND_LINE)
        return created.id
