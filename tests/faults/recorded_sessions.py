"""What a ledger says of sessions: which tokens each of them gave, and when a user was told of its end."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.faults.account_client import Member, Pair, has_expired, place_of, session_in, session_of
from tests.faults.client import Answer, AuditEntry, persist
from tests.faults.ledger import Ledger
from tests.faults.service import Service

NEVER = float("inf")
FOR_OTHERS = ("change_password", "end_others")
ENDING = ("sign_out", "replay", "recover", "leave", *FOR_OTHERS)


@dataclass(kw_only=True)
class Held:
    """What the ledger knows of one session."""

    email: str
    opened: AuditEntry
    pairs: list[Pair] = field(default_factory=list)
    asked_to_end: float = NEVER
    """When its end was first requested."""
    ended: float = NEVER
    """When an answer first said that it has ended."""


def sessions_of(ledger: Ledger) -> dict[str, Held]:
    """What the ledger knows of each session that a user was given."""
    held: dict[str, Held] = {}
    by_email: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(ledger.entries, key=lambda entry: entry.answered_at):
        pair = Pair.of(entry.answer)
        if pair is None:
            continue
        id_ = session_of(pair.access)
        if id_ not in held:
            held[id_] = Held(email=entry.email, opened=entry)
            by_email[entry.email].append(id_)
        held[id_].pairs.append(pair)
    for entry in ledger.entries:
        # A refused deletion was answered by an error.
        if entry.step not in ENDING or (entry.step == "leave" and not (entry.good or entry.uncertain)):
            continue
        for session in (held[id_] for id_ in _meant(entry, by_email[entry.email]) if id_ in held):
            if session.opened.at < entry.answered_at:
                session.asked_to_end = min(session.asked_to_end, entry.at)
                if _ended(entry, session):
                    session.ended = min(session.ended, entry.answered_at)
    return held


def _meant(entry: AuditEntry, sessions: list[str]) -> list[str | None]:
    """The sessions of the user that a request is to revoke."""
    own = session_in(entry)
    if entry.step in ("sign_out", "replay"):
        return [own]
    return [id_ for id_ in sessions if id_ != own or entry.step == "leave"]


def _ended(entry: AuditEntry, session: Held) -> bool:
    """Whether the answer says that the session has ended. It says so of those that were there when it was asked for."""
    if entry.step == "replay":
        return entry.answer is not None and entry.answer.status == 401
    if not entry.good:
        return False
    if entry.step == "leave" or session.opened.answered_at < entry.at:
        return True
    # Opened meanwhile, by a password that was replaced meanwhile: it must not outlive the change.
    return entry.chosen is not None and session.opened.step == "sign_in" and session.opened.credential != entry.chosen


def accepted(service: Service, held: dict[str, Held]) -> dict[str, tuple[bool, bool]]:
    """Of each session that nobody asked to end: whether its newest access and refresh tokens are accepted.

    Of an access token that has expired meanwhile, the one is asked for that it is refreshed to.
    """

    def bring(session: Held) -> tuple[bool, bool]:
        member = Member(service.port, session.email)
        newest = max(session.pairs, key=lambda pair: place_of(pair.refresh)[1])
        is_known = has_expired(newest.access) or _status(lambda: member.me(newest.access)) == 200
        refreshed = Pair.of(persist(lambda: member.refresh(newest.refresh)))
        if refreshed is None:
            return is_known, False
        return is_known and _status(lambda: member.me(refreshed.access)) == 200, True

    return _of_each({id_: session for id_, session in held.items() if session.asked_to_end == NEVER}, bring)


def refused(service: Service, held: dict[str, Held], *, gone: set[str]) -> dict[str, tuple[bool, bool]]:
    """Of each session whose end was acknowledged, or whose owner is gone: whether all of its tokens are refused.

    First those for access, then those to refresh with.
    """

    def bring(session: Held) -> tuple[bool, bool]:
        member = Member(service.port, session.email)
        access = [_status(lambda pair=pair: member.me(pair.access)) for pair in session.pairs]  # type: ignore[misc]
        tokens = {pair.refresh for pair in session.pairs}  # A repeated request gets the same token again.
        refresh = [_status(lambda token=token: member.refresh(token)) for token in tokens]  # type: ignore[misc]
        return {*access} == {401}, {*refresh} == {401}

    dead = {id_: session for id_, session in held.items() if session.ended < NEVER or session.email in gone}
    return _of_each(dead, bring)


def _of_each(which: dict[str, Held], bring: Callable[[Held], tuple[bool, bool]]) -> dict[str, tuple[bool, bool]]:
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(which, pool.map(bring, which.values()), strict=True))


def _status(request: Callable[[], Answer]) -> int:
    return persist(request).status
