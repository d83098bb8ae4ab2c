"""Users: finding them, by what strangers know and by what the service knows."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Text, and_, bindparam, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.exc import IntegrityError

from auth_service.errors import EmailTaken, TokenInvalid, UserUnknown
from auth_service.models import (
    PORTAL_USER,
    REGISTRATION_ROLES,
    TEMPORARY_USER,
    EmailChange,
    Prepared,
    User,
    UserRole,
    read_at_once,
    writing,
    written_at_once,
)
from auth_service.models.event import Kind
from auth_service.models.letter import EmailKind
from auth_service.models.user import HIGHEST_ID, random_id
from auth_service.services.addresses import Address
from auth_service.services.history import Origin, noted
from auth_service.services.outbox import codes_of_a_day, withdrawal

# Statements are built at import: building one costs about as much as running it.

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
    User.credential_version,
)
_PERSON_BY_ID = Prepared(_person.where(User.id == bindparam("user_id")))
_PERSON_BY_KEY = Prepared(_person.where(User.email_key == bindparam("key")))
_PERSON_AND_CODES = Prepared(_person.add_columns(codes_of_a_day(User.email_key)).where(User.id == bindparam("user_id")))


def _create() -> Any:
    """A user with a first role, unless the address is taken; of many at once, the others wait to see what one does."""
    made = (
        insert(User)
        .values(
            {name: bindparam(name) for name in ("id", "email", "email_key", "language")}
            | {"verified_mail": False, "credential_version": 0}
        )
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
        .returning(User.id.label("user_id"), User.email)
        .cte("won")
    )
    dropped = delete(UserRole).where(UserRole.user_id == won.c.user_id, UserRole.role == TEMPORARY_USER).cte("dropped")
    role = select(won.c.user_id, literal(PORTAL_USER))
    granted = insert(UserRole).from_select(["user_id", "role"], role).cte("granted")
    withdrawn = withdrawal(user_id=won.c.user_id, kind=bindparam("letters_about", type_=Text)).cte("withdrawn")
    registered = noted(Kind.REGISTERED, about=won)
    return select(won.c.email).add_cte(dropped, granted, withdrawn, registered)


_CREATE, _PROMOTE = Prepared(_create()), Prepared(_promote())

_as_it_was_read = and_(
    User.id == bindparam("user_id"), User.credential_version == bindparam("version"), User.verified_mail
)

_SET_PASSWORD = (
    update(User)
    .where(_as_it_was_read)
    .values(password_hash=bindparam("phc"), credential_version=User.credential_version + 1)
    .returning(User.id)
)

_MOVE = (
    update(User)
    .where(_as_it_was_read)
    .values(email=bindparam("stored"), email_key=bindparam("key"), credential_version=User.credential_version + 1)
    .returning(User.id)
)

_FORGET_WISHES = delete(EmailChange).where(EmailChange.user_id == bindparam("owner"))

_HOLD = select(User.id).where(User.id == bindparam("user_id")).with_for_update(read=True, key_share=True)
_LOCK = select(User.credential_version).where(User.id == bindparam("user_id")).with_for_update()


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
    credential_version: int

    @property
    def address(self) -> Address:
        """Where letters to this person go, and how they are counted."""
        return Address(stored=self.email, key=self.email_key)


def hold(user_id: int) -> bool:
    """Keep a user from being deleted until this unit of work ends; False if it is gone already."""
    return writing().execute(_HOLD, {"user_id": user_id}).one_or_none() is not None


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

    def owner(self, user_id: int) -> Person:
        """The same, of an account that somebody is signed in to. Raises TokenInvalid if it was deleted meanwhile."""
        person = self.person(user_id)
        if person is None:
            raise TokenInvalid
        return person

    def person_and_codes(self, user_id: int) -> tuple[Person, int] | None:
        """The same, and how many codes the address had in the last 24 hours; `Outbox.put_code` counts exactly."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        row = read_at_once(_PERSON_AND_CODES, user_id=user_id)
        return None if row is None else (Person(*row[:-1]), row[-1])

    def by_email(self, email: Address) -> Person | None:
        """What the service itself knows of the user with an address, as committed."""
        row = read_at_once(_PERSON_BY_KEY, key=email.key)
        return None if row is None else Person(*row)

    def create(self, *, email: Address, language: str) -> Profile | None:
        """Make a temporary user; None when the address is taken, which the unique constraint decides."""
        identity = random_id()
        columns = {"id": identity, "email": email.stored, "email_key": email.key, "language": language}
        if written_at_once((_CREATE, columns)) is None:
            return None
        return Profile(identity, email.stored, verified_mail=False, roles=[TEMPORARY_USER])

    def promote(
        self, user_id: int, *, digest: bytes, phc: str | None, letters_about: EmailKind, origin: Origin
    ) -> Profile | None:
        """Make a temporary user one of the portal, and note it; None when there is no such user, or not any more.

        `digest` is of the ticket that finished the registration, `phc` the hash of the password, if one was chosen;
        waiting letters of the kind `letters_about` are worth nothing from then on, and end.
        """
        columns = {"user_id": user_id, "digest": digest, "phc": phc, "letters_about": letters_about}
        columns |= {"seen_address": origin.address, "seen_device": origin.device}
        row = written_at_once((_PROMOTE, columns))
        return None if row is None else Profile(user_id, row[0], verified_mail=True, roles=[PORTAL_USER])

    def set_password(self, person: Person, phc: str | None) -> bool:
        """Give somebody another password, or none; every code that was mailed for the account before is worth nothing.

        So is a change of the address that was under way. Returns False, and does nothing, if the account is not what
        `person` says any more.
        """
        row = writing().execute(_SET_PASSWORD, {"user_id": person.id, "version": person.credential_version, "phc": phc})
        if row.one_or_none() is None:
            return False
        writing().execute(_FORGET_WISHES, {"owner": person.id})
        return True

    def move(self, person: Person, email: Address) -> bool:
        """Give somebody another address; every code that was mailed for the account before is worth nothing.

        Returns False if the account is not what `person` says any more. Raises EmailTaken if somebody else has proved
        the address, which the unique constraint decides: of two who do at once, one gets it.
        """
        self.make_room(email)
        given = {"user_id": person.id, "version": person.credential_version, "stored": email.stored, "key": email.key}
        try:
            row = writing().execute(_MOVE, given).one_or_none()
        except IntegrityError:
            raise EmailTaken from None
        if row is None:
            return False
        writing().execute(_FORGET_WISHES, {"owner": person.id})
        return True

    def lock(self, user_id: int) -> int | None:
        """Let nobody else change a user or what belongs to it until this unit of work ends.

        Returns the version of its credentials; None if it is gone. Whoever changes a user and what belongs to it locks
        the user first, so that no two of them wait for each other.
        """
        version: int | None = writing().execute(_LOCK, {"user_id": user_id}).scalar_one_or_none()
        return version

    def delete(self, user_id: int) -> None:
        """Delete a user and all that belongs to it: roles, sessions, links that undo, changes under way."""
        writing().execute(delete(User).where(User.id == user_id))

    def take_back(self, user_id: int, *, email: Address | None) -> None:
        """Leave an account without a password, and give it back the address `email` if there is one.

        Raises EmailTaken if somebody else has proved that address meanwhile.
        """
        if email is not None:
            self.make_room(email)
        changed = {} if email is None else {"email": email.stored, "email_key": email.key}
        given = {"password_hash": None, "credential_version": User.credential_version + 1, **changed}
        try:
            writing().execute(update(User).where(User.id == user_id).values(given))
        except IntegrityError:
            raise EmailTaken from None
        writing().execute(_FORGET_WISHES, {"owner": user_id})

    def make_room(self, email: Address) -> None:
        """Delete the temporary user that has an address, if one does, for somebody who has proved it."""
        writing().execute(delete(User).where(User.email_key == email.key, User.verified_mail.is_(False)))

    def forget_temporary(self, *, older_than: timedelta, at_most: int) -> int:
        """Delete some of the users who never confirmed their address; returns how many."""
        # Not `IS false`, of which PostgreSQL does not see that it is what the index of temporary users is about.
        stale = select(User.id).where(~User.verified_mail, User.created_at < func.now() - older_than)
        some = stale.limit(at_most).with_for_update(skip_locked=True).cte("some")
        return len(writing().execute(delete(User).where(User.id == some.c.id).returning(User.id)).all())
