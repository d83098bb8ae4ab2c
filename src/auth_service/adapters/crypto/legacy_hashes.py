"""Legacy hashes: verification of imported users' passwords against the password hashes of other systems.

Supported are bcrypt, Argon2 in PHC form, and PBKDF2 and scrypt in the forms of Werkzeug, Django and passlib. `parse`
accepts a hash only if the right password matches it: a hash that can never be verified would lock its user out.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

import bcrypt
import nacl.exceptions
import nacl.pwhash

Check = Callable[[bytes], bool]
"""Whether a password (UTF-8) matches the hash. Compares in constant time.

Raises ValueError or MemoryError if there is not enough memory."""

# Bounds of the cost: above the defaults of all of these systems, and below about one second of processor time. They
# prevent denial of service by an imported hash with excessive parameters. `docs/import-users.md` lists them.
PBKDF2_BLOCKS = {"sha1": 1_500_000, "sha256": 1_500_000, "sha512": 600_000}
"""Rounds times blocks: PBKDF2 computes a key that is longer than the hash function's output block by block."""
BCRYPT_COST = 13
MEMORY_KIB = 128 * 1024
SCRYPT_BLOCKS = 2**20
"""N times r times p: the largest parameters in the OWASP password storage cheat sheet."""
ARGON2_BLOCKS = 2**19
"""KiB times passes."""
PARALLELISM = 64
"""Parameter p of scrypt and Argon2."""

KEY_BYTES = range(16, 65)
"""Lengths of a key. A shorter one could match a wrong password by chance."""
ARGON2_SALT_BYTES = 8
ARGON2_LENGTH = 127
"""The limits of libsodium: bytes of a salt, characters of a PHC string."""
BCRYPT_BYTES = 72

FORM = "must have a supported form"
COST = "must not exceed the cost limits in docs/import-users.md"
PARAMETERS = "must have parameters that can be computed"


class HashRejected(ValueError):
    """A hash cannot be verified; the message says why, without any part of the hash."""


def check(stored: str) -> Check | None:
    """Return the check for a stored hash; None if `parse` rejects the hash. Never raises."""
    try:
        return parse(stored)
    except HashRejected:
        return None


def parse(stored: str) -> Check:
    """Return the check for a hash, without computing anything.

    Raises HashRejected if the form is unknown, the parameters are out of range, or the cost exceeds the bounds.
    """
    for form, read in _FORMS:
        if match := form.fullmatch(stored):
            try:
                return read(**match.groupdict())
            except HashRejected:
                raise
            except ValueError:  # malformed base64
                break
    raise HashRejected(FORM)


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise HashRejected(reason)


def _pbkdf2(name: str, rounds: int, salt: bytes, key: bytes) -> Check:
    _require(rounds >= 1, PARAMETERS)
    _require(len(key) in KEY_BYTES, FORM)
    blocks = -(-len(key) // hashlib.new(name).digest_size)
    _require(rounds * blocks <= PBKDF2_BLOCKS[name], COST)
    return lambda password: hmac.compare_digest(
        # `dklen`, because some systems store keys that are shorter or longer than the output of the hash function.
        hashlib.pbkdf2_hmac(name, password, salt, rounds, dklen=len(key)),
        key,
    )


def _scrypt(n: int, r: int, p: int, salt: bytes, key: bytes) -> Check:
    # RFC 7914, 2: N is a power of two, greater than 1 and less than 2^(128 * r / 8).
    _require(n > 1 and n & (n - 1) == 0 and r >= 1 and p >= 1 and n.bit_length() <= 16 * r, PARAMETERS)
    _require(len(key) in {32, 64}, FORM)
    memory = 128 * r * (n + p + 2)  # as OpenSSL counts it
    _require(n * r * p <= SCRYPT_BLOCKS and p <= PARALLELISM and memory <= (MEMORY_KIB + 1024) * 1024, COST)
    return lambda password: hmac.compare_digest(
        hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory + 1024, dklen=len(key)), key
    )


def _bcrypt(stored: str, cost: str, before: Callable[[bytes], bytes] = lambda password: password) -> Check:
    """`before` is what the other system applies to a password before bcrypt, usually because bcrypt reads 72 bytes.

    Older bcrypt libraries silently truncate a password to 72 bytes. The check does the same, otherwise users with a
    longer password could not sign in. The hash that replaces the legacy hash at sign-in covers the whole password.
    """
    _require(int(cost) >= 4, PARAMETERS)
    _require(int(cost) <= BCRYPT_COST, COST)
    return lambda password: bcrypt.checkpw(before(password)[:BCRYPT_BYTES], stored.encode())


def _argon2(stored: str, memory: str, passes: str, parallelism: str, salt: str, key: str) -> Check:
    # libsodium computes the lanes one after the other, so `parallelism` does not reduce the time.
    m, t, p = int(memory), int(passes), int(parallelism)
    _require(t >= 1 and p >= 1 and m >= 8 * p, PARAMETERS)  # RFC 9106, 3.1
    _require(m <= MEMORY_KIB and m * t <= ARGON2_BLOCKS and p <= PARALLELISM, COST)
    _require(len(_unpadded(salt)) >= ARGON2_SALT_BYTES and len(_unpadded(key)) in KEY_BYTES, FORM)
    _require(len(stored) <= ARGON2_LENGTH, FORM)

    def matches(password: bytes) -> bool:
        try:
            return nacl.pwhash.verify(stored.encode(), password)
        except nacl.exceptions.CryptoError:  # wrong, or out of memory: libsodium does not distinguish them
            return False

    return matches


# One reader for each form of _FORMS. Its arguments are the named groups of the regular expression.


def _werkzeug_pbkdf2(name: str, rounds: str, salt: str, key: str) -> Check:
    return _pbkdf2(name, int(rounds), salt.encode(), bytes.fromhex(key))


def _werkzeug_scrypt(n: str, r: str, p: str, salt: str, key: str) -> Check:
    return _scrypt(int(n), int(r), int(p), salt.encode(), bytes.fromhex(key))


def _django_pbkdf2(name: str, rounds: str, salt: str, key: str) -> Check:
    return _pbkdf2(name, int(rounds), salt.encode(), _padded(key))


def _django_scrypt(n: str, r: str, p: str, salt: str, key: str) -> Check:
    return _scrypt(int(n), int(r), int(p), salt.encode(), _padded(key))


def _django_bcrypt_sha256(stored: str, cost: str) -> Check:
    return _bcrypt(stored, cost, lambda password: hashlib.sha256(password).hexdigest().encode())


def _passlib_pbkdf2(name: str | None, rounds: str, salt: str, key: str) -> Check:
    return _pbkdf2(name or "sha1", int(rounds), _unpadded(salt), _unpadded(key))


def _passlib_scrypt(ln: str, r: str, p: str, salt: str, key: str) -> Check:
    return _scrypt(1 << int(ln), int(r), int(p), _unpadded(salt), _unpadded(key))


def _passlib_bcrypt_sha256(kind: str, cost: str, salt: str, key: str) -> Check:
    hmac_key = salt.encode()
    return _bcrypt(
        f"${kind}${int(cost):02}${salt}{key}",
        cost,
        lambda password: base64.b64encode(hmac.digest(hmac_key, password, "sha256")),
    )


def _passlib_bcrypt_sha256_1(kind: str, cost: str, salt: str, key: str) -> Check:
    return _bcrypt(
        f"${kind}${int(cost):02}${salt}{key}",
        cost,
        lambda password: base64.b64encode(hashlib.sha256(password).digest()),
    )


def _padded(text: str) -> bytes:
    """Decode base64 that uses its last bits, as every system writes it. Raises ValueError."""
    decoded = base64.b64decode(text, validate=True)
    if base64.b64encode(decoded).decode() != text:
        raise ValueError
    return decoded


def _unpadded(text: str) -> bytes:
    """Decode base64 with or without padding; passlib writes a full stop for the plus sign. Raises ValueError."""
    text = text.replace(".", "+").rstrip("=")
    return _padded(text + "=" * (-len(text) % 4))


_N = r"(?:0|[1-9][0-9]{0,17})"
"""A number without leading zeros, because libsodium rejects them."""
_SALT = r"(?P<salt>[!-#%-~]{1,128})"
_HEX = r"(?P<key>(?:[0-9a-f]{2}){1,128})"
_BASE64 = r"(?P<key>[A-Za-z0-9+/]{1,172}={0,2})"
_UNPADDED = r"(?P<salt>[A-Za-z0-9./+]{1,128}={0,2})\$(?P<key>[A-Za-z0-9./+]{1,172}={0,2})"
# 128 bits of salt in 22 characters and 184 bits of key in 31: the unused bits of the last character are zero.
_BCRYPT_SALT = r"[A-Za-z0-9./]{21}[.Oeu]"
_BCRYPT_KEY = r"[A-Za-z0-9./]{30}[.CGKOSWaeimquy26]"
_BCRYPT = rf"(?P<stored>\$2[aby]\$(?P<cost>[0-9]{{2}})\${_BCRYPT_SALT}{_BCRYPT_KEY})"
_BCRYPT_PARTS = rf"(?P<salt>{_BCRYPT_SALT})\$(?P<key>{_BCRYPT_KEY})"
_ARGON2 = (
    rf"(?P<stored>\$argon2id?\$v=19\$m=(?P<memory>{_N}),t=(?P<passes>{_N}),p=(?P<parallelism>{_N})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<key>[A-Za-z0-9+/]+))"
)

_FORMS: tuple[tuple[re.Pattern[str], Callable[..., Check]], ...] = tuple(
    (re.compile(form), read)
    for form, read in (
        (_BCRYPT, _bcrypt),
        (_ARGON2, _argon2),
        (rf"pbkdf2:(?P<name>sha1|sha256|sha512):(?P<rounds>{_N})\${_SALT}\${_HEX}", _werkzeug_pbkdf2),
        (rf"scrypt:(?P<n>{_N}):(?P<r>{_N}):(?P<p>{_N})\${_SALT}\${_HEX}", _werkzeug_scrypt),
        (rf"pbkdf2_(?P<name>sha1|sha256)\$(?P<rounds>{_N})\${_SALT}\${_BASE64}", _django_pbkdf2),
        (rf"scrypt\$(?P<n>{_N})\${_SALT}\$(?P<r>{_N})\$(?P<p>{_N})\${_BASE64}", _django_scrypt),
        (rf"bcrypt\${_BCRYPT}", _bcrypt),
        (rf"bcrypt_sha256\${_BCRYPT}", _django_bcrypt_sha256),
        (rf"argon2{_ARGON2}", _argon2),
        (rf"\$pbkdf2(?:-(?P<name>sha256|sha512))?\$(?P<rounds>{_N})\${_UNPADDED}", _passlib_pbkdf2),
        (rf"\$scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r=(?P<r>{_N}),p=(?P<p>{_N})\${_UNPADDED}", _passlib_scrypt),
        (
            rf"\$bcrypt-sha256\$v=2,t=(?P<kind>2b),r=(?P<cost>[0-9]{{1,2}})\${_BCRYPT_PARTS}",
            _passlib_bcrypt_sha256,
        ),
        (rf"\$bcrypt-sha256\$(?P<kind>2[ab]),(?P<cost>[0-9]{{1,2}})\${_BCRYPT_PARTS}", _passlib_bcrypt_sha256_1),
    )
)
