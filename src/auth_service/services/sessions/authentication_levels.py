"""Authentication levels and methods of a session: `acr` (RFC 9470) and `amr` (RFC 8176)."""

AAL1, AAL2 = "aal1", "aal2"
"""One factor; one passkey or two factors (NIST SP 800-63B)."""
LEVELS = (AAL1, AAL2)

METHOD_REFERENCES = {"password": "pwd", "code": "email"}
"""The `amr` value of each first factor. `email`, an emailed code, is a private value: RFC 8176 has none for it."""


def method_references(method: str) -> list[str]:
    """Return the `amr` values of a sign-in with one first factor: `password` or `code`."""
    return [METHOD_REFERENCES[method]]


def satisfies(acr: str, required: str) -> bool:
    """Whether the level `acr` is at least the level `required`."""
    return LEVELS.index(acr) >= LEVELS.index(required)
