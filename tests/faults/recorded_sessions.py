"""Sessions in the ledger: the tokens of each session, and when its revocation was acknowledged."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.faults.account_client import (
    AccountClient,
    TokenPair,
    has_expired,
    position_of,
    session_id_of,
    session_of_request,
)
from tests.faults.client import RecordedRequest, Response, retry_unavailable
from tests.faults.ledger import Ledger
from tests.faults.service import Service

NEVER = float("inf")
REVOKES_OTHERS = ("change_password", "revoke_other_sessions")
REVOKES = ("sign_out", "replay", "reset_password", "delete_account", *REVOKES_OTHERS)


@dataclass(kw_only=True)
class RecordedSession:
    """The data of one session in the ledger."""

    email: str
    opened: RecordedRequest
    pairs: list[TokenPair] = field(default_factory=list)
    revocation_requested: float = NEVER
    """When its revocation was first requested."""
    revoked: float = NEVER
    """When a response first acknowledged its revocation."""


def recorded_sessions_of(ledger: Ledger) -> dict[str, RecordedSession]:
    """The sessions in the ledger, by their ids."""
    sessions: dict[str, RecordedSession] = {}
    ids_by_email: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(ledger.entries, key=lambda entry: entry.answered_at):
        pair = TokenPair.of(entry.response)
        if pair is None:
            continue
        id_ = session_id_of(pair.access)
        if id_ not in sessions:
            sessions[id_] = RecordedSession(email=entry.email, opened=entry)
            ids_by_email[entry.email].append(id_)
        sessions[id_].pairs.append(pair)
    for entry in ledger.entries:
        # An error shows that the deletion had no effect.
        if entry.step not in REVOKES or (
            entry.step == "delete_account" and not (entry.acknowledged or entry.uncertain)
        ):
            continue
        ids = _sessions_to_revoke(entry, ids_by_email[entry.email])
        for session in (sessions[id_] for id_ in ids if id_ in sessions):
            if session.opened.at < entry.answered_at:
                session.revocation_requested = min(session.revocation_requested, entry.at)
                if _acknowledges_revocation(entry, session):
                    session.revoked = min(session.revoked, entry.answered_at)
    return sessions


def _sessions_to_revoke(entry: RecordedRequest, ids: list[str]) -> list[str | None]:
    """The ids of the sessions that a request revokes."""
    own = session_of_request(entry)
    if entry.step in ("sign_out", "replay"):
        return [own]
    return [id_ for id_ in ids if id_ != own or entry.step == "delete_account"]


def _acknowledges_revocation(entry: RecordedRequest, session: RecordedSession) -> bool:
    """Whether the response acknowledges the revocation; it applies to sessions opened before the request."""
    if entry.step == "replay":
        return entry.response is not None and entry.response.status == 401
    if not entry.acknowledged:
        return False
    if entry.step == "delete_account" or session.opened.answered_at < entry.at:
        return True
    # A session opened during the request with the replaced password must not outlive the change.
    return (
        entry.new_password is not None
        and session.opened.step == "sign_in"
        and session.opened.credential != entry.new_password
    )


def accepted_tokens(service: Service, sessions: dict[str, RecordedSession]) -> dict[str, tuple[bool, bool]]:
    """For each session without a revocation request: whether its newest access and refresh tokens are accepted.

    An expired access token is replaced by refreshing, and the new one is checked.
    """

    def check(session: RecordedSession) -> tuple[bool, bool]:
        client = AccountClient(service.port, session.email)
        newest = max(session.pairs, key=lambda pair: position_of(pair.refresh)[1])
        access_accepted = has_expired(newest.access) or _status(lambda: client.me(newest.access)) == 200
        refreshed = TokenPair.of(retry_unavailable(lambda: client.refresh(newest.refresh)))
        if refreshed is None:
            return access_accepted, False
        return access_accepted and _status(lambda: client.me(refreshed.access)) == 200, True

    unrevoked = {id_: session for id_, session in sessions.items() if session.revocation_requested == NEVER}
    return _for_each(unrevoked, check)


def rejected_tokens(
    service: Service, sessions: dict[str, RecordedSession], *, deleted: set[str]
) -> dict[str, tuple[bool, bool]]:
    """For each session that was revoked or belongs to a deleted user: whether all its tokens are rejected.

    The first value is for access tokens, the second for refresh tokens.
    """

    def check(session: RecordedSession) -> tuple[bool, bool]:
        client = AccountClient(service.port, session.email)
        access = [_status(lambda pair=pair: client.me(pair.access)) for pair in session.pairs]  # type: ignore[misc]
        tokens = {pair.refresh for pair in session.pairs}  # A repeated request returns the same token.
        refresh = [_status(lambda token=token: client.refresh(token)) for token in tokens]  # type: ignore[misc]
        return {*access} == {401}, {*refresh} == {401}

    revoked = {id_: session for id_, session in sessions.items() if session.revoked < NEVER or session.email in deleted}
    return _for_each(revoked, check)


def _for_each(
    sessions: dict[str, RecordedSession], check: Callable[[RecordedSession], tuple[bool, bool]]
) -> dict[str, tuple[bool, bool]]:
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(sessions, pool.map(check, sessions.values()), strict=True))


def _status(request: Callable[[], Response]) -> int:
    return retry_unavailable(request).status
