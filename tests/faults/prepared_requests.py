"""Requests, each made by a user for whom it is the next step, and the form of an error."""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from tests.faults.account_client import Member, Pair
from tests.faults.client import Answer, CurrentUser, good
from tests.faults.service import Service

PROMISED = 2.0
"""Seconds within which every fault is answered."""

Requests = Mapping[str, Callable[[], Answer]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Six:
    """Five people who are at different points of their registration."""

    stranger: CurrentUser
    temporary: CurrentUser
    guessing: CurrentUser
    code: str
    """What `guessing` found in the mail."""
    impatient: CurrentUser
    confirmed: CurrentUser

    @classmethod
    def prepared(cls, service: Service) -> Self:
        temporary = service.caller("temporary")
        good(temporary.sign_up)
        guessing, code = service.with_code("guessing")
        impatient, _ = service.with_code("impatient")
        return cls(
            stranger=service.caller("stranger"),
            temporary=temporary,
            guessing=guessing,
            code=code,
            impatient=impatient,
            confirmed=service.confirmed("confirmed"),
        )

    @property
    def wrong_code(self) -> str:
        return f"{(int(self.code) + 1) % 10**6:06}"

    @property
    def requests(self) -> Requests:
        """All six; the code that is brought is wrong."""
        return {
            "look_up": self.stranger.look_up,
            "sign_up": self.stranger.sign_up,
            "send_code": self.temporary.send_code,
            "mail": lambda: self.guessing.mail(self.wrong_code),
            "resend_code": self.impatient.resend_code,
            "finish": self.confirmed.finish,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """A user who is signed in twice, and has codes at hand to sign in with and to set another password with."""

    member: Member
    password: str
    here: Pair
    there: Pair
    """The tokens of a session that is about to be ended."""
    sign_in_code: str
    recovery_code: str

    @classmethod
    def prepared(cls, service: Service) -> Self:
        password = "correct horse battery"
        member = service.member("signed-in", password=password)
        here, there = (signed_in(member, password) for _ in range(2))
        good(member.ask_to_sign_in)
        good(member.ask_to_recover)
        return cls(
            member=member,
            password=password,
            here=here,
            there=there,
            sign_in_code=service.code_for(member, "sign_in_code"),
            recovery_code=service.code_for(member, "recovery_code"),
        )

    @property
    def without_redis(self) -> Requests:
        """What needs nothing but PostgreSQL."""
        return {
            "sign_in": lambda: self.member.sign_in(self.password),
            "me": lambda: self.member.me(self.here.access),
            "refresh": lambda: self.member.refresh(self.here.refresh),
            "sign_out": lambda: self.member.sign_out(self.there.access),
        }

    @property
    def by_codes(self) -> Requests:
        """What needs Redis, too."""
        return {
            "ask_to_sign_in": self.member.ask_to_sign_in,
            "sign_in_by_code": lambda: self.member.sign_in_by_code(self.sign_in_code),
            "ask_to_recover": self.member.ask_to_recover,
            "recover": lambda: self.member.recover(self.recovery_code, f"{self.password} staple"),
        }


def signed_in(member: Member, password: str) -> Pair:
    """The tokens of a sign-in with the password."""
    pair = Pair.of(good(lambda: member.sign_in(password)))
    assert pair is not None
    return pair


def at_once(requests: Requests) -> dict[str, Answer]:
    """The answers to requests that are made at the same moment."""
    with ThreadPoolExecutor(len(requests)) as pool:
        asked = {name: pool.submit(request) for name, request in requests.items()}
        return {name: answer.result() for name, answer in asked.items()}


def again_and_again(requests: Requests, *, seconds: float) -> list[tuple[str, Answer]]:
    """The answers to requests that are made one after the other, for some time."""
    until = time.monotonic() + seconds
    answers: list[tuple[str, Answer]] = []
    while time.monotonic() < until:
        answers += [(name, request()) for name, request in requests.items()]
    return answers


def complaints(answers: Mapping[str, Answer], *, code: str) -> list[str]:
    """Where answers are not the refusal `code` in the shape of the contract and in time."""
    found: list[str] = []
    for name, answer in answers.items():
        error = answer.json.get("error", {})
        if (answer.status, error.get("code")) != (503, code):
            found.append(f"{name}: {answer.status} {answer.body!r}")
        elif answer.json != {"success": False, "result": None, "error": error} or not error.get("msg"):
            found.append(f"{name}: not in the shape of a refusal: {answer.body!r}")
        elif answer.headers.get("content-type") != "application/json" or not answer.headers.get("x-request-id"):
            found.append(f"{name}: headers {dict(answer.headers)}")
        elif int(answer.headers.get("retry-after", 0)) < 1 or error.get("retry_after") is None:
            found.append(f"{name}: does not say when to come back: {answer.body!r}")
        if answer.seconds > PROMISED:
            found.append(f"{name}: after {answer.seconds:.2f} s")
    return found


def p99(answers: list[Answer]) -> float:
    """The seconds that one of a hundred answers takes longer than."""
    ordered = sorted(answer.seconds for answer in answers)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * 0.99) - 1)]


def slowest(answers: list[tuple[str, Answer]]) -> float:
    return max(answer.seconds for _, answer in answers)
