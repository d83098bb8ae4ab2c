"""Users: finding them, by what strangers know and by what the service knows."""

from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Row, delete, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from auth_service.errors import UserUnknown
from auth_service.models import REGISTRATION_ROLES, User, UserRole, db, reading
from auth_service.models.user import HIGHEST_ID
from auth_service.services.addresses import Address

_registration_roles = (
    select(func.array_agg(aggregate_order_by(UserRole.role, UserRole.role)))
    .where(UserRole.user_id == User.id, UserRole.role.in_(REGISTRATION_ROLES))
    .scalar_subquery()
)
_card = select(User.id, User.email, User.verified_mail, _registration_roles.label("roles"))

_person = select(
    User.id,
    User.email,
    User.email_key,
    User.verified_mail,
    User.language,
    User.registration_digest,
    User.password_hash,
)

UserRow = Row[tuple[int, str, bool, list[str]]]


@dataclass(frozen=True, slots=True)
class Person:
    """A user as committed, read without a transaction; the fields are those of `User`."""

    id: int
    email: str
    email_key: str
    verified_mail: bool
    language: str
    registration_digest: bytes | None = field(repr=False)
    password_hash: str | None = field(repr=False)

    @property
    def address(self) -> Address:
        """Where letters to this person go, and how they are counted."""
        return Address(stored=self.email, key=self.email_key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Users:
    """The people that the service knows."""

    def look_up(self, *, email: Address) -> UserRow:
        """What a stranger may know of the user with this address, in one SELECT. Raises UserUnknown."""
        with reading() as connection:
            row = connection.execute(_card.where(User.email_key == email.key)).one_or_none()
        if row is None:
            raise UserUnknown
        return row

    def person(self, user_id: int) -> Person | None:
        """What the service itself knows of a user, as committed; None for an id that nobody has."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        with reading() as connection:
            row = connection.execute(_person.where(User.id == user_id)).one_or_none()
        return None if row is None else Person(*row)

    def by_email(self, email: Address) -> Person | None:
        """What the service itself knows of the user with an address, as committed."""
        with reading() as connection:
            row = connection.execute(_person.where(User.email_key == email.key)).one_or_none()
        return None if row is None else Person(*row)

    def forget_temporary(self, *, older_than: timedelta) -> int:
        """Delete the users who never confirmed their address; returns how many."""
        stale = delete(User).where(User.verified_mail.is_(False), User.created_at < func.now() - older_than)
        return len(db.session.execute(stale.returning(User.id)).all())
