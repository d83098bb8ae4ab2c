"""SQL statements about users, with their typed parameters and rows."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import (
    Integer,
    Interval,
    Text,
    and_,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from auth_service.db import Statement, Write
from auth_service.models import PORTAL_USER, REGISTRATION_ROLES, TEMPORARY_USER, PendingEmailChange, User, UserRole
from auth_service.models.audit_event import EventType
from auth_service.services.audit.statements import ClientParameters, audit_cte
from auth_service.services.credentials.second_factors import has_factor
from auth_service.services.email.addresses import Address
from auth_service.services.email.statements import codes_of_a_day, withdraw_cte

# Statements are built at import: building one costs about as much as running it.

# Not `IN`: SQLAlchemy expands its list at each execution, and prepared statements have no such step.
_registration_roles = (
    select(func.array_agg(aggregate_order_by(UserRole.role, UserRole.role)))
    .where(UserRole.user_id == User.id, or_(*(UserRole.role == role for role in REGISTRATION_ROLES)))
    .scalar_subquery()
)


class ById(TypedDict):
    """Parameters of a statement about one user, by id."""

    user_id: int


class ByKey(TypedDict):
    """Parameters of a statement about one user, by normalised address."""

    key: str


class IfUnchanged(ById):
    """Parameters of a statement that changes a user only if the credential version is still `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class PublicUser:
    """A user as an anonymous client may see it: of the roles only those of the registration."""

    id: int
    email: str
    verified_mail: bool
    roles: list[str]


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A committed user, read in autocommit; the fields are those of `User`."""

    id: int
    email: str
    email_key: str
    verified_mail: bool
    language: str
    registration_digest: memoryview | None = field(repr=False)
    password_hash: str | None = field(repr=False)
    credential_version: int
    verified_at: datetime | None
    is_banned: bool
    """By the clock of the database when the record was read; opening a session compares the ban again."""
    factor_version: int
    """Opening a session compares it, so that a sign-in does not miss a second factor that was just added."""
    has_factor: bool
    """Whether the user has TOTP or a passkey."""

    @property
    def address(self) -> Address:
        """The address for emails, and its normalised form for limits."""
        return Address(stored=self.email, key=self.email_key)


def _record_unless_decoy(*columns: Any) -> UserRecord | None:
    record = UserRecord(*columns)
    return record if record.id else None


def _record_and_codes(*columns: Any) -> tuple[UserRecord, int]:
    return UserRecord(*columns[:-1]), columns[-1]


_public = select(User.id, User.email, User.verified_mail, _registration_roles)
PUBLIC_BY_KEY = Statement(_public.where(User.email_key == bindparam("key")), parameters=ByKey, row=PublicUser)
PUBLIC_BY_ID = Statement(_public.where(User.id == bindparam("user_id")), parameters=ById, row=PublicUser)

_record = select(
    User.id,
    User.email,
    User.email_key,
    User.verified_mail,
    User.language,
    User.registration_digest,
    User.password_hash,
    User.credential_version,
    User.verified_at,
    User.is_banned(),
    User.factor_version,
    has_factor(User.id),
)
_by_id = User.id == bindparam("user_id")
RECORD_BY_ID = Statement(_record.where(_by_id), parameters=ById, row=UserRecord)
_by_key = User.email_key == bindparam("key")
# Constant work for unknown addresses: a row of the same size is sent and parsed in place of that of a user, so that the
# time of the answer does not reveal the user (timing side channel).
_decoy: Any = select(
    literal_column("0::bigint"),
    literal_column("'an.address.of.a.user@example.org'"),
    literal_column("'an.address.of.a.user@example.org'"),
    literal_column("true"),
    literal_column("'en'"),
    literal_column("decode(repeat('00', 32), 'hex')"),
    literal_column(f"'$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}'"),
    literal_column("0"),
    literal_column("now()"),
    literal_column("false"),
    literal_column("0"),
    literal_column("false"),
).where(~select(User.id).where(_by_key).exists())
RECORD_BY_KEY = Statement(union_all(_record.where(_by_key), _decoy), parameters=ByKey, row=_record_unless_decoy)
RECORD_AND_CODES = Statement(
    _record.add_columns(codes_of_a_day(User.email_key)).where(_by_id), parameters=ById, row=_record_and_codes
)


def _create() -> Any:
    """Insert a temporary user with its role, unless the address is taken; concurrent inserts wait for the first."""
    created = (
        insert(User)
        .values(
            {name: bindparam(name) for name in ("id", "email", "email_key", "language")}
            | {"verified_mail": False, "credential_version": 0}
        )
        .on_conflict_do_nothing(index_elements=[User.email_key])
        .returning(User.id)
        .cte("created")
    )
    granted = select(created.c.id, literal(TEMPORARY_USER))
    return insert(UserRole).from_select(["user_id", "role"], granted).returning(UserRole.user_id)


def _promote() -> Any:
    """Promote a temporary user to a portal user; of concurrent requests one finds it temporary and promotes it."""
    promoted = (
        update(User)
        .where(User.id == bindparam("user_id"), User.verified_mail.is_(False))
        .values(
            verified_mail=True,
            verified_at=func.now(),
            registration_digest=bindparam("digest"),
            password_hash=bindparam("password_hash"),
        )
        .returning(User.id.label("user_id"), User.email)
        .cte("promoted")
    )
    dropped = (
        delete(UserRole).where(UserRole.user_id == promoted.c.user_id, UserRole.role == TEMPORARY_USER).cte("dropped")
    )
    role = select(promoted.c.user_id, literal(PORTAL_USER))
    granted = insert(UserRole).from_select(["user_id", "role"], role).cte("granted")
    withdrawn = withdraw_cte(user_id=promoted.c.user_id, kind=bindparam("letters_about", type_=Text)).cte("withdrawn")
    registered = audit_cte(EventType.REGISTERED, about=promoted)
    return select(promoted.c.email).add_cte(dropped, granted, withdrawn, registered)


class Create(TypedDict):
    """Parameters of the creation of a temporary user."""

    id: int
    email: str
    email_key: str
    language: str


class Promote(ById, ClientParameters):
    """Parameters of the promotion of a temporary user to a portal user."""

    digest: bytes
    password_hash: str | None
    letters_about: str


CREATE = Statement(_create(), parameters=Create, row=int)
PROMOTE = Statement(_promote(), parameters=Promote, row=str)

_is_unchanged = and_(_by_id, User.credential_version == bindparam("version"), User.verified_mail)
_next_version = User.credential_version + 1


class SetPassword(IfUnchanged):
    """Parameters of a change of the password."""

    password_hash: str | None


class ChangeEmail(IfUnchanged):
    """Parameters of a change of the address."""

    stored: str
    key: str


class SetLanguage(ById):
    """Parameters of a change of the language of emails."""

    language: str


class RevertTakeover(ById):
    """Parameters of the revert of an account takeover; both are None to keep the address."""

    stored: str | None
    key: str | None


class StaleTemporaryUsers(TypedDict):
    """Parameters of the deletion of stale temporary users."""

    older_than: timedelta
    at_most: int


SET_PASSWORD = Statement(
    update(User)
    .where(_is_unchanged)
    .values(password_hash=bindparam("password_hash"), credential_version=_next_version)
    .returning(User.id),
    parameters=SetPassword,
    row=int,
)
CHANGE_EMAIL = Statement(
    update(User)
    .where(_is_unchanged)
    .values(email=bindparam("stored"), email_key=bindparam("key"), credential_version=_next_version)
    .returning(User.id),
    parameters=ChangeEmail,
    row=int,
)
REVERT_TAKEOVER = Statement(
    update(User)
    .where(_by_id)
    .values(
        password_hash=null(),
        credential_version=_next_version,
        email=func.coalesce(bindparam("stored", type_=Text), User.email),
        email_key=func.coalesce(bindparam("key", type_=Text), User.email_key),
    )
    .returning(User.id),
    parameters=RevertTakeover,
    row=int,
)
SET_LANGUAGE = Statement(
    update(User)
    .where(_by_id, User.language != bindparam("language"))
    .values(language=bindparam("language"))
    .returning(User.id),
    parameters=SetLanguage,
    row=int,
)
DELETE_PENDING_EMAIL_CHANGES = Write(
    delete(PendingEmailChange).where(PendingEmailChange.user_id == bindparam("user_id")), parameters=ById
)
LOCK_SHARED = Statement(
    select(User.id).where(_by_id).with_for_update(read=True, key_share=True), parameters=ById, row=int
)
LOCK_AGAINST_CHANGE = Write(select(User.id).where(_by_id).with_for_update(read=True), parameters=ById)
LOCK_FOR_CHANGE = Write(select(User.id).where(_by_id).with_for_update(key_share=True), parameters=ById)
NEXT_FACTOR_VERSION = Statement(
    update(User).where(_by_id).values(factor_version=User.factor_version + 1).returning(User.factor_version),
    parameters=ById,
    row=int,
)
LOCK_FOR_UPDATE = Statement(select(User.credential_version).where(_by_id).with_for_update(), parameters=ById, row=int)
DELETE = Write(delete(User).where(_by_id), parameters=ById)
DELETE_TEMPORARY_USER = Write(
    delete(User).where(User.email_key == bindparam("key"), User.verified_mail.is_(False)), parameters=ByKey
)


def _delete_stale() -> Any:
    # `NOT`, not `IS false`: only this form matches the condition of the partial index of temporary users.
    # Ordered, so that PostgreSQL reads the index and not the table until it has found a batch.
    stale = (
        select(User.id)
        .where(
            ~User.verified_mail,
            User.created_at < func.now() - bindparam("older_than", type_=Interval),
            ~User.is_banned(),  # the address of a banned user stays taken
        )
        .order_by(User.created_at)
    )
    batch = stale.limit(bindparam("at_most", type_=Integer)).with_for_update(skip_locked=True).cte("batch")
    return delete(User).where(User.id == batch.c.id).returning(User.id)


DELETE_STALE_TEMPORARY_USERS = Statement(_delete_stale(), parameters=StaleTemporaryUsers, row=int, prepared=False)
