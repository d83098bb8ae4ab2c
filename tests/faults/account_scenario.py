"""Account scenario: virtual users sign in, refresh, change password and address, and delete their accounts."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tests.faults.account_client import AccountClient, TokenPair
from tests.faults.client import Response
from tests.faults.ledger import Ledger
from tests.faults.service import Service
from tests.faults.virtual_users import EMAIL_TIMEOUT, NoProgress, Scenario, VirtualUser

MAX_SESSIONS = 3
"""The most sessions that a user opens."""
MAX_ACTIONS = 8
"""The most actions in one session."""
DELETION_PROBABILITY = 0.3
"""The share of users who delete their account at the end."""


@dataclass(kw_only=True)
class VirtualAccountUser(VirtualUser):
    """A user who registers with a password, uses sessions and retries what faults interrupt."""

    client: AccountClient
    password: str = ""
    pairs: list[TokenPair] = field(default_factory=list)
    """The tokens of the current session, the newest last."""
    can_change_password: bool = True
    """Whether the service has the endpoint for it."""

    def run(self) -> None:
        self.register()
        for _ in range(self.chance.randint(1, MAX_SESSIONS)):
            self.use_session()
        if self.chance.random() < DELETION_PROBABILITY:
            self.sign_in()
            self.delete_account()

    def finish(self) -> bool:
        self.password = self.password or self.new_password()
        return self.finish_with(self.password)

    def use_session(self) -> None:
        """Sign in, act, and sign out in most cases."""
        self.sign_in_by_code() if self.chance.random() < 0.2 else self.sign_in()
        for _ in range(self.chance.randint(1, MAX_ACTIONS)):
            if not self.pairs:
                return
            self.act()
        if self.pairs and self.chance.random() < 0.7:
            self.sign_out()

    def act(self) -> None:
        actions: dict[Callable[[], None], int] = {
            self.get_current_user: 8,
            self.refresh: 10,
            self.refresh_in_two_tabs: 4,
            self.refresh_after_a_lost_response: 4,
            self.replay_old_refresh_token: 1,
            self.reset_password: 1,
            self.change_password: 1,
            self.change_email: 1,
        }
        [action] = self.chance.choices([*actions], weights=[*actions.values()])
        action()

    def sign_in(self) -> None:
        response = self.retry(lambda: self.client.sign_in(self.password))
        self.pairs = [self._tokens_of(response)]

    def sign_in_by_code(self) -> None:
        self.use_code("sign_in_code", self.client.send_sign_in_code, self.client.sign_in_by_code, then=self._begin)

    def _begin(self, response: Response) -> None:
        self.pairs = [self._tokens_of(response)]

    def get_current_user(self) -> None:
        response = self.retry(lambda: self.client.me(self.pairs[-1].access))
        if response.status != 200 or response.json["data"]["email"] != self.client.email:
            raise NoProgress(f"me: {response.status} {response.body!r}")

    def refresh(self) -> None:
        self.pairs.append(self._tokens_of(self.retry(lambda: self.client.refresh(self.pairs[-1].refresh))))

    def refresh_in_two_tabs(self) -> None:
        token = self.pairs[-1].refresh
        with ThreadPoolExecutor(2) as tabs:
            requests = [tabs.submit(self.retry, lambda: self.client.refresh(token)) for _ in range(2)]
        self.pairs.append([self._tokens_of(response.result()) for response in requests][self.chance.randrange(2)])

    def refresh_after_a_lost_response(self) -> None:
        token = self.pairs[-1].refresh
        self._tokens_of(self.retry(lambda: self.client.refresh(token)))
        self.pairs.append(self._tokens_of(self.retry(lambda: self.client.refresh(token))))

    def replay_old_refresh_token(self) -> None:
        """Replay an older refresh token: reuse detection revokes the session."""
        if len(self.pairs) < 3:
            return
        stolen = self.chance.choice(self.pairs[:-2]).refresh
        response = self.retry(lambda: self.client.refresh(stolen, step="replay"))
        if response.code != "refresh_rejected":
            raise NoProgress(f"replay: {response.status} {response.body!r}")
        self.pairs = []

    def sign_out(self) -> None:
        """Sign out; after a lost response the next one is `token_invalid`."""
        response = self.retry(lambda: self.client.sign_out(self.pairs[-1].access))
        if response.status != 200 and response.code != "token_invalid":
            raise NoProgress(f"sign_out: {response.status} {response.body!r}")
        self.pairs = []

    def reset_password(self) -> None:
        """Reset the password by an emailed code; with a new code if the response was lost."""
        new = self.new_password()
        self.use_code(
            "recovery_code",
            self.client.send_reset_code,
            lambda code: self.client.reset_password(code, new),
            then=lambda _: setattr(self, "password", new),
        )
        self.pairs = []

    def change_password(self) -> None:
        """Change the password, which revokes the other sessions."""
        if not self.can_change_password:
            return
        new = self.new_password()
        response = self.retry(lambda: self.client.change_password(self.pairs[-1].access, self.password, new))
        if response.status == 200:
            self.password = new
            return
        # The change took effect and its response was lost: sign in with the new password.
        self.password = new
        self.sign_in()

    def change_email(self) -> None:
        """Change the address; `GET /users/me` shows the result, since the response to the code may be lost."""
        new = self.service.new_address("moved")
        while time.monotonic() < self.give_up_at:
            known = len(self.service.codes(new, "email_code"))
            response = self.retry(lambda: self.client.request_email_change(self.pairs[-1].access, new, self.password))
            if response.status != 200:
                raise NoProgress(f"request_email_change: {response.status} {response.body!r}")
            if code := self._next_code("email_code", known, at=new):
                submit = partial(self.client.change_email, self.pairs[-1].access, code, new)
                if self.retry(submit).status == 200 and self.chance.random() < 0.3:
                    self.retry(submit)  # not accepted again: L3
            response = self.retry(lambda: self.client.me(self.pairs[-1].access))
            if response.status != 200:
                raise NoProgress(f"me: {response.status} {response.body!r}")
            if response.json["data"]["email"] == new:
                self.client.email = new
                return
        raise NoProgress(f"{self.client.email}: no change of address to {new}")

    def delete_account(self) -> None:
        """Delete the account, by the password or a code; after a lost response the next one is `token_invalid`."""
        by_code = self.chance.random() < 0.5
        response = None
        while response is None or response.code in ("code_expired", "code_wrong", "account_changed"):
            response = self._delete_by_code() if by_code else self._delete_by(password=self.password)
        if response.status != 200 and response.code != "token_invalid":
            raise NoProgress(f"delete_account: {response.status} {response.body!r}")
        self.pairs = []
        response = self.retry(lambda: self.client.sign_in(self.password))
        if response.code != "credentials_rejected":
            raise NoProgress(f"sign_in after deletion: {response.status} {response.body!r}")

    def _delete_by_code(self) -> Response | None:
        """The response to the code, or to an unsuccessful request for one; None if no code arrived."""
        known = len(self.service.codes(self.client.email, "deletion_code"))
        sent = self.retry(lambda: self.client.send_deletion_code(self.pairs[-1].access))
        if sent.status != 200:
            return sent
        code = self._next_code("deletion_code", known)
        return None if code is None else self._delete_by(code=code)

    def _delete_by(self, **reauthentication: str) -> Response:
        return self.retry(lambda: self.client.delete_account(self.pairs[-1].access, **reauthentication))

    def use_code(
        self,
        kind: str,
        send: Callable[[], Response],
        submit: Callable[[str], Response],
        *,
        then: Callable[[Response], None],
    ) -> None:
        """Request codes until one of them is accepted."""
        while time.monotonic() < self.give_up_at:
            known = len(self.service.codes(self.client.email, kind))
            self.retry(send)
            code = self._next_code(kind, known)
            if code is None:
                continue
            response = self.retry(lambda code=code: submit(code))  # type: ignore[misc]
            if response.status == 200:
                if self.chance.random() < 0.3:
                    self.retry(lambda code=code: submit(code))  # type: ignore[misc] # not accepted again: L3
                then(response)
                return
            # A request with a lost response used the code, Redis lost it, or a newer code replaced it.
            if response.code not in ("code_expired", "code_wrong", "credentials_rejected"):
                raise NoProgress(f"{kind}: {response.status} {response.body!r}")
        raise NoProgress(f"{self.client.email}: no {kind} was accepted")

    def _next_code(self, kind: str, known: int, *, at: str | None = None) -> str | None:
        """The next code to this user or to the address `at`; None after the time limit."""
        give_up_at = time.monotonic() + EMAIL_TIMEOUT
        while time.monotonic() < give_up_at:
            codes = self.service.codes(at or self.client.email, kind)
            if len(codes) > known:
                return codes[-1]
            time.sleep(0.02)
        return None

    def _tokens_of(self, response: Response) -> TokenPair:
        pair = TokenPair.of(response)
        if pair is None:
            raise NoProgress(f"{self.client.email} got no tokens: {response.status} {response.body!r}")
        return pair


def account_scenario(service: Service) -> Scenario:
    """The scenario of users who register, use their account and may delete it."""
    can_change_password = service.has_endpoint("/v1/users/me/password")

    def run_user(service: Service, ledger: Ledger, chance: random.Random, number: int) -> str:
        name = service.new_address(f"client-{number}")
        user = VirtualAccountUser(
            service=service,
            ledger=ledger,
            client=AccountClient(service.port, name, record=ledger.record),
            chance=chance,
            can_change_password=can_change_password,
        )
        user.run()
        return name

    return run_user
