"""The six requests, each made by somebody for whom it is the next step, and what a refusal has to look like."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from tests.faults.client import Answer, Caller, good
from tests.faults.service import Service

PROMISED = 2.0
"""Seconds within which every fault is answered."""

Requests = Mapping[str, Callable[[], Answer]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Six:
    """Five people who are at different points of their registration."""

    stranger: Caller
    temporary: Caller
    guessing: Caller
    code: str
    """What `guessing` found in the mail."""
    impatient: Caller
    confirmed: Caller

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


def slowest(answers: list[tuple[str, Answer]]) -> float:
    return max(answer.seconds for _, answer in answers)
