"""Users: finding them, by what strangers know and by what the service knows."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Text, bindparam, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from auth_service.errors import UserUnknown
from auth_service.models import (
    PORTAL_USER,
    REGISTRATION_ROLES,
    TEMPORARY_USER,
    Prepared,
    User,
    UserRole,
    read_at_once,
    writing,
    written_at_once,
)
from auth_service.models.user import HIGHEST_ID, random_id
from auth_service.services.addresses import Address
from auth_service.services.outbox import codes_of_a_day, withdrawal

# Statements are made once: making one, and the key under which its SQL is cached, costs as much as running it.

# Not `IN`, whose list SQLAlchemy writes into the statement anew for each execution.
_registration_roles = (
    select(func.array_agg(aggregate_order_by(UserRole.role, UserRole.role)))
    .where(UserRole.user_id == User.id, or_(*(UserRole.role == role for role in REGISTRATION_ROLES)))
    .scalar_subquery()
)
_profile = select(User.id, User.email, User.verified_mail, _registration_roles)
_PROFILE_BY_KEY = Prepared(_profile.where(User.email_key == bindparam("key")))
_PROFILE_BY_ID = Prepared(_profile.where(User.id == bindparam("user_id")))

_person = select(
    User.id,
    User.email,
    User.email_key,
    User.verified_mail,
    User.language,
    User.registration_digest,
    User.password_hash,
)
_PERSON_BY_ID = Prepared(_person.where(User.id == bindparam("user_id")))
_PERSON_AND_CODES = Prepared(_person.add_columns(codes_of_a_day(User.email_key)).where(User.id == bindparam("user_id")))


def _create() -> Any:
    """A user with a first role, unless the address is taken; of many at once, the others wait to see what one does."""
    made = (
        insert(User)
        .values({name: bindparam(name) for name in ("id", "email", "email_key", "language")} | {"verified_mail": False})
        .on_conflict_do_nothing(index_elements=[User.email_key])
        .returning(User.id)
        .cte("made")
    )
    granted = select(made.c.id, literal(TEMPORARY_USER))
    return insert(UserRole).from_select(["user_id", "role"], granted).returning(UserRole.user_id)


def _promote() -> Any:
    """A temporary user becomes one of the portal, unless it is already; the condition decides, under the row's lock."""
    won = (
        update(User)
        .where(User.id == bindparam("user_id"), User.verified_mail.is_(False))
        .values(
            verified_mail=True,
            verified_at=func.now(),
            registration_digest=bindparam("digest"),
            password_hash=bindparam("phc"),
        )
        .returning(User.id, User.email)
        .cte("won")
    )
    dropped = delete(UserRole).where(UserRole.user_id == won.c.id, UserRole.role == TEMPORARY_USER).cte("dropped")
    granted = insert(UserRole).from_select(["user_id", "role"], select(won.c.id, literal(PORTAL_USER))).cte("granted")
    withdrawn = withdrawal(user_id=won.c.id, kind=bindparam("letters_about", type_=Text)).cte("withdrawn")
    return select(won.c.email).add_cte(dropped, granted, withdrawn)


_CREATE, _PROMOTE = Prepared(_create()), Prepared(_promote())


@dataclass(frozen=True, slots=True)
class Profile:
    """A user as strangers may see one: of the roles only those that the registration gives."""

    id: int
    email: str
    verified_mail: bool
    roles: list[str]


@dataclass(frozen=True, slots=True)
class Person:
    """A user as committed, read without a transaction; the fields are those of `User`."""

    id: int
    email: str
    email_key: str
    verified_mail: bool
    language: str
    registration_digest: memoryview | None = field(repr=False)
    password_hash: str | None = field(repr=False)

    @property
    def address(self) -> Address:
        """Where letters to this person go, and how they are counted."""
        return Address(stored=self.email, key=self.email_key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Users:
    """The people that the service knows."""

    def look_up(self, *, email: Address) -> Profile:
        """The user with this address, in one SELECT. Raises UserUnknown."""
        row = read_at_once(_PROFILE_BY_KEY, key=email.key)
        if row is None:
            raise UserUnknown
        return Profile(*row)

    def profile(self, user_id: int) -> Profile:
        """The user with this id. Raises UserUnknown."""
        row = read_at_once(_PROFILE_BY_ID, user_id=user_id)
        if row is None:
            raise UserUnknown
        return Profile(*row)

    def person(self, user_id: int) -> Person | None:
        """What the service itself knows of a user, as committed; None for an id that nobody has."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        row = read_at_once(_PERSON_BY_ID, user_id=user_id)
        return None if row is None else Person(*row)

    def person_and_codes(self, user_id: int) -> tuple[Person, int] | None:
        """The same, and how many codes the address had in the last 24 hours; `Outbox.put_code` counts exactly."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        row = read_at_once(_PERSON_AND_CODES, user_id=user_id)
        return None if row is None else (Person(*row[:-1]), row[-1])

    def create(self, *, email: Address, language: str) -> Profile | None:
        """Make a temporary user; None when the address is taken, which the unique constraint decides."""
        identity = random_id()
        columns = {"id": identity, "email": email.stored, "email_key": email.key, "language": language}
        if written_at_once((_CREATE, columns)) is None:
            return None
        return Profile(identity, email.stored, verified_mail=False, roles=[TEMPORARY_USER])

    def promote(self, user_id: int, *, digest: bytes, phc: str | None, letters_about: str) -> Profile | None:
        """Make a temporary user one of the portal; None when there is no such user, or not any more.

        `digest` is of the ticket that finished the registration, `phc` the hash of the password, if one was chosen;
        waiting letters of the kind `letters_about` are worth nothing from then on, and end.
        """
        columns = {"user_id": user_id, "digest": digest, "phc": phc, "letters_about": letters_about}
        row = written_at_once((_PROMOTE, columns))
        return None if row is None else Profile(user_id, row[0], verified_mail=True, roles=[PORTAL_USER])

    def forget_temporary(self, *, older_than: timedelta) -> int:
        """Delete the users who never confirmed their address; returns how many."""
        stale = delete(User).where(User.verified_mail.is_(False), User.created_at < func.now() - older_than)
        return len(writing().execute(stale.returning(User.id)).all())
