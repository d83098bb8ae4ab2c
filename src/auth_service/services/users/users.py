"""Users: finding them, by what strangers know and by what the service knows."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.db import UniqueViolation, fetch_one, transaction
from auth_service.errors import EmailTaken, TokenInvalid, UserUnknown
from auth_service.models import PORTAL_USER, TEMPORARY_USER
from auth_service.models.outbox_message import EmailKind
from auth_service.models.user import HIGHEST_ID, random_id
from auth_service.services.audit.events import ClientInfo
from auth_service.services.email.addresses import Address
from auth_service.services.users.statements import (
    CREATE,
    DELETE,
    DELETE_PENDING_EMAIL_CHANGES,
    DELETE_STALE,
    LOCK,
    LOCK_SHARED,
    MAKE_ROOM,
    MOVE,
    PROMOTE,
    PUBLIC_BY_ID,
    PUBLIC_BY_KEY,
    RECORD_AND_CODES,
    RECORD_BY_ID,
    RECORD_BY_KEY,
    SET_PASSWORD,
    UNDO_HIT,
    Create,
    Move,
    PublicUser,
    UserRecord,
)


def lock_shared(user_id: int) -> bool:
    """Keep a user from being deleted until this unit of work ends; False if it is gone already."""
    return transaction().fetch_one(LOCK_SHARED({"user_id": user_id})) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Users:
    """The people that the service knows."""

    def look_up(self, *, email: Address) -> PublicUser:
        """The user with this address, in one SELECT. Raises UserUnknown."""
        profile = fetch_one(PUBLIC_BY_KEY({"key": email.key}))
        if profile is None:
            raise UserUnknown
        return profile

    def profile(self, user_id: int) -> PublicUser:
        """The user with this id. Raises UserUnknown."""
        profile = fetch_one(PUBLIC_BY_ID({"user_id": user_id}))
        if profile is None:
            raise UserUnknown
        return profile

    def user(self, user_id: int) -> UserRecord | None:
        """What the service itself knows of a user, as committed; None for an id that nobody has."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        return fetch_one(RECORD_BY_ID({"user_id": user_id}))

    def owner(self, user_id: int) -> UserRecord:
        """The same, of an account that somebody is signed in to. Raises TokenInvalid if it was deleted meanwhile."""
        user = self.user(user_id)
        if user is None:
            raise TokenInvalid
        return user

    def record_and_codes(self, user_id: int) -> tuple[UserRecord, int] | None:
        """The same, and how many codes the address had in the last 24 hours; `Outbox.put_code` counts exactly."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        return fetch_one(RECORD_AND_CODES({"user_id": user_id}))

    def by_email(self, email: Address) -> UserRecord | None:
        """What the service itself knows of the user with an address, as committed."""
        return fetch_one(RECORD_BY_KEY({"key": email.key}))

    def create(self, *, email: Address, language: str) -> PublicUser | None:
        """Make a temporary user; None when the address is taken, which the unique constraint decides."""
        identity = random_id()
        new: Create = {"id": identity, "email": email.stored, "email_key": email.key, "language": language}
        if transaction().fetch_one(CREATE(new)) is None:
            return None
        return PublicUser(identity, email.stored, verified_mail=False, roles=[TEMPORARY_USER])

    def promote(
        self, user_id: int, *, digest: bytes, password_hash: str | None, letters_about: EmailKind, client: ClientInfo
    ) -> PublicUser | None:
        """Make a temporary user one of the portal, and note it; None when there is no such user, or not any more.

        `digest` is of the flow ticket that finished the registration, `password_hash` of the password, if one was
        chosen. Emails of the kind `letters_about` that wait to be sent are withdrawn.
        """
        email = transaction().fetch_one(
            PROMOTE(
                {
                    "user_id": user_id,
                    "digest": digest,
                    "password_hash": password_hash,
                    "letters_about": letters_about,
                    "seen_address": client.address,
                    "seen_device": client.device,
                }
            )
        )
        return None if email is None else PublicUser(user_id, email, verified_mail=True, roles=[PORTAL_USER])

    def set_password(self, user: UserRecord, password_hash: str | None) -> bool:
        """Give somebody another password, or none; every code that was mailed for the account before is worth nothing.

        So is a change of the address that was under way. Returns False, and does nothing, if the account is not what
        `user` says any more.
        """
        changed = transaction().fetch_one(
            SET_PASSWORD({"user_id": user.id, "version": user.credential_version, "password_hash": password_hash})
        )
        if changed is None:
            return False
        transaction().write(DELETE_PENDING_EMAIL_CHANGES({"user_id": user.id}))
        return True

    def move(self, user: UserRecord, email: Address) -> bool:
        """Give somebody another address; every code that was mailed for the account before is worth nothing.

        Returns False if the account is not what `user` says any more. Raises EmailTaken if somebody else has proved
        the address, which the unique constraint decides: of two who do at once, one gets it.
        """
        self.delete_temporary_user(email)
        new: Move = {
            "user_id": user.id,
            "version": user.credential_version,
            "stored": email.stored,
            "key": email.key,
        }
        try:
            moved = transaction().fetch_one(MOVE(new))
        except UniqueViolation:
            raise EmailTaken from None
        if moved is None:
            return False
        transaction().write(DELETE_PENDING_EMAIL_CHANGES({"user_id": user.id}))
        return True

    def lock(self, user_id: int) -> int | None:
        """Let nobody else change a user or what belongs to it until this unit of work ends.

        Returns the version of its credentials; None if it is gone. Whoever changes a user and what belongs to it locks
        the user first, so that no two of them wait for each other.
        """
        return transaction().fetch_one(LOCK({"user_id": user_id}))

    def delete(self, user_id: int) -> None:
        """Delete a user and all that belongs to it: roles, sessions, links that undo, changes under way."""
        transaction().write(DELETE({"user_id": user_id}))

    def take_back(self, user_id: int, *, email: Address | None) -> None:
        """Leave an account without a password, and give it back the address `email` if there is one.

        Raises EmailTaken if somebody else has proved that address meanwhile.
        """
        if email is not None:
            self.delete_temporary_user(email)
        stored, key = (None, None) if email is None else (email.stored, email.key)
        try:
            transaction().fetch_one(UNDO_HIT({"user_id": user_id, "stored": stored, "key": key}))
        except UniqueViolation:
            raise EmailTaken from None
        transaction().write(DELETE_PENDING_EMAIL_CHANGES({"user_id": user_id}))

    def delete_temporary_user(self, email: Address) -> None:
        """Delete the temporary user that has an address, if one does, for somebody who has proved it."""
        transaction().write(MAKE_ROOM({"key": email.key}))

    def delete_stale_temporary_users(self, *, older_than: timedelta, at_most: int) -> int:
        """Delete some of the users who never confirmed their address; returns how many."""
        return len(transaction().fetch_all(DELETE_STALE({"older_than": older_than, "at_most": at_most})))
