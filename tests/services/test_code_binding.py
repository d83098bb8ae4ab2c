"""Binding of one-time codes: what a code is valid for has one encoding."""

import itertools
import json
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from auth_service.models.outbox_message import EmailKind
from auth_service.services.credentials.one_time_codes import bind_code
from auth_service.services.email.addresses import Address

# Parts that an ambiguous encoding confuses: texts of digits, quotes and separators look like the adjacent parts.
HOSTILE = ("", "1", "1 1", " 1", "1,1", '1","1', "\\", "null", "None", "1:1", "[1]", "1|1")
NUMBERS = (None, 0, 1, 11)
SESSIONS = (None, uuid.UUID(int=0), uuid.UUID(int=1))
texts = st.sampled_from(HOSTILE) | st.text(max_size=20)
kinds = st.sampled_from(EmailKind)
numbers = st.sampled_from(NUMBERS) | st.integers(min_value=0, max_value=2**53)
sessions = st.sampled_from(SESSIONS) | st.uuids()


def bound(purpose: EmailKind, user_id: int | None, key: str, version: int | None, session_id: uuid.UUID | None) -> str:
    return bind_code(
        purpose=purpose,
        user_id=user_id,
        address=Address(stored="written@differently.example", key=key),
        credential_version=version,
        session_id=session_id,
    )


def test_cd4_no_two_bindings_share_their_bytes() -> None:
    bindings = list(itertools.product(EmailKind, NUMBERS, HOSTILE, NUMBERS, SESSIONS))

    assert len({bound(*parts).encode() for parts in bindings}) == len(bindings)


@given(parts=st.tuples(kinds, numbers, texts, numbers, sessions))
def test_cd4_every_part_can_be_decoded_from_a_binding(parts: tuple[Any, ...]) -> None:
    *others, session_id = parts

    read = json.loads(bound(*parts).encode())

    assert read == [*others, session_id and session_id.hex], "an encoding that can be decoded is unambiguous"
