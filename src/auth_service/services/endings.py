"""Endings: sessions end, each of them noted in the history, and in time their records go."""

import uuid
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from auth_service.models import Session, writing
from auth_service.models.event import SUCCESS, Kind
from auth_service.services.history import History, Origin

DAY = timedelta(days=1)


def end(
    *which: ColumnElement[bool],
    history: History,
    reason: str,
    origin: Origin,
    kind: str = Kind.SESSION_ENDED,
    outcome: str = SUCCESS,
) -> list[uuid.UUID]:
    """End the sessions that live and are meant, and note each, in one statement; returns which they were.

    Of many who end the same session at once, one does.
    """
    # An UPDATE alone takes its rows as they come, in an order that refreshes change: two that end all sessions of one
    # user could each wait for a row of the other. Locked in one order they cannot, and it is still one round trip. The
    # lock is the one that the UPDATE takes, which leaves those alone who only refer to a session.
    living = (
        select(Session.id)
        .where(*which, Session.ended_at.is_(None))
        .order_by(Session.id)
        .with_for_update(key_share=True)
        .cte("living")
    )
    ended = (
        update(Session)
        .where(Session.id == living.c.id)
        .values(ended_at=func.now(), end_reason=reason)
        .returning(Session.id, Session.user_id)
        .cte("ended")
    )
    return history.note_each(kind, ended, origin=origin, outcome=outcome, reason=reason)


def forget_ended(*, older_than: timedelta, at_most: int) -> int:
    """Delete some records of sessions that ended or ran out long ago; returns how many.

    Never those of the last day, by which somebody who has just registered is known to have signed in before.
    """
    long_ago = func.now() - max(older_than, DAY)
    old = or_(
        Session.ended_at < long_ago,
        # Those that nobody refreshed any more have not ended, but this day comes for them, too.
        and_(Session.ended_at.is_(None), Session.expires_at < long_ago),
    )
    some = select(Session.id).where(old).limit(at_most).with_for_update(skip_locked=True).cte("some")
    return len(writing().execute(delete(Session).where(Session.id == some.c.id).returning(Session.id)).all())
