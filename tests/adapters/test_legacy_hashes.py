"""Legacy password hashes: hashes of the libraries of other systems verify, malformed and costly ones do not."""

import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auth_service.adapters.crypto import legacy_hashes
from tests.support.legacy_hashes import CHEAP, PASSWORD

LONG = "Pässword-" * 9 + "tail"
"""94 bytes, of which bcrypt hashes 72."""


# The same password with the default cost of each library.
DEFAULTS = {
    "Werkzeug 3.1": (
        "scrypt:32768:8:1$LcMaCSpl1JkAC13j$d9a130dbebfb266cd1261f3331bfa648b9243a02be92738ccda6ec3e3865ce350d1786"
        "029339b2d2af9b681a671231835ba23cc0a1dd212afed387c76b9f712a"
    ),
    "Werkzeug 3.1 pbkdf2": (
        "pbkdf2:sha256:1000000$alNx6IImHua7WzGw$11399861dd5fa593fe6b55f26dba7b039a4512d9ec5841ba5d4f6f82ee2ceb2d"
    ),
    "Django 5.2": "pbkdf2_sha256$1000000$lvFfxwuLhhJtFVBPtetw3Q$84mL4sSBhbBowBF3HMaJhA14gcqpApBFnyfP3FVb6bs=",
    "Django 5.2 argon2": (
        "argon2$argon2id$v=19$m=102400,t=2,p=8$TTVsY3l1U0VEUXRUUDFrYjdFTnNaSQ$c5uzqX8aLrBd2f7V9jcTKbigZ8CFvTqXLXM"
        "aWkrhbpo"
    ),
    "Django 5.2 scrypt": (
        "scrypt$16384$OY2dptZZyxwQfVU1dstRBq$8$5$+KTv/wGtMcVoZ5zX6Ohraid2sxBgnHlRDxCSpSdWHq0zyTUdFYsK0blWFjNCI1+n"
        "pzUW6ZaxHrr9DQ7QILjc8Q=="
    ),
    "passlib 1.7 pbkdf2_sha256": (
        "$pbkdf2-sha256$29000$BkDofQ/BuHeudU6JsXauFQ$HVHWqEOX4fF8yeCkZHgcyD8SxBH3IyxLk94gI87VY/M"
    ),
    "passlib 1.7 scrypt": "$scrypt$ln=16,r=8,p=1$6h1DKGWs9X6vVeq99z5HyA$wyw89hEO3+BFh0B9uBqBn6Sx7Zz7zDOexzR5BzOWMYc",
    "bcrypt 4.0": "$2b$12$MZYVYKHTwQ.PHh1e1pq/puxkEKtb28L0nxx4/eYiDm1uEofD5Tkwm",
    "argon2-cffi 25.1": (
        "$argon2id$v=19$m=65536,t=3,p=4$7LLO4aTIABzxUf4/EEqW5Q$I+tzw3cc480nn3LYEDh6zT3sVBg0+PK1C/ihtoLv5mg"
    ),
}

# Of the long password, by systems that hash all of it before bcrypt.
LONG_PASSWORDS = {
    "Werkzeug 3.1": (
        "pbkdf2:sha256:1000$hkmiywbj064tdIFI$04091547a60afa391a6b6ed985cc07774988c0be1b707ceb2bf2465fa8445649"
    ),
    "Django 5.2": "bcrypt_sha256$$2b$04$mJhjynA0Ldt4d2Qu.CAEQedjj/dzCtnV/0BAhbEeN3Q.GnrXSOoma",
    "passlib 1.7": "$bcrypt-sha256$v=2,t=2b,r=4$aMU7JVm8lc4uuWfhBMFNIe$2hMITjoXwy/Nn1q.LDaQWr01ywn0gAC",
}

# Of the long password, by systems in which bcrypt truncates it.
CUT_PASSWORDS = {
    "bcrypt 4.0": "$2b$04$UxBIloC65wPHYQGHcrxlsesWYuaKWof.83Q3vdSNeuUIcxppSP2N6",
    "Django 5.2": "bcrypt$$2b$04$hS1XYCCHu6I.R8kCJCjdiOoWZaVQVG2X8vAGsYC.Zt/agb9o9dRYi",
}

MALFORMED = [
    "",
    "!",
    "!BM0AvfP0qYDl0sEfmD6z0CP5n1x99hiZqsSRofmQ",  # Django stores this for users without a password
    "correct horse battery",
    "c8e0fb2fbcb4d1a4d0f9e6d3d4f7ac3c",
    "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
    "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
    "$2b$04$",
    "$2x$04$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
    "$2b$04$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP8",
    "$2b$04$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86\n",
    "$2b$０4$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
    "pbkdf2:sha256:1000$salt$",
    "pbkdf2:sha256:1000$salt$00",
    "pbkdf2:sha256:0$salt$" + "0" * 64,
    "pbkdf2:md5:1000$salt$" + "0" * 32,
    "pbkdf2_sha256$1000$salt$",
    "pbkdf2_sha256$1000$salt$" + "A" * 41,
    "$pbkdf2-sha256$1000$8Z5z7r0X4hwjBCBEiJGyV$gIiHRMCRiVOliS0dfYM6zRmSojXt0UWMfq64lvEwza",
    "scrypt:1000:8:1$salt$" + "0" * 128,
    "scrypt:1:8:1$salt$" + "0" * 128,
    "scrypt:1024:0:1$salt$" + "0" * 128,
    "scrypt:1024:8:0$salt$" + "0" * 128,
    "scrypt:1024:8:1$salt$" + "0" * 40,
    "$scrypt$ln=10,r=8,p=1$pjQGoNTamxMCwBjDeM/Zew$vszEQmxbcg56CfR/4Mh3Hayv3mO",  # valid, but truncated
    "scrypt:65536:1:1$salt$" + "0" * 128,
    "$2b$04$" + "/" * 53,
    "$argon2d$v=19$m=1024,t=3,p=2$oOSAKhIJX3xW5pb+BEx/eQ$UNHQ35gTkAv/sJPjRhh2AsGFh/aPYdQCDilYcs/1umk",
    "pbkdf2:sha256:1000$" + "s" * 500 + "$" + "0" * 64,
]

TOO_MUCH = [
    "$2b$14$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
    "$2b$15$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
    "$2b$31$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
    "$bcrypt-sha256$v=2,t=2b,r=31$fcNINRPYUrxfb/nde0GOne$sclchY2YnsX/ugq0YDHAwrTXCbdz2Ge",
    "pbkdf2:sha256:100000000$salt$" + "0" * 64,
    (
        "$pbkdf2-sha512$1000001$wZgTwrgXopRyDiHk/L/XWg$vtCbZMkZN1AV/D5wJJtdN7nPoVQJoJQp.fZwykODYKxhI9P2zDzjS5k8VT"
        "tNNgeRoiRpDJJ3/c4EFjsmja1qqg"
    ),
    "scrypt:262144:8:1$salt$" + "0" * 128,
    "scrypt:131072:8:3$salt$" + "0" * 128,
    "scrypt:2:1:1048576$salt$" + "0" * 128,
    "$scrypt$ln=60,r=8,p=1$pjQGoNTamxMCwBjDeM/Zew$vszEQmxbcg56CfR/4Mh3Hayv3mOnhT0ymsgPjo466kQ",
    "$argon2id$v=19$m=262144,t=1,p=4$7LLO4aTIABzxUf4/EEqW5Q$I+tzw3cc480nn3LYEDh6zT3sVBg0+PK1C/ihtoLv5mg",
    "$argon2id$v=19$m=1024,t=3,p=2$6B0jpPT+X+vd+3/P2ZuTMg$" + "A" * 100,
    "$argon2id$v=19$m=2097152,t=1,p=4$7LLO4aTIABzxUf4/EEqW5Q$I+tzw3cc480nn3LYEDh6zT3sVBg0+PK1C/ihtoLv5mg",
    "$argon2id$v=19$m=65536,t=17,p=4$7LLO4aTIABzxUf4/EEqW5Q$I+tzw3cc480nn3LYEDh6zT3sVBg0+PK1C/ihtoLv5mg",
    "$argon2id$v=19$m=65536,t=3,p=16777215$7LLO4aTIABzxUf4/EEqW5Q$I+tzw3cc480nn3LYEDh6zT3sVBg0+PK1C/ihtoLv5mg",
]


def matches(stored: str, password: str) -> bool:
    """Whether a hash has a supported form and verifies this password."""
    check = legacy_hashes.check(stored)
    return check is not None and check(password.encode())


@pytest.mark.parametrize("system", CHEAP)
def test_a_password_matches_the_hash_of_each_library(system: str) -> None:
    stored = CHEAP[system]

    assert matches(stored, PASSWORD)
    for wrong in (PASSWORD + "!", PASSWORD[:-1], PASSWORD.upper(), "", stored):
        assert not matches(stored, wrong), wrong


@pytest.mark.parametrize("system", DEFAULTS)
def test_the_cost_limits_allow_the_default_costs_of_libraries(system: str) -> None:
    assert matches(DEFAULTS[system], PASSWORD)
    assert not matches(DEFAULTS[system], PASSWORD + "!")


@pytest.mark.parametrize("system", LONG_PASSWORDS)
def test_long_passwords_are_compared_whole_if_the_system_hashed_them_before_bcrypt(system: str) -> None:
    assert matches(LONG_PASSWORDS[system], LONG)
    assert not matches(LONG_PASSWORDS[system], LONG[:-1])


@pytest.mark.parametrize("system", CUT_PASSWORDS)
def test_bcrypt_compares_the_first_72_bytes(system: str) -> None:
    stored = CUT_PASSWORDS[system]
    hashed_bytes = LONG.encode()[:72]

    assert matches(stored, LONG)
    assert matches(stored, LONG + " and more")
    check = legacy_hashes.check(stored)
    assert check is not None
    assert check(hashed_bytes)
    assert not check(hashed_bytes[:-1])


@pytest.mark.parametrize("stored", MALFORMED)
def test_malformed_hashes_match_nothing(stored: str) -> None:
    for password in (PASSWORD, "", stored):
        assert not matches(stored, password)


@pytest.mark.parametrize("stored", TOO_MUCH)
def test_hashes_with_excessive_costs_are_rejected_without_computing_them(stored: str) -> None:
    began = time.thread_time()

    with pytest.raises(legacy_hashes.HashRejected):
        legacy_hashes.parse(stored)
    assert time.thread_time() - began < 0.05


@given(stored=st.text(max_size=600), password=st.text(max_size=200))
@settings(deadline=None)
def test_no_string_raises_an_exception(stored: str, password: str) -> None:
    assert not matches(stored, password)


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_no_damaged_hash_raises_an_exception(data: st.DataObject) -> None:
    stored = data.draw(st.sampled_from(sorted(CHEAP.values())))
    place = data.draw(st.integers(0, len(stored)))
    length = data.draw(st.integers(0, 3))
    instead = data.draw(st.text("09az./+=$:,-!é\0 ", max_size=3))
    damaged = stored[:place] + instead + stored[place + length :]
    # Costs that are allowed but take a second would make this test slow.
    assume(not re.search(r"\$1[0-9]\$|r=1[0-9]\$|[0-9]{7}", damaged))

    check = legacy_hashes.check(damaged)

    assert check is None or check(PASSWORD.encode()) in {True, False}
