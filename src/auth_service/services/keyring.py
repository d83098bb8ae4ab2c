"""The keyring: signing keys in PostgreSQL, sealed, rotated without a refused token."""

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import delete, func, insert, select, update

from auth_service import clock
from auth_service.adapters import access_tokens
from auth_service.adapters.access_tokens import KeyRing
from auth_service.adapters.crypto import Sealer
from auth_service.errors import DatabaseAway
from auth_service.models import SigningKey, reading, unit_of_work, writing
from auth_service.models.signing_key import CURRENT, NEXT, PREVIOUS

log = logging.getLogger(__name__)

FRESH = timedelta(seconds=5)
"""How long a process may go on with the keys that it has read. A rotation is known everywhere after this."""

ASK_AGAIN = timedelta(seconds=1)
"""How often, at most, an unknown key id makes us look whether there are new keys."""

KEYS_LOCK = 7_251_903_360_117_230


@dataclass(kw_only=True)
class _Held:
    """What this process knows of the keys."""

    ring: KeyRing | None = None
    read_at: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """Gives the keys of the moment, and rotates them."""

    sealer: Sealer
    token_lifetime: timedelta
    _held: _Held = field(default_factory=_Held, repr=False)

    def now(self) -> KeyRing:
        """The keys, at most FRESH old; older ones while the database is away, since tokens need none to be checked."""
        held = self._held
        if held.ring is not None and clock.monotonic() - held.read_at < FRESH.total_seconds():
            return held.ring
        return self._read_again()

    def knowing(self, kid: str) -> KeyRing:
        """The keys, looked for again if this one is not among them: it may have been made a moment ago."""
        ring = self.now()
        if kid in ring.verifying or clock.monotonic() - self._held.read_at < ASK_AGAIN.total_seconds():
            return ring
        return self._read_again()

    def rotate(self) -> str:
        """Let the next key sign, in the current unit of work; returns its id.

        The key that signed until now goes on verifying until its last token has expired; its private half is wiped.
        """
        self._take_turn()
        lives_on = self.token_lifetime + FRESH + access_tokens.LEEWAY
        writing().execute(delete(SigningKey).where(SigningKey.retire_at <= func.now()))
        writing().execute(
            update(SigningKey)
            .where(SigningKey.state == CURRENT)
            .values(state=PREVIOUS, private_sealed=None, retire_at=func.now() + lives_on)
        )
        writing().execute(update(SigningKey).where(SigningKey.state == NEXT).values(state=CURRENT))
        self._add_missing()
        kid: str = writing().execute(select(SigningKey.kid).where(SigningKey.state == CURRENT)).scalar_one()
        return kid

    def _read_again(self) -> KeyRing:
        held = self._held
        with held.lock:
            try:
                held.ring = self._read() or self._made()
            except DatabaseAway:
                if held.ring is None:
                    raise
                log.warning("signing keys could not be read again")
            held.read_at = clock.monotonic()
            return held.ring

    def _read(self) -> KeyRing | None:
        with reading() as connection:
            rows = connection.execute(
                select(SigningKey.kid, SigningKey.state, SigningKey.public_pem, SigningKey.private_sealed).where(
                    SigningKey.retire_at.is_(None) | (SigningKey.retire_at > func.now())
                )
            ).all()
        for kid, state, _, sealed in rows:
            if state == CURRENT and sealed is not None:
                opened = self.sealer.open(sealed, place=kid.encode())
                return KeyRing(
                    signing_kid=kid,
                    signing_key=access_tokens.private_key(opened["pem"]),
                    verifying={row.kid: access_tokens.public_key(row.public_pem) for row in rows},
                )
        return None

    def _made(self) -> KeyRing:
        """Make the first keys; of several processes that start at once, one does."""
        with unit_of_work():
            self._take_turn()
            self._add_missing()
        ring = self._read()
        if ring is None:
            raise DatabaseAway(retry_after=1)
        return ring

    def _take_turn(self) -> None:
        writing().execute(select(func.pg_advisory_xact_lock(KEYS_LOCK)))

    def _add_missing(self) -> None:
        there = set(writing().execute(select(SigningKey.state)).scalars())
        for state in {CURRENT, NEXT} - there:
            kid, private_pem, public_pem = access_tokens.new_key()
            writing().execute(
                insert(SigningKey).values(
                    kid=kid,
                    state=state,
                    public_pem=public_pem,
                    private_sealed=self.sealer.seal({"pem": private_pem}, place=kid.encode()),
                )
            )
