"""Users: create, read, promote, change password or address, lock, revert a takeover, delete."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.db import UniqueViolation, fetch_one, transaction
from auth_service.errors import EmailTaken, TokenInvalid, UserUnknown
from auth_service.models import PORTAL_USER, TEMPORARY_USER
from auth_service.models.outbox_message import EXPIRED, EmailKind
from auth_service.models.user import HIGHEST_ID, random_id
from auth_service.services.audit.events import ClientInfo
from auth_service.services.email.addresses import Address
from auth_service.services.email.statements import END_CODES_OF_USER
from auth_service.services.users.statements import (
    CHANGE_EMAIL,
    CREATE,
    DELETE,
    DELETE_PENDING_EMAIL_CHANGES,
    DELETE_STALE_TEMPORARY_USERS,
    DELETE_TEMPORARY_USER,
    LOCK_AGAINST_CHANGE,
    LOCK_FOR_CHANGE,
    LOCK_FOR_UPDATE,
    LOCK_SHARED,
    NEXT_FACTOR_VERSION,
    PROMOTE,
    PUBLIC_BY_ID,
    PUBLIC_BY_KEY,
    RECORD_AND_CODES,
    RECORD_BY_ID,
    RECORD_BY_KEY,
    REVERT_TAKEOVER,
    SET_LANGUAGE,
    SET_PASSWORD,
    ChangeEmail,
    Create,
    PublicUser,
    UserRecord,
)


def lock_shared(user_id: int) -> bool:
    """Lock a user against deletion until this unit of work ends; return False if it was deleted."""
    return transaction().fetch_one(LOCK_SHARED({"user_id": user_id})) is not None


def lock_against_change(user_id: int) -> None:
    """Lock a user against changes by others, with the next statement, as opening a session does."""
    transaction().write(LOCK_AGAINST_CHANGE({"user_id": user_id}))


def lock_for_change(user_id: int) -> None:
    """Lock a user, with the next statement, before the second factors are read and changed."""
    transaction().write(LOCK_FOR_CHANGE({"user_id": user_id}))


def next_factor_version(user_id: int) -> int | None:
    """Mark a change of the second factors, and return the new version; None if the user was deleted.

    It ends trusted devices, and no sign-in that began before opens a session.
    """
    return transaction().fetch_one(NEXT_FACTOR_VERSION({"user_id": user_id}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Users:
    """Reads and writes user records; the statements are in `statements`."""

    def look_up(self, *, email: Address) -> PublicUser:
        """Return the public view of the user with this address, in one SELECT. Raises UserUnknown."""
        user = fetch_one(PUBLIC_BY_KEY({"key": email.key}))
        if user is None:
            raise UserUnknown
        return user

    def public_by_id(self, user_id: int) -> PublicUser:
        """Return the public view of the user with this id. Raises UserUnknown."""
        user = fetch_one(PUBLIC_BY_ID({"user_id": user_id}))
        if user is None:
            raise UserUnknown
        return user

    def by_id(self, user_id: int) -> UserRecord | None:
        """Return the committed record of the user with this id, or None."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        return fetch_one(RECORD_BY_ID({"user_id": user_id}))

    def signed_in_user(self, user_id: int) -> UserRecord:
        """Return the record of a signed-in user. Raises TokenInvalid if the account was deleted meanwhile."""
        user = self.by_id(user_id)
        if user is None:
            raise TokenInvalid
        return user

    def record_and_codes(self, user_id: int) -> tuple[UserRecord, int] | None:
        """Return the record, and how many codes the address got in 24 hours; `Outbox.put_code` counts exactly."""
        if not 0 < user_id <= HIGHEST_ID:
            return None
        return fetch_one(RECORD_AND_CODES({"user_id": user_id}))

    def by_email(self, email: Address) -> UserRecord | None:
        """Return the committed record of the user with this address, or None."""
        return fetch_one(RECORD_BY_KEY({"key": email.key}))

    def create(self, *, email: Address, language: str) -> PublicUser | None:
        """Create a temporary user; None if the address is taken, which the unique constraint decides."""
        user_id = random_id()
        parameters: Create = {"id": user_id, "email": email.stored, "email_key": email.key, "language": language}
        if transaction().fetch_one(CREATE(parameters)) is None:
            return None
        return PublicUser(user_id, email.stored, verified_mail=False, roles=[TEMPORARY_USER])

    def promote(
        self, user_id: int, *, digest: bytes, password_hash: str | None, letters_about: EmailKind, client: ClientInfo
    ) -> PublicUser | None:
        """Promote a temporary user to a portal user and record the audit event; None if there is no temporary user.

        `digest` is that of the flow ticket that finished the registration. `password_hash` is None for an account
        without a password. Waiting emails of the kind `letters_about` are withdrawn.
        """
        email = transaction().fetch_one(
            PROMOTE(
                {
                    "user_id": user_id,
                    "digest": digest,
                    "password_hash": password_hash,
                    "letters_about": letters_about,
                    **client.as_parameters(),
                }
            )
        )
        return None if email is None else PublicUser(user_id, email, verified_mail=True, roles=[PORTAL_USER])

    def set_password(self, user: UserRecord, password_hash: str | None) -> bool:
        """Set or remove the password; invalidate all codes and pending email changes of the account.

        Returns False and changes nothing if the credential version differs from that of `user`.
        """
        changed = transaction().fetch_one(
            SET_PASSWORD({"user_id": user.id, "version": user.credential_version, "password_hash": password_hash})
        )
        if changed is None:
            return False
        _drop_codes(user.id)
        return True

    def change_email(self, user: UserRecord, email: Address) -> bool:
        """Change the address; invalidate all codes and pending email changes of the account.

        Returns False if the credential version differs from that of `user`. Raises EmailTaken if another user has
        verified the address; of concurrent requests the unique constraint lets one succeed.
        """
        self.delete_temporary_user(email)
        parameters: ChangeEmail = {
            "user_id": user.id,
            "version": user.credential_version,
            "stored": email.stored,
            "key": email.key,
        }
        try:
            changed = transaction().fetch_one(CHANGE_EMAIL(parameters))
        except UniqueViolation:
            raise EmailTaken from None
        if changed is None:
            return False
        _drop_codes(user.id)
        return True

    def set_language(self, user_id: int, language: str) -> bool:
        """Change the language of emails; return False if the user has it already, also by a race."""
        return transaction().fetch_one(SET_LANGUAGE({"user_id": user_id, "language": language})) is not None

    def lock_for_update(self, user_id: int) -> int | None:
        """Lock a user exclusively until this unit of work ends; return the credential version, or None if deleted.

        Every flow that writes a user and its sessions, revert links or pending email changes locks the user first: one
        lock order prevents deadlocks.
        """
        return transaction().fetch_one(LOCK_FOR_UPDATE({"user_id": user_id}))

    def delete(self, user_id: int) -> None:
        """Delete a user with its roles, sessions, revert links and pending email changes."""
        transaction().write(DELETE({"user_id": user_id}))

    def revert_takeover(self, user_id: int, *, email: Address | None) -> None:
        """Remove the password, and restore the former address `email` unless it is None.

        Raises EmailTaken if another user has verified that address meanwhile.
        """
        if email is not None:
            self.delete_temporary_user(email)
        stored, key = (None, None) if email is None else (email.stored, email.key)
        try:
            transaction().fetch_one(REVERT_TAKEOVER({"user_id": user_id, "stored": stored, "key": key}))
        except UniqueViolation:
            raise EmailTaken from None
        _drop_codes(user_id)

    def remove_password(self, user_id: int) -> None:
        """Remove the password and invalidate all codes and pending email changes of the account.

        The new credential version also rejects a sign-in whose password is being verified at this moment.
        """
        self.revert_takeover(user_id, email=None)

    def delete_temporary_user(self, email: Address) -> None:
        """Delete the temporary user with an address that another user has verified (account pre-hijacking)."""
        transaction().write(DELETE_TEMPORARY_USER({"key": email.key}))

    def delete_stale_temporary_users(self, *, older_than: timedelta, at_most: int) -> int:
        """Delete at most `at_most` temporary users older than `older_than`; return how many."""
        return len(
            transaction().fetch_all(DELETE_STALE_TEMPORARY_USERS({"older_than": older_than, "at_most": at_most}))
        )


def _drop_codes(user_id: int) -> None:
    """Withdraw what belongs to codes that a new credential version has made invalid: emails, pending email changes."""
    transaction().write(END_CODES_OF_USER({"end": EXPIRED, "reason": None, "owner": user_id}))
    transaction().write(DELETE_PENDING_EMAIL_CHANGES({"user_id": user_id}))
