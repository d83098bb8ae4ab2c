"""Who may call an endpoint. Each endpoint says so; there is no default that an omission could open."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A rule about callers: its check raises a refusal, its sentence is shown on the Swagger page."""

    name: str
    sentence: str
    check: Callable[[], None]


def _everybody() -> None:
    return None


anyone = Access(name="anyone", sentence="Anyone may call this.", check=_everybody)
