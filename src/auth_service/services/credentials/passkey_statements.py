"""SQL statements about passkeys, with their typed parameters and rows."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict

from sqlalchemy import (
    BigInteger,
    Boolean,
    LargeBinary,
    Text,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.crypto.passkey_providers import provider_of
from auth_service.db import Statement
from auth_service.models import Passkey, User
from auth_service.services.credentials.second_factors import OfUser

# Statements are built at import: building one costs about as much as running it.


class ByCredential(TypedDict):
    """Parameters of a statement about the passkey with a credential id."""

    credential_id: bytes


class ByPasskey(OfUser):
    """Parameters of a statement about one passkey of a user. The passkey of another user is unknown (AZ2)."""

    passkey_id: uuid.UUID


class NewName(ByPasskey):
    """Parameters of a change of the name."""

    name: str


class NewHandle(OfUser):
    """Parameters of the first user handle of a user."""

    handle: bytes


class NewPasskey(OfUser):
    """Parameters of a new passkey."""

    id: uuid.UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int
    backup_eligible: bool
    backed_up: bool
    transports: Sequence[str]
    aaguid: uuid.UUID
    name: str
    session_id: uuid.UUID
    ticket_digest: bytes


class Use(TypedDict):
    """Parameters of the use of a passkey: the state of the authenticator when it signed."""

    passkey_id: uuid.UUID
    sign_count: int
    backed_up: bool


class PasskeyRecord(NamedTuple):
    """A passkey as its user sees it, with its credential id."""

    id: uuid.UUID
    name: str
    provider: str | None
    synced: bool
    """Whether the authenticator may copy it to other devices."""
    created_at: datetime
    last_used_at: datetime | None
    credential_id: bytes
    transports: Sequence[str]


class PasskeyKey(NamedTuple):
    """What verifies an assertion."""

    id: uuid.UUID
    user_id: int
    public_key: bytes
    backup_eligible: bool
    user_handle: bytes | None


def _record(
    passkey_id: uuid.UUID,
    name: str,
    aaguid: uuid.UUID,
    synced: bool,
    created_at: datetime,
    last_used_at: datetime | None,
    credential_id: memoryview,
    transports: Sequence[str],
) -> PasskeyRecord:
    provider = provider_of(aaguid)
    return PasskeyRecord(passkey_id, name, provider, synced, created_at, last_used_at, bytes(credential_id), transports)


def _key(
    passkey_id: uuid.UUID, user_id: int, public_key: memoryview, backup_eligible: bool, handle: memoryview | None
) -> PasskeyKey:
    return PasskeyKey(passkey_id, user_id, bytes(public_key), backup_eligible, _handle(handle))


def _handle(handle: memoryview | None) -> bytes | None:
    return None if handle is None else bytes(handle)


def _id(passkey_id: uuid.UUID) -> uuid.UUID:
    return passkey_id


_columns = (
    Passkey.id,
    Passkey.name,
    Passkey.aaguid,
    Passkey.backup_eligible,
    Passkey.created_at,
    Passkey.last_used_at,
    Passkey.credential_id,
    Passkey.transports,
)
_of_user = Passkey.user_id == bindparam("user_id", type_=BigInteger)
_this = Passkey.id == bindparam("passkey_id", type_=Passkey.id.type)
_by_credential = Passkey.credential_id == bindparam("credential_id", type_=LargeBinary)
_count = bindparam("sign_count", type_=BigInteger)

OF_USER = Statement(
    select(*_columns).where(_of_user).order_by(Passkey.created_at, Passkey.id), parameters=OfUser, row=_record
)
BY_CREDENTIAL = Statement(
    select(Passkey.id, Passkey.user_id, Passkey.public_key, Passkey.backup_eligible, User.webauthn_handle)
    .join(User, User.id == Passkey.user_id)
    .where(_by_credential),
    parameters=ByCredential,
    row=_key,
)
IS_TAKEN = Statement(select(Passkey.id).where(_by_credential), parameters=ByCredential, row=_id)
EXISTS = Statement(select(Passkey.id).where(_of_user, _this), parameters=ByPasskey, row=_id)

HANDLE = Statement(select(User.webauthn_handle).where(User.id == bindparam("user_id")), parameters=OfUser, row=_handle)
# Of concurrent first registrations one sets the handle; the others get the same one.
SET_HANDLE = Statement(
    update(User)
    .where(User.id == bindparam("user_id"))
    .values(webauthn_handle=func.coalesce(User.webauthn_handle, bindparam("handle", type_=LargeBinary)))
    .returning(User.webauthn_handle),
    parameters=NewHandle,
    row=_handle,
)

ADD = Statement(
    insert(Passkey)
    .values({name: bindparam(name, type_=Passkey.__table__.c[name].type) for name in NewPasskey.__required_keys__})
    # One credential id, and one ticket, add one passkey; concurrent requests wait for the first (FD5).
    .on_conflict_do_nothing()
    .returning(*_columns),
    parameters=NewPasskey,
    row=_record,
)
RENAME = Statement(
    update(Passkey).where(_of_user, _this).values(name=bindparam("name", type_=Text)).returning(*_columns),
    parameters=NewName,
    row=_record,
)
REMOVE = Statement(delete(Passkey).where(_of_user, _this).returning(Passkey.id), parameters=ByPasskey, row=_id)
# A counter that does not grow means that the authenticator was copied, except for synced passkeys, whose copies have
# counters of their own, and for authenticators without a counter, which always send 0 (WebAuthn Level 3, 6.1.1). One
# conditional UPDATE decides: of two requests with the same counter one succeeds.
USE = Statement(
    update(Passkey)
    .where(
        _this,
        or_(Passkey.backup_eligible, Passkey.sign_count < _count, and_(Passkey.sign_count == 0, _count == 0)),
    )
    .values(
        sign_count=func.greatest(Passkey.sign_count, _count),
        backed_up=bindparam("backed_up", type_=Boolean),
        last_used_at=func.now(),
    )
    .returning(Passkey.id),
    parameters=Use,
    row=_id,
)
