"""Virtual users with an account: they come, move and go, and do about faults what a person or a program would do."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tests.faults.account_client import Member, Pair
from tests.faults.client import Answer
from tests.faults.ledger import Ledger
from tests.faults.service import Service
from tests.faults.virtual_users import LETTER_WITHIN, Life, Stuck, UserRecord

VISITS = 3
"""How often a user signs in, at most."""
DEEDS = 8
"""What they do each time, at most."""
LEAVES = 0.3
"""The share of people who delete their account in the end."""


@dataclass(kw_only=True)
class AccountSettings(UserRecord):
    """A user who registers with a password, signs in and out, and keeps both working."""

    caller: Member
    password: str = ""
    pairs: list[Pair] = field(default_factory=list)
    """The tokens of this session, the newest last."""
    passwords_are_changed: bool = True
    """Whether there is a way to do so while one is signed in."""

    def live(self) -> None:
        self.register()
        for _ in range(self.chance.randint(1, VISITS)):
            self.visit()
        if self.chance.random() < LEAVES:
            self.sign_in()
            self.leave()

    def finish(self) -> bool:
        self.password = self.password or self.new_password()
        return self.finish_with(self.password)

    def visit(self) -> None:
        """Sign in, do some things, and leave, or just go away."""
        self.sign_in_by_code() if self.chance.random() < 0.2 else self.sign_in()
        for _ in range(self.chance.randint(1, DEEDS)):
            if not self.pairs:
                return
            self.do_something()
        if self.pairs and self.chance.random() < 0.7:
            self.sign_out()

    def do_something(self) -> None:
        deeds: dict[Callable[[], None], int] = {
            self.ask_who_i_am: 8,
            self.refresh: 10,
            self.refresh_in_two_tabs: 4,
            self.refresh_after_a_lost_answer: 4,
            self.be_stolen_from: 1,
            self.recover: 1,
            self.change_password: 1,
            self.move: 1,
        }
        [deed] = self.chance.choices([*deeds], weights=[*deeds.values()])
        deed()

    def sign_in(self) -> None:
        answer = self.persevere(lambda: self.caller.sign_in(self.password))
        self.pairs = [self._given(answer)]

    def sign_in_by_code(self) -> None:
        self.with_code("sign_in_code", self.caller.ask_to_sign_in, self.caller.sign_in_by_code, then=self._begin)

    def _begin(self, answer: Answer) -> None:
        self.pairs = [self._given(answer)]

    def ask_who_i_am(self) -> None:
        answer = self.persevere(lambda: self.caller.me(self.pairs[-1].access))
        if answer.status != 200 or answer.json["data"]["email"] != self.caller.email:
            raise Stuck(f"me: {answer.status} {answer.body!r}")

    def refresh(self) -> None:
        self.pairs.append(self._given(self.persevere(lambda: self.caller.refresh(self.pairs[-1].refresh))))

    def refresh_in_two_tabs(self) -> None:
        token = self.pairs[-1].refresh
        with ThreadPoolExecutor(2) as tabs:
            asked = [tabs.submit(self.persevere, lambda: self.caller.refresh(token)) for _ in range(2)]
        self.pairs.append([self._given(answer.result()) for answer in asked][self.chance.randrange(2)])

    def refresh_after_a_lost_answer(self) -> None:
        token = self.pairs[-1].refresh
        self._given(self.persevere(lambda: self.caller.refresh(token)))
        self.pairs.append(self._given(self.persevere(lambda: self.caller.refresh(token))))

    def be_stolen_from(self) -> None:
        """An older refresh token is used (reuse detection), which revokes the session; only this request is told."""
        if len(self.pairs) < 3:
            return
        stolen = self.chance.choice(self.pairs[:-2]).refresh
        answer = self.persevere(lambda: self.caller.refresh(stolen, step="replay"))
        if answer.code != "refresh_rejected":
            raise Stuck(f"replay: {answer.status} {answer.body!r}")
        self.pairs = []

    def sign_out(self) -> None:
        """Sign out; if the answer was lost, the next one says that there is no such session any more."""
        answer = self.persevere(lambda: self.caller.sign_out(self.pairs[-1].access))
        if answer.status != 200 and answer.code != "token_invalid":
            raise Stuck(f"sign_out: {answer.status} {answer.body!r}")
        self.pairs = []

    def recover(self) -> None:
        """Set another password by a mailed code; again with another code when it is not clear whether it was set."""
        new = self.new_password()
        self.with_code(
            "recovery_code",
            self.caller.ask_to_recover,
            lambda code: self.caller.recover(code, new),
            then=lambda _: setattr(self, "password", new),
        )
        self.pairs = []

    def change_password(self) -> None:
        """Set another password, which ends the other sessions; after a lost answer the old one may be wrong now."""
        if not self.passwords_are_changed:
            return
        new = self.new_password()
        answer = self.persevere(lambda: self.caller.change_password(self.pairs[-1].access, self.password, new))
        if answer.status == 200:
            self.password = new
            return
        # It was done, and the answer got lost: so the new one opens the door.
        self.password = new
        self.sign_in()

    def move(self) -> None:
        """Go on with another address. Where the account is, it says itself: the answer to the code may get lost."""
        new = self.service.new_address("moved")
        while time.monotonic() < self.until:
            had = len(self.service.codes(new, "email_code"))
            answer = self.persevere(lambda: self.caller.ask_to_move(self.pairs[-1].access, new, self.password))
            if answer.status != 200:
                raise Stuck(f"ask_to_move: {answer.status} {answer.body!r}")
            if code := self._newest("email_code", had, at=new):
                bring = partial(self.caller.move, self.pairs[-1].access, code, new)
                if self.persevere(bring).status == 200 and self.chance.random() < 0.3:
                    self.persevere(bring)  # not accepted again: L3
            answer = self.persevere(lambda: self.caller.me(self.pairs[-1].access))
            if answer.status != 200:
                raise Stuck(f"me: {answer.status} {answer.body!r}")
            if answer.json["data"]["email"] == new:
                self.caller.email = new
                return
        raise Stuck(f"{self.caller.email} never moved to {new}")

    def leave(self) -> None:
        """Delete the account, by the password or by a code. After a lost answer there is no session any more."""
        by_code = self.chance.random() < 0.5
        answer = None
        while answer is None or answer.code in ("code_expired", "code_wrong", "account_changed"):
            answer = self._leave_by_code() if by_code else self._leave_by(password=self.password)
        if answer.status != 200 and answer.code != "token_invalid":
            raise Stuck(f"leave: {answer.status} {answer.body!r}")
        self.pairs = []
        answer = self.persevere(lambda: self.caller.sign_in(self.password))
        if answer.code != "credentials_rejected":
            raise Stuck(f"sign_in of nobody: {answer.status} {answer.body!r}")

    def _leave_by_code(self) -> Answer | None:
        """The answer to a code, or to having asked for one; None where none came."""
        had = len(self.service.codes(self.caller.email, "deletion_code"))
        asked = self.persevere(lambda: self.caller.ask_to_leave(self.pairs[-1].access))
        if asked.status != 200:
            return asked
        code = self._newest("deletion_code", had)
        return None if code is None else self._leave_by(code=code)

    def _leave_by(self, **proof: str) -> Answer:
        return self.persevere(lambda: self.caller.leave(self.pairs[-1].access, **proof))

    def with_code(
        self, kind: str, ask: Callable[[], Answer], bring: Callable[[str], Answer], *, then: Callable[[Answer], None]
    ) -> None:
        """Ask for codes until one of them is taken."""
        while time.monotonic() < self.until:
            had = len(self.service.codes(self.caller.email, kind))
            self.persevere(ask)
            code = self._newest(kind, had)
            if code is None:
                continue
            answer = self.persevere(lambda code=code: bring(code))  # type: ignore[misc]
            if answer.status == 200:
                if self.chance.random() < 0.3:
                    self.persevere(lambda code=code: bring(code))  # type: ignore[misc] # not accepted again: L3
                then(answer)
                return
            # It was spent by a request whose answer got lost, or forgotten, or is not the newest.
            if answer.code not in ("code_expired", "code_wrong", "credentials_rejected"):
                raise Stuck(f"{kind}: {answer.status} {answer.body!r}")
        raise Stuck(f"{self.caller.email} never got on by a {kind}")

    def _newest(self, kind: str, had: int, *, at: str | None = None) -> str | None:
        """The code that comes next, to this person or to the address `at`; None if none does."""
        give_up_at = time.monotonic() + LETTER_WITHIN
        while time.monotonic() < give_up_at:
            codes = self.service.codes(at or self.caller.email, kind)
            if len(codes) > had:
                return codes[-1]
            time.sleep(0.02)
        return None

    def _given(self, answer: Answer) -> Pair:
        pair = Pair.of(answer)
        if pair is None:
            raise Stuck(f"{self.caller.email} was given no tokens: {answer.status} {answer.body!r}")
        return pair


def coming_and_going(service: Service) -> Life:
    """The life of people who have an account for a while."""
    passwords_are_changed = service.knows("/v1/users/me/password")

    def live_one(service: Service, ledger: Ledger, chance: random.Random, number: int) -> str:
        name = service.new_address(f"member-{number}")
        user = AccountSettings(
            service=service,
            ledger=ledger,
            caller=Member(service.port, name, note=ledger.note),
            chance=chance,
            passwords_are_changed=passwords_are_changed,
        )
        user.live()
        return name

    return live_one
