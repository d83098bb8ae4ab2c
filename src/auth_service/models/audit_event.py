"""Audit events: the append-only audit log of security events (table `events`)."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base
from auth_service.described_enum import DescribedEnum

SUCCESS, FAILURE = "success", "failure"


class EventType(DescribedEnum):
    """The types of audit events.

    No constraint of the table lists them: during a rolling update two releases may know different ones.
    """

    REGISTERED = (
        "registered",
        "The user confirmed the address and finished the registration; `method` `import`: in another system.",
    )
    SIGNED_IN = "signed_in", "A session was opened; `method` says how."
    REAUTHENTICATED = (
        "reauthenticated",
        "A signed-in user authenticated again; a new session replaced the old one. `method` says how.",
    )
    SIGN_IN_REFUSED = (
        "sign_in_refused",
        "A sign-in failed; `method` says how it was tried. `refusal` is `account_banned` if only a ban prevented it.",
    )
    SIGNED_OUT = "signed_out", "The user signed out of this session."
    SESSION_ENDED = "session_ended", "A session was revoked; `reason` says why."
    REFRESH_REUSED = "refresh_reused", "A used refresh token was used again (replay); its session was revoked."
    PASSWORD_REFUSED = "password_refused", "A signed-in client sent a wrong password; `purpose` says what for."
    CODE_REFUSED = (
        "code_refused",
        "A signed-in client, or one with the first factor, sent a wrong or expired code; `purpose` says what for.",
    )
    PASSKEY_REFUSED = (
        "passkey_refused",
        "A signed-in client sent a passkey that was not accepted; `purpose` says what for.",
    )
    PASSKEY_ADDED = "passkey_added", "A passkey was added to the account."
    PASSKEY_RENAMED = "passkey_renamed", "A passkey got another name."
    PASSKEY_REMOVED = "passkey_removed", "A passkey was removed from the account."
    PASSKEY_CLONED = (
        "passkey_cloned",
        "A device-bound passkey was not accepted, because its signature counter did not grow: there is a copy of it.",
    )
    PASSWORD_CHANGED = "password_changed", "The password was changed with the current password."
    PASSWORD_RECOVERED = "password_recovered", "The password was reset with an emailed code."
    RECOVERY_REFUSED = "recovery_refused", "A password reset failed because of a wrong or expired code."
    EMAIL_CHANGE_ASKED = (
        "email_change_asked",
        "A change of the address was requested; a code was sent to the new address.",
    )
    EMAIL_CHANGED = "email_changed", "The address of the account was changed."
    EMAIL_CHANGED_UNDONE = (
        "email_changed_undone",
        "A change of the address was reverted with the link of the security notification.",
    )
    NEW_DEVICE_UNDONE = (
        "new_device_undone",
        "A sign-in was reverted with the link of the security notification about a new device.",
    )
    LANGUAGE_CHANGED = "language_changed", "The language of emails was changed."
    DATA_EXPORTED = "data_exported", "The data of the account was exported."
    ACCOUNT_DELETED = (
        "account_deleted",
        "The account was deleted; its audit events stay without user, address and device.",
    )
    ROLE_CREATED = "role.created", "A role was created."
    ROLE_CHANGED = "role.changed", "The description or the permissions of a role were changed."
    ROLE_DELETED = "role.deleted", "A role was deleted."
    ROLE_GRANTED = "role.granted", "A role was granted to the user; `role` names it."
    ROLE_WITHDRAWN = "role.withdrawn", "A role was revoked from the user; `role` names it."
    MAIL_RETRIED = "mail.retried", "A waiting email was made due at once."
    USER_BANNED = (
        "user.banned",
        "The user was banned, or the end or the reason of the ban was changed; `reason` says why.",
    )
    USER_UNBANNED = "user.unbanned", "The ban of the user was lifted."
    PASSWORD_RESET_FORCED = (
        "password.reset_forced",
        "An administrator removed the password; the user sets a new one with an emailed code.",
    )
    INVITATION_CREATED = "invitation.created", "A person was invited by email; `changes` names the roles."
    INVITATION_RESENT = "invitation.resent", "An invitation was sent again with a new link; the earlier link ended."
    INVITATION_REVOKED = "invitation.revoked", "An invitation was revoked."
    INVITATION_ACCEPTED = (
        "invitation.accepted",
        "The user registered with an invitation; `changes` names the roles, also those that were not granted.",
    )
    SECOND_FACTOR_ENABLED = "second_factor.enabled", "TOTP was enabled; all other sessions were revoked."
    SECOND_FACTOR_DISABLED = "second_factor.disabled", "TOTP was disabled."
    RECOVERY_CODES_REPLACED = "second_factor.recovery_codes_replaced", "The recovery codes were replaced by new ones."
    RECOVERY_CODE_USED = "second_factor.recovery_code_used", "A recovery code was used; `left` says how many are left."
    SECOND_FACTOR_REFUSED = (
        "second_factor.refused",
        "A code of the second factor was wrong, used or delayed; `method` and `purpose` say which and what for.",
    )
    SECOND_FACTOR_RESET_ASKED = (
        "second_factor.reset_asked",
        "A client with the first factor and an emailed code requested the removal of the second factors.",
    )
    SECOND_FACTOR_RESET_CANCELLED = (
        "second_factor.reset_cancelled",
        "A requested removal of the second factors was cancelled, by a second factor or by the link of an email.",
    )
    SECOND_FACTOR_RESET = (
        "second_factor.reset",
        "The second factors were removed for a user who had lost them; all sessions were revoked.",
    )
    ACCESS_DENIED = (
        "access_denied",
        "A signed-in client or a service was denied access; `refusal` is the error code.",
    )
    AUDIT_EXPORTED = "audit.exported", "Audit events were exported."


CHANGED_FIELDS: Mapping[EventType, frozenset[str]] = {
    EventType.ROLE_CREATED: frozenset({"description", "permissions"}),
    EventType.ROLE_CHANGED: frozenset({"description", "permissions"}),
    EventType.ROLE_DELETED: frozenset({"description", "permissions"}),
    EventType.ROLE_GRANTED: frozenset({"role"}),
    EventType.ROLE_WITHDRAWN: frozenset({"role"}),
    EventType.USER_BANNED: frozenset({"banned", "until"}),
    EventType.USER_UNBANNED: frozenset({"banned", "until"}),
    EventType.INVITATION_CREATED: frozenset({"state", "roles"}),
    EventType.INVITATION_RESENT: frozenset({"state"}),
    EventType.INVITATION_REVOKED: frozenset({"state"}),
    EventType.INVITATION_ACCEPTED: frozenset({"state", "roles", "refused_roles"}),
}
"""The fields whose values before and after are recorded, for each event type that changes something.

Never a secret, a code, an email address, or text that a user wrote about another one.
"""


class Event(Base):
    """An audit event: user, type, time, IP address, device and outcome.

    The table is partitioned by month, so that old events are dropped with their partition instead of row by row. It has
    no foreign key to users: the events of a deleted user stay, without the user. The database role of the service can
    add events but not change them, and the database sets their time.
    """

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("outcome IN ('success', 'failure')", name="outcome_known"),
        CheckConstraint("char_length(device) <= 256", name="device_length"),
        Index("ix_events_user_id_id", "user_id", "id"),
        # Unknown users are 0, so that the failures of known and unknown users are counted with the same plan.
        Index("ix_events_failures", text("coalesce(user_id, 0)"), "at", postgresql_where=text("outcome = 'failure'")),
        # For searches of auditors. A type and an outcome are two ranges of one index, both in the order of time.
        Index("ix_events_at_id", "at", "id"),
        Index("ix_events_kind_outcome_at_id", "kind", "outcome", "at", "id"),
        Index("ix_events_failed_at_id", "at", "id", postgresql_where=text("outcome = 'failure'")),
        Index("ix_events_actor", "actor_type", "actor_id", "id", postgresql_where=text("actor_id IS NOT NULL")),
        Index("ix_events_target", "target_type", "target_id", "id", postgresql_where=text("target_id IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True, server_default=func.now())
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    """One of `EventType`."""
    outcome: Mapped[str] = mapped_column(Text)
    session_id: Mapped[uuid.UUID | None]
    address: Mapped[str | None] = mapped_column(INET)
    device: Mapped[str] = mapped_column(Text, default="")
    actor_type: Mapped[str | None] = mapped_column(Text)
    """`user`, `service` or `system`: who acted. Null: the user of the event, or an anonymous client."""
    actor_id: Mapped[str | None] = mapped_column(Text)
    target_type: Mapped[str | None] = mapped_column(Text)
    """What the event is about, if it is not the user of the event: `role`, `endpoint`, `invitation`, `email`."""
    target_id: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    """The `X-Request-Id` of the request; null for commands, and for events of the release before this column."""
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)


FAILURE_SLOTS = 1024


class FailureSlot(Base):
    """A row that is overwritten instead of adding an event, for a failed attempt beyond the cap of the audit log.

    The time of an answer would otherwise reveal whether an event was added, and so whether the address has an account:
    the cap of a known address is its own, and all unknown addresses share one (timing side channel). A row has as many
    indexes as an event, and says nothing about the attempt.
    """

    __tablename__ = "failure_slots"
    __table_args__ = (
        CheckConstraint(f"slot BETWEEN 0 AND {FAILURE_SLOTS - 1}", name="slot_bounded"),
        Index("ix_failure_slots_number_changed_at", "number", "changed_at"),
        Index("ix_failure_slots_number_slot", "number", "slot"),
        Index("ix_failure_slots_changed_at_slot", "changed_at", "slot"),
        Index("ix_failure_slots_changed_at_number", "changed_at", "number"),
        Index("ix_failure_slots_slot_changed_at_number", "slot", "changed_at", "number"),
    )

    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    number: Mapped[int] = mapped_column(BigInteger)
    """Random, so that each change writes to all indexes, at other places."""
    filling: Mapped[str] = mapped_column(Text)
    """As many bytes as the event would have had."""
