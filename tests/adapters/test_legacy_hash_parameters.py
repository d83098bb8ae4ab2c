"""Legacy hash parameters: every hash that is accepted verifies, and one that cannot be computed is rejected."""

import base64
import hashlib
from collections.abc import Callable

import bcrypt
import pytest
from argon2.low_level import Type, hash_secret
from hypothesis import example, given
from hypothesis import strategies as st

from auth_service.adapters.crypto import legacy_hashes
from auth_service.adapters.crypto.legacy_hashes import COST, FORM, PARAMETERS, HashRejected
from tests.support.legacy_hashes import CHEAP

PASSWORD = "пароль horse battery"
SALT = "q9aQeKcD7h2M1nT0"


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def in_ab64(data: bytes) -> str:
    """Base64 as passlib writes it."""
    return in_base64(data).rstrip("=").replace("+", ".")


# One writer for each form, with the parameters that its system lets an operator choose.

Write = Callable[[str, int, bytes], str]

PBKDF2: dict[str, tuple[tuple[str, ...], Write]] = {
    "Werkzeug": (("sha1", "sha256", "sha512"), lambda name, rounds, key: f"pbkdf2:{name}:{rounds}${SALT}${key.hex()}"),
    "Django": (("sha1", "sha256"), lambda name, rounds, key: f"pbkdf2_{name}${rounds}${SALT}${in_base64(key)}"),
    "passlib": (
        ("sha1", "sha256", "sha512"),
        lambda name, rounds, key: (
            f"$pbkdf2{'' if name == 'sha1' else '-' + name}${rounds}${in_ab64(SALT.encode())}${in_ab64(key)}"
        ),
    ),
    "Keycloak, with the base64 of its export": (
        ("sha256", "sha512"),
        lambda name, rounds, key: f"$pbkdf2-{name}${rounds}${in_base64(SALT.encode())}${in_base64(key)}",
    ),
}
SCRYPT: dict[str, Callable[[int, int, int, bytes], str]] = {
    "Werkzeug": lambda n, r, p, key: f"scrypt:{n}:{r}:{p}${SALT}${key.hex()}",
    "Django": lambda n, r, p, key: f"scrypt${n}${SALT}${r}${p}${in_base64(key)}",
    "passlib": lambda n, r, p, key: (
        f"$scrypt$ln={n.bit_length() - 1},r={r},p={p}${in_ab64(SALT.encode())}${in_ab64(key)}"
    ),
}


def is_accepted(stored: str, password: str = PASSWORD) -> bool:
    """Whether the import accepts a hash; if it does, the right password and no other one has to match."""
    try:
        check = legacy_hashes.parse(stored)
    except HashRejected:
        return False
    assert check(password.encode()), stored
    assert not check(password.encode() + b"!"), stored
    assert not check(b""), stored
    return True


@given(data=st.data(), system=st.sampled_from(sorted(PBKDF2)), rounds=st.integers(1, 64), length=st.integers(1, 80))
def test_pbkdf2_is_verified_with_the_length_of_the_stored_key(
    data: st.DataObject, system: str, rounds: int, length: int
) -> None:
    names, write = PBKDF2[system]
    name = data.draw(st.sampled_from(names))
    key = hashlib.pbkdf2_hmac(name, PASSWORD.encode(), SALT.encode(), rounds, dklen=length)

    assert is_accepted(write(name, rounds, key)) == (16 <= length <= 64)


@pytest.mark.parametrize("system", PBKDF2)
@pytest.mark.parametrize("length", [16, 20, 24, 32, 48, 64])
def test_usual_key_lengths_of_pbkdf2_are_accepted(system: str, length: int) -> None:
    names, write = PBKDF2[system]
    for name in names:
        key = hashlib.pbkdf2_hmac(name, PASSWORD.encode(), SALT.encode(), 27, dklen=length)
        assert is_accepted(write(name, 27, key))


@given(
    system=st.sampled_from(sorted(SCRYPT)),
    n=st.one_of(st.sampled_from([2, 4, 16, 256, 1024, 16384]), st.integers(0, 70)),
    r=st.integers(0, 9),
    p=st.integers(0, 3),
    length=st.sampled_from([0, 16, 24, 31, 32, 33, 63, 64, 65]),
)
@example(system="Werkzeug", n=65536, r=1, p=1, length=64)
@example(system="Werkzeug", n=3, r=8, p=1, length=64)
@example(system="Django", n=0, r=0, p=0, length=64)
def test_scrypt_is_accepted_exactly_if_it_can_be_computed(system: str, n: int, r: int, p: int, length: int) -> None:
    try:
        key = hashlib.scrypt(PASSWORD.encode(), salt=SALT.encode(), n=n, r=r, p=p, maxmem=2**28, dklen=max(length, 1))
    except (ValueError, OverflowError):
        assert system == "passlib" or not is_accepted(SCRYPT[system](n, r, p, bytes(max(length, 1))))
        return
    assert is_accepted(SCRYPT[system](n, r, p, key)) == (length in {32, 64})


@pytest.mark.parametrize(("n", "r", "p"), [(2, 1, 64), (2**12, 256, 1), (2**17, 8, 1), (2**10, 8, 64)])
def test_scrypt_at_the_bounds_can_be_computed(n: int, r: int, p: int) -> None:
    key = hashlib.scrypt(PASSWORD.encode(), salt=SALT.encode(), n=n, r=r, p=p, maxmem=2**30, dklen=32)
    check = legacy_hashes.check(SCRYPT["Werkzeug"](n, r, p, key))

    assert check is not None
    assert check(PASSWORD.encode())
    assert legacy_hashes.check(SCRYPT["Werkzeug"](2, 2**19, 1, key)) is None, "OpenSSL needs more memory for it"


@given(
    kind=st.sampled_from([Type.I, Type.ID, Type.D]),
    passes=st.integers(1, 4),
    parallelism=st.integers(1, 9),
    blocks=st.integers(8, 100),
    salt=st.integers(8, 40),
    length=st.integers(4, 70),
)
def test_argon2_of_the_reference_implementation_is_accepted_exactly_if_it_verifies(
    kind: Type, passes: int, parallelism: int, blocks: int, salt: int, length: int
) -> None:
    stored = hash_secret(
        PASSWORD.encode(),
        b"s" * salt,
        time_cost=passes,
        memory_cost=blocks * parallelism,
        parallelism=parallelism,
        hash_len=length,
        type=kind,
    ).decode()

    assert is_accepted(stored) == (kind is not Type.D and 16 <= length <= 64 and len(stored) <= 127)
    assert is_accepted(f"argon2{stored}") == (kind is not Type.D and 16 <= length <= 64 and len(stored) <= 127)


ARGON2_END = "$7LLO4aTIABzxUf4/EEqW5Q$I+tzw3cc480nn3LYEDh6zT3sVBg0+PK1C/ihtoLv5mg"


@given(memory=st.integers(0, 40), passes=st.integers(0, 2), parallelism=st.integers(0, 6))
def test_argon2_with_parameters_out_of_range_is_rejected(memory: int, passes: int, parallelism: int) -> None:
    for kind in ("argon2i", "argon2id"):
        stored = f"${kind}$v=19$m={memory},t={passes},p={parallelism}{ARGON2_END}"
        assert (legacy_hashes.check(stored) is not None) == (
            passes >= 1 and parallelism >= 1 and memory >= 8 * parallelism
        )


@given(last=st.characters(codec="ascii", categories=["L", "N"], include_characters="./"))
def test_bcrypt_with_unused_bits_is_rejected(last: str) -> None:
    stored = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$nMxdnyaQxUvlY3oHLe4n/e").decode()
    for position in (28, 59):
        damaged = stored[:position] + last + stored[position + 1 :]
        check = legacy_hashes.check(damaged)
        # Where the bits are used, another salt or key belongs to another, unknown password: it can be computed.
        assert check is None or check(PASSWORD.encode()) == (damaged == stored)
    assert is_accepted(stored)


REJECTED = {
    FORM: [
        "pbkdf2:sha256:1000$salt$" + "0" * 30,
        "pbkdf2:sha256:01000$salt$" + "0" * 64,
        "pbkdf2:sha224:1000$salt$" + "0" * 56,
        "pbkdf2_sha256$1000$salt$" + "A" * 172,
        "$pbkdf2-sha256$1000$salt$" + "A" * 20,
        "scrypt:1024:8:1$salt$" + "0" * 48,
        f"$argon2id$v=19$m=01024,t=3,p=2{ARGON2_END}",
        f"$argon2id$v=16$m=1024,t=3,p=2{ARGON2_END}",
        "$argon2id$v=19$m=1024,t=3,p=2$c2hvcnQ$I+tzw3cc480nn3LYEDh6zT3sVBg0+PK1C/ihtoLv5mg",
        f"$argon2id$v=19$m=1024,t=3,p=2{ARGON2_END[:-1]}h",  # bits that the key does not have
        "$2b$04$" + "/" * 53,
    ],
    PARAMETERS: [
        "pbkdf2:sha256:0$salt$" + "0" * 64,
        "pbkdf2_sha1$0$salt$" + "A" * 27 + "=",
        "scrypt:3:8:1$salt$" + "0" * 128,
        "scrypt:0:0:0$salt$" + "0" * 128,
        "scrypt:1024:8:0$salt$" + "0" * 128,
        "scrypt$1$salt$8$1$" + "A" * 86 + "==",
        "scrypt:65536:1:1$salt$" + "0" * 128,
        "$scrypt$ln=0,r=8,p=1$pjQGoNTamxMCwBjDeM/Zew$vszEQmxbcg56CfR/4Mh3Hayv3mOnhT0ymsgPjo466kQ",
        "$scrypt$ln=10,r=0,p=1$pjQGoNTamxMCwBjDeM/Zew$vszEQmxbcg56CfR/4Mh3Hayv3mOnhT0ymsgPjo466kQ",
        f"$argon2id$v=19$m=0,t=0,p=0{ARGON2_END}",
        f"$argon2id$v=19$m=1024,t=0,p=2{ARGON2_END}",
        f"argon2$argon2id$v=19$m=15,t=1,p=2{ARGON2_END}",
        "$2b$00$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
        "$2b$03$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
    ],
    COST: [
        "$2b$14$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
        "$2b$99$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
        "pbkdf2:sha256:1500001$salt$" + "0" * 64,
        "pbkdf2:sha256:750001$salt$" + "0" * 128,  # two blocks of a key
        "pbkdf2:sha256:999999999999999999$salt$" + "0" * 64,
        "$scrypt$ln=99,r=8,p=1$pjQGoNTamxMCwBjDeM/Zew$vszEQmxbcg56CfR/4Mh3Hayv3mOnhT0ymsgPjo466kQ",
        "scrypt:131072:8:2$salt$" + "0" * 128,
        "scrypt:1024:8:65$salt$" + "0" * 128,
        f"$argon2id$v=19$m=131073,t=1,p=1{ARGON2_END}",
        f"$argon2id$v=19$m=131072,t=5,p=1{ARGON2_END}",
        f"$argon2id$v=19$m=1024,t=999999999,p=1{ARGON2_END}",
        f"$argon2id$v=19$m=1024,t=1,p=65{ARGON2_END}",
    ],
}


@pytest.mark.parametrize(("reason", "stored"), [(reason, stored) for reason in REJECTED for stored in REJECTED[reason]])
def test_a_rejected_hash_names_the_reason(reason: str, stored: str) -> None:
    with pytest.raises(HashRejected) as rejected:
        legacy_hashes.parse(stored)

    assert str(rejected.value) == reason


@given(data=st.data())
def test_no_number_in_a_hash_makes_a_check_fail(data: st.DataObject) -> None:
    # Whatever the numbers are, the hash is rejected, or the computation ends without an error.
    stored = data.draw(st.sampled_from(sorted(CHEAP.values())))
    parts = stored.split("$")
    position = data.draw(st.sampled_from([i for i, part in enumerate(parts) if any(map(str.isdigit, part))]))
    number = str(data.draw(st.one_of(st.integers(0, 20), st.integers(10**6, 10**20))))
    digits = [i for i, character in enumerate(parts[position]) if character.isdigit()]
    where = data.draw(st.sampled_from(digits))
    parts[position] = parts[position][:where] + number + parts[position][where + 1 :]
    check = legacy_hashes.check("$".join(parts))
    if check is not None and len(number) == 1:
        assert check(b"a wrong password") is False
