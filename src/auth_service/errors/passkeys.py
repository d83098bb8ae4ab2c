"""Errors of passkeys (WebAuthn): registration, sign-in, the list of passkeys."""

from typing import Annotated

from auth_service.described_enum import DescribedEnum
from auth_service.errors.base import Conflict, NotFound, Unauthenticated, Unprocessable, members


class PasskeyCheck(DescribedEnum):
    """The checks of a new passkey, in their order; `reason` of `passkey_unfit` is the first that failed."""

    MALFORMED = "malformed", "the credential cannot be parsed, or its parts contradict each other"
    TYPE = "type", "the credential answers another request, such as a sign-in"
    CHALLENGE = (
        "challenge",
        "the credential answers another challenge than that of the ticket, or the ticket is no longer valid",
    )
    ORIGIN = "origin", "the credential was created on a page of another origin, or in a frame of another site"
    RP_ID = "rp_id", "the credential belongs to another relying party"
    USER_PRESENCE = "user_presence", "the authenticator did not ask for the presence of the user"
    USER_VERIFICATION = "user_verification", "the authenticator did not verify the user"
    BACKUP_FLAGS = "backup_flags", "the flags of synced passkeys contradict each other"
    ALGORITHM = "algorithm", "the key is of an algorithm that was not offered"


class PasskeyUnfit(Unprocessable):
    """A new passkey failed a check; `reason` names it."""

    code = "passkey_unfit"
    message = "The passkey was not accepted; request new options and create it again. `reason` is the failed check."
    extra = members(reason=Annotated[PasskeyCheck, "The failed check."])


class PasskeyTaken(Conflict):
    """An account has a passkey with this credential id already: this one or another one (FD5)."""

    code = "passkey_taken"
    message = "This passkey is registered already; create another one."


class PasskeyRejected(Unauthenticated):
    """A check of the assertion failed: signature, challenge, origin, counter or another one (FD5).

    One error for all checks. The failed attempt is committed.
    """

    code = "passkey_rejected"
    message = "The passkey was not accepted; request new options and try again, or use another method."
    commit_on_raise = True


class CredentialUnknown(Unauthenticated):
    """No account has a passkey with this credential id. The failed attempt is committed.

    It reveals no account: credential ids are random, and the authenticator has them already.
    """

    code = "credential_unknown"
    message = "No account has this passkey; call `signalUnknownCredential` with its id, then use another method."
    commit_on_raise = True


class PasskeyUnknown(NotFound):
    """The user has no passkey with this id."""

    code = "passkey_unknown"
    message = "No passkey of this account has this id; list the passkeys to get their ids."
