"""Recipients of one-time codes: users, and decoys for addresses that must not be revealed (user enumeration)."""

import uuid

from auth_service.services.credentials.one_time_codes import Recipient
from auth_service.services.email.addresses import Address
from auth_service.services.email.rendering import LANGUAGES
from auth_service.services.users.statements import UserRecord


def recipient(user: UserRecord, *, address: Address, session_id: uuid.UUID | None, is_decoy: bool = False) -> Recipient:
    """Return the recipient of a code for a user, at the address of the account or of a pending email change.

    Codes with a `session_id` belong to that session; other codes belong to a flow ticket.
    """
    return Recipient(
        address=address,
        language=user.language,
        user_id=user.id,
        credential_version=user.credential_version,
        session_id=session_id,
        is_decoy=is_decoy,
    )


def recipient_or_decoy(address: Address, user: UserRecord | None) -> Recipient:
    """Return the recipient of a code that an anonymous client requests: a verified user, otherwise a decoy."""
    if user is not None and user.verified_mail:
        return recipient(user, address=user.address, session_id=None)
    return Recipient(
        address=address, language=LANGUAGES[0], user_id=None, credential_version=None, session_id=None, is_decoy=True
    )
