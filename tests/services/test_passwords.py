"""Password verification: Unicode normalisation, legacy hashes, and rehashing of outdated hashes."""

from datetime import timedelta

import pytest

from auth_service.adapters.crypto.password_hasher import PasswordHasher, PasswordMatch
from auth_service.errors import ValidationFailed
from auth_service.services.credentials.passwords import Passwords

FULL_WIDTH = "ｃｏｒｒｅｃｔ　ｈｏｒｓｅ　ｂａｔｔｅｒｙ"
"""The usual password as a Japanese keyboard types it."""
OF_WERKZEUG = "pbkdf2:sha256:1000$cpdiSTDakZMadwo0$9fd1ce76ef88c7fc5540782b5d4800077b3173d36d2734e513b94b4ec4c43b49"


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    """Passwords as the application constructs them, with time for slow machines."""
    hasher = PasswordHasher(concurrent=2, patience=timedelta(seconds=60))
    return Passwords(hasher=hasher, min_length=8, service_name="Portal")


def test_pw4_passwords_are_equal_after_unicode_normalisation(passwords: Passwords) -> None:
    password_hash = passwords.check_and_hash(FULL_WIDTH, email="ada@example.org")

    assert passwords.verify("correct horse battery", password_hash).matches
    assert passwords.verify(FULL_WIDTH, password_hash).matches
    assert not passwords.verify(FULL_WIDTH.upper(), password_hash).matches


def test_pw11_no_password_matches_an_account_without_a_hash(passwords: Passwords) -> None:
    assert not passwords.verify("correct horse battery", None).matches
    assert passwords.verify("", None) == PasswordMatch(matches=False, outdated=False)


def test_pw5_imported_users_get_a_new_hash_at_the_first_sign_in(passwords: Passwords) -> None:
    typed = "ﬁsh ①②③④"  # the previous system did not normalise it

    assert passwords.verify(typed, OF_WERKZEUG) == PasswordMatch(matches=True, outdated=True)
    renewed = passwords.hash(typed)

    assert passwords.verify(typed, renewed) == PasswordMatch(matches=True, outdated=False)
    assert passwords.verify("fish 1234", renewed).matches


def test_an_existing_password_is_rehashed_although_the_password_policy_rejects_it(passwords: Passwords) -> None:
    with pytest.raises(ValidationFailed):
        passwords.check_and_hash("qwerty", email="ada@example.org")

    assert passwords.verify("qwerty", passwords.hash("qwerty")).matches
