"""Recovery codes: single-use codes in place of a second factor; only their digests are stored."""

import hashlib
import re
import secrets
from typing import Any

from sqlalchemy import LargeBinary, bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from auth_service.db import Statement, Write, transaction
from auth_service.invisible_characters import without_separators
from auth_service.models import RecoveryCode
from auth_service.services.credentials.second_factors import OfUser

NUMBER = 10
"""How many codes a user gets."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: without the letters that look like digits."""

GROUPS, GROUP = 6, 4
LENGTH = GROUPS * GROUP
"""24 characters of five bits: 120 bits, for which a plain digest suffices (ASVS 6.5.2)."""

ALIKE = str.maketrans("OIL", "011")
_CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


class _Consume(OfUser):
    digest: bytes


class _Insert(OfUser):
    digests: list[bytes]


_of_user = RecoveryCode.user_id == bindparam("user_id")
_left = select(func.count()).where(_of_user, RecoveryCode.used_at.is_(None)).correlate(None).scalar_subquery()
_CONSUME = Statement(
    update(RecoveryCode)
    .where(_of_user, RecoveryCode.digest == bindparam("digest"), RecoveryCode.used_at.is_(None))
    .values(used_at=func.now())
    # The subquery does not see the update, so it counts this code as unused.
    .returning(_left - literal_column("1")),
    parameters=_Consume,
    row=int,
)
DELETE_CODES = Write(delete(RecoveryCode).where(_of_user), parameters=OfUser)


def _insert() -> Any:
    digest = func.unnest(bindparam("digests", type_=ARRAY(LargeBinary))).column_valued("digest")
    codes = select(bindparam("user_id", type_=RecoveryCode.user_id.type), digest)
    return insert(RecoveryCode).from_select(["user_id", "digest"], codes, include_defaults=False)


_INSERT = Write(_insert(), parameters=_Insert)


def normalised(text: str) -> str | None:
    """Return the canonical form of a typed code, or None if it is not a code.

    Case, white space and dashes do not matter, and letters that look like digits are read as those (Crockford).
    """
    code = without_separators(text).upper().translate(ALIKE)
    return code if _CODE.fullmatch(code) else None


def replace_codes(user_id: int) -> list[str]:
    """Replace all recovery codes of a user by new ones; return the new codes, which are shown once."""
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(LENGTH)) for _ in range(NUMBER)]
    transaction().write(DELETE_CODES({"user_id": user_id}))
    transaction().write(_INSERT({"user_id": user_id, "digests": [_digest(code) for code in codes]}))
    return [grouped(code) for code in codes]


def consume(user_id: int, code: str) -> int | None:
    """Consume a code in its canonical form; return how many are left, or None if it is not an unused code of the user.

    One conditional UPDATE decides which of concurrent requests consumes the code.
    """
    return transaction().fetch_one(_CONSUME({"user_id": user_id, "digest": _digest(code)}))


def grouped(code: str) -> str:
    """Return a code as users read it: six groups of four characters."""
    return "-".join(code[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
