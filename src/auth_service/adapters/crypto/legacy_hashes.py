"""Legacy hashes: verification of imported users' passwords against the password hashes of other systems.

Supported are bcrypt, Argon2 in PHC form, and PBKDF2 and scrypt in the forms of Werkzeug, Django and passlib. No
password matches a hash of another form, or one that needs more time or memory than the bounds below.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable

import bcrypt
import nacl.exceptions
import nacl.pwhash

Check = Callable[[bytes], bool]
"""Whether a password (UTF-8) matches the hash. Never raises; compares in constant time."""

# Bounds: above the defaults of all of these systems, and below about one second of a processor. They prevent denial of
# service by an imported hash with excessive parameters.
PBKDF2_ROUNDS = {"sha1": 3_000_000, "sha256": 3_000_000, "sha512": 1_000_000}
BCRYPT_COST = 14
MEMORY_KIB = 128 * 1024
SCRYPT_BLOCKS = 2**21
"""N times r times p: twice the largest parameters in the OWASP password storage cheat sheet."""
ARGON2_BLOCKS = 2**20
"""KiB times passes."""
PARALLELISM = 64
"""Parameter p of scrypt and Argon2."""

BCRYPT_BYTES = 72


def check(stored: str) -> Check | None:
    """The check for a stored hash; None if its form is unknown or it exceeds the bounds. Never raises."""
    for form, read in _FORMS:
        if match := form.fullmatch(stored):
            try:
                return read(**match.groupdict())
            except ValueError:  # malformed digits, base64 or hexadecimal
                return None
    return None


def _pbkdf2(name: str, rounds: int, salt: bytes, digest: bytes) -> Check | None:
    if not 0 < rounds <= PBKDF2_ROUNDS[name]:
        return None
    return lambda password: hmac.compare_digest(hashlib.pbkdf2_hmac(name, password, salt, rounds), digest)


def _scrypt(n: int, r: int, p: int, salt: bytes, digest: bytes) -> Check | None:
    if 128 * n * r > MEMORY_KIB * 1024 or n * r * p > SCRYPT_BLOCKS or p > PARALLELISM or len(digest) not in {32, 64}:
        return None

    def matches(password: bytes) -> bool:
        try:
            # The memory bound of OpenSSL has to leave room for its buffers beside the blocks.
            computed = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2**28, dklen=len(digest))
        except ValueError:  # OpenSSL rejects the parameters
            return False
        return hmac.compare_digest(computed, digest)

    return matches


def _bcrypt(stored: str, cost: str, before: Callable[[bytes], bytes] = lambda password: password) -> Check | None:
    """`before` is what the other system applies to a password first, usually because bcrypt reads only 72 bytes.

    Older bcrypt libraries silently truncate a password to 72 bytes. The check does the same, or users with a longer
    password could not sign in. The hash that replaces the legacy hash at sign-in covers the whole password.
    """
    if not 4 <= int(cost) <= BCRYPT_COST:
        return None

    def matches(password: bytes) -> bool:
        try:
            return bcrypt.checkpw(before(password)[:BCRYPT_BYTES], stored.encode())
        except ValueError:  # a salt with unused bits set
            return False

    return matches


def _argon2(stored: str, memory: str, passes: str, parallelism: str) -> Check | None:
    # libsodium computes parallel lanes one after the other, and accepts at most 127 characters.
    blocks = int(memory) * int(passes)
    if int(memory) > MEMORY_KIB or blocks > ARGON2_BLOCKS or int(parallelism) > PARALLELISM or len(stored) > 127:
        return None

    def matches(password: bytes) -> bool:
        try:
            return nacl.pwhash.verify(stored.encode(), password)
        except nacl.exceptions.CryptoError:  # wrong, malformed or out of memory: libsodium does not distinguish them
            return False

    return matches


# Readers: one for each form. The named groups of its regular expression are its arguments.


def _werkzeug_pbkdf2(name: str, rounds: str, salt: str, digest: str) -> Check | None:
    return _pbkdf2(name, int(rounds), salt.encode(), bytes.fromhex(digest))


def _werkzeug_scrypt(n: str, r: str, p: str, salt: str, digest: str) -> Check | None:
    return _scrypt(int(n), int(r), int(p), salt.encode(), bytes.fromhex(digest))


def _django_pbkdf2(name: str, rounds: str, salt: str, digest: str) -> Check | None:
    return _pbkdf2(name, int(rounds), salt.encode(), base64.b64decode(digest, validate=True))


def _django_scrypt(n: str, r: str, p: str, salt: str, digest: str) -> Check | None:
    return _scrypt(int(n), int(r), int(p), salt.encode(), base64.b64decode(digest, validate=True))


def _django_bcrypt_sha256(stored: str, cost: str) -> Check | None:
    return _bcrypt(stored, cost, lambda password: binascii.hexlify(hashlib.sha256(password).digest()))


def _passlib_pbkdf2(name: str | None, rounds: str, salt: str, digest: str) -> Check | None:
    return _pbkdf2(name or "sha1", int(rounds), _unpadded(salt), _unpadded(digest))


def _passlib_scrypt(ln: str, r: str, p: str, salt: str, digest: str) -> Check | None:
    return _scrypt(1 << int(ln), int(r), int(p), _unpadded(salt), _unpadded(digest))


def _passlib_bcrypt_sha256(kind: str, cost: str, salt: str, digest: str) -> Check | None:
    key = salt.encode()
    return _bcrypt(
        f"${kind}${int(cost):02}${salt}{digest}",
        cost,
        lambda password: base64.b64encode(hmac.digest(key, password, "sha256")),
    )


def _passlib_bcrypt_sha256_1(kind: str, cost: str, salt: str, digest: str) -> Check | None:
    return _bcrypt(
        f"${kind}${int(cost):02}${salt}{digest}",
        cost,
        lambda password: base64.b64encode(hashlib.sha256(password).digest()),
    )


def _unpadded(text: str) -> bytes:
    """Decode base64 without padding; passlib writes a full stop instead of the plus sign."""
    return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)


_N = r"[0-9]{1,9}"
_SALT = r"(?P<salt>[!-#%-~]{1,128})"
_HEX = r"(?P<digest>(?:[0-9a-f]{2}){16,64})"
_BASE64 = r"(?P<digest>[A-Za-z0-9+/]{20,88}={0,2})"
_UNPADDED = r"(?P<salt>[A-Za-z0-9./+]{1,128})\$(?P<digest>[A-Za-z0-9./+]{20,88})"
_BCRYPT = r"(?P<stored>\$2[aby]\$(?P<cost>[0-9]{2})\$[A-Za-z0-9./]{53})"
_BCRYPT_PARTS = r"(?P<salt>[A-Za-z0-9./]{22})\$(?P<digest>[A-Za-z0-9./]{31})"
_ARGON2 = (
    rf"(?P<stored>\$argon2id?\$v=19\$m=(?P<memory>{_N}),t=(?P<passes>{_N}),p=(?P<parallelism>{_N})"
    r"\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+)"
)

_FORMS: tuple[tuple[re.Pattern[str], Callable[..., Check | None]], ...] = tuple(
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
