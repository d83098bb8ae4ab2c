"""Cost of legacy hashes: a wrong password costs as much as one for an unknown address (PW8, ASVS 6.3.8)."""

from datetime import timedelta
from typing import Any

import nacl.pwhash
import pytest

from auth_service.adapters.crypto.password_hasher import PasswordHasher, PasswordMatch

PASSWORD = "correct horse battery"
WRONG = PasswordMatch(matches=False, outdated=False)
OUTDATED = PasswordMatch(matches=True, outdated=True)
OF_DJANGO = "pbkdf2_sha256$1000$uUc1LAqyJX47QsGope8axg$cfLTciCMXxXNb8F8gbqugnewcJ9VfbKiaUGFtJN8p9A="


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The parameters of each Argon2id call of libsodium."""
    recorded: list[dict[str, Any]] = []
    kdf = nacl.pwhash.argon2id.kdf

    def recording_kdf(size: int, password: bytes, salt: bytes, **costs: Any) -> bytes:
        recorded.append({"size": size, "salt": len(salt), **costs})
        return kdf(size, password, salt, **costs)

    monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", recording_kdf)
    return recorded


@pytest.mark.parametrize(("spent", "memory"), [(0.0, 19456), (0.25, 14592), (0.5, 9728), (0.999, 19), (1.0, None)])
def test_pw8_a_wrong_password_costs_a_legacy_hash_and_a_dummy_hash_for_the_rest(
    calls: list[dict[str, Any]], spent: float, memory: int | None
) -> None:
    used = iter([0.0, 0.03125, 1.0, 1.0 + 0.03125 * spent])  # before and after our hash, then the legacy hash
    hasher = PasswordHasher(concurrent=1, patience=timedelta(seconds=60), cpu_time=lambda: next(used))

    assert hasher.verify(PASSWORD, None) == WRONG
    assert hasher.verify(PASSWORD + "!", OF_DJANGO) == WRONG

    ours, *rest = calls
    assert rest == ([] if memory is None else [ours | {"memlimit": memory * 1024}])


def test_pw8_the_first_legacy_hash_of_a_process_costs_a_whole_dummy_hash(calls: list[dict[str, Any]]) -> None:
    hasher = PasswordHasher(concurrent=1, patience=timedelta(seconds=60))

    assert hasher.verify(PASSWORD + "!", OF_DJANGO) == WRONG
    assert calls == [{"size": 32, "salt": 16, "opslimit": 2, "memlimit": 19456 * 1024}]
    calls.clear()
    assert hasher.verify(PASSWORD, OF_DJANGO) == OUTDATED
    assert calls == [], "a right password is told by its answer"
