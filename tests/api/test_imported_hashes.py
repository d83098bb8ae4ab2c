"""Timing side channel of imported users: a failed sign-in costs the work of an unknown address (EN2, ASVS 6.3.8)."""

import json
from dataclasses import dataclass

import nacl.pwhash
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.cli.users import users
from tests.support import round_trips, transactions
from tests.support.actors import ApiClient, refusal
from tests.support.legacy_hashes import CHEAP

UNKNOWN = "unknown@example.org"
MUCH_CHEAPER = [form for form in CHEAP if form != "Django 5.2 scrypt"]
"""Legacy hashes that cost far less than ours, however busy the machine is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The work of one request."""

    hashes: int
    """Argon2id calls of the service."""
    redis: int
    postgres: int
    """Round trips."""
    commits: int


@pytest.fixture
def argon2_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The memory of each Argon2id call of the service, in KiB."""
    memory: list[int] = []
    kdf = nacl.pwhash.argon2id.kdf

    def counted_kdf(size: int, password: bytes, salt: bytes, *, opslimit: int, memlimit: int) -> bytes:
        memory.append(memlimit // 1024)
        return kdf(size, password, salt, opslimit=opslimit, memlimit=memlimit)

    monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", counted_kdf)
    return memory


@pytest.fixture
def imported(app: Flask) -> dict[str, str]:
    """The addresses of imported users, one for each form of a cheap legacy hash."""
    emails = {form: f"user{number}@example.org" for number, form in enumerate(MUCH_CHEAPER)}
    lines = (
        json.dumps({"email": email, "verified": True, "password_hash": CHEAP[form]}) for form, email in emails.items()
    )
    assert app.test_cli_runner().invoke(users, ["import", "-"], input="\n".join(lines)).exit_code == 0
    return emails


def test_en2_a_failed_sign_in_of_an_imported_user_costs_the_work_of_an_unknown_address(
    app: Flask, imported: dict[str, str], argon2_memory: list[int]
) -> None:
    def measure(email: str) -> tuple[Work, TestResponse]:
        api = ApiClient(app, address="198.51.100.9")
        argon2_memory.clear()
        with round_trips.of_this_thread() as trips, transactions.committed(app) as committed:
            response = api.sign_in(email, "a wrong password")
        work = Work(
            hashes=len(argon2_memory),
            redis=trips.redis,
            postgres=trips.postgres - committed.added,
            commits=len(committed.ids),
        )
        return work, response

    for _ in range(3):
        measure("warm@example.org")  # connects, prepares the statements and loads the scripts
    unknown, of_unknown = measure(UNKNOWN)
    assert argon2_memory == [19456]
    for form, email in imported.items():
        work, of_imported = measure(email)
        assert work == unknown, form
        assert 0 < argon2_memory[0] <= 19456, form
        assert (of_imported.status_code, refusal(of_imported)) == (of_unknown.status_code, refusal(of_unknown)), form
