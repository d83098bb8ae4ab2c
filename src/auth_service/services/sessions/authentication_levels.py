"""Authentication levels and methods of a session: `acr` (RFC 9470) and `amr` (RFC 8176)."""

from collections.abc import Sequence

AAL1, AAL2 = "aal1", "aal2"
"""One factor; one passkey or two factors (NIST SP 800-63B)."""
LEVELS = (AAL1, AAL2)

METHOD_REFERENCES = {"password": "pwd", "code": "email", "identity": "fed"}
"""The `amr` value of each first factor. `email`, an emailed code, and `fed`, an identity provider, are private values:
RFC 8176 has none for them."""

MULTIPLE_FACTORS = "mfa"
"""The `amr` value that says that two factors were verified."""

SECOND_FACTORS = frozenset({"otp", "recovery", MULTIPLE_FACTORS})

PASSKEYS = frozenset({"hwk", "swk"})
"""The `amr` values of a device-bound and of a synced passkey, which are two factors in one."""


def method_references(method: str) -> list[str]:
    """Return the `amr` values of a sign-in with one first factor: `password`, `code` or `identity`."""
    return [METHOD_REFERENCES[method]]


def method_of(amr: Sequence[str]) -> str:
    """Return the first factor of `amr` values; `passkey` if none of them is one."""
    return next((method for method, reference in METHOD_REFERENCES.items() if reference in amr), "passkey")


def with_second_factor(amr: Sequence[str], second: str) -> list[str]:
    """Return the `amr` values after a second factor: `otp`, or the private value `recovery`."""
    first = [reference for reference in amr if reference not in SECOND_FACTORS]
    return [*first, second, MULTIPLE_FACTORS]


def level_of(amr: Sequence[str]) -> str:
    """Return the authentication level of a session with these `amr` values."""
    return AAL2 if MULTIPLE_FACTORS in amr or PASSKEYS.intersection(amr) else AAL1


def satisfies(acr: str, required: str) -> bool:
    """Whether the level `acr` is at least the level `required`."""
    return LEVELS.index(acr) >= LEVELS.index(required)
