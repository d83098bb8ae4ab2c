"""Misspelt names of settings: the nearest known name, also for variables of the environment."""

from collections.abc import Iterable
from difflib import get_close_matches

RESEMBLES = 0.85
"""The similarity (`difflib`) above which a variable of the environment counts as a misspelt setting."""


def unknown_name(name: str, known: Iterable[str]) -> str:
    """The message about a name in `.env` that no setting has."""
    nearest = get_close_matches(name.upper(), list(known), n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{name.upper()}: no setting has this name{hint}"


def misspelt(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """One line for each variable of the environment that no setting has, but that resembles one.

    Most variables belong to other programs, so only a close resemblance counts.
    """
    settings = sorted(known)
    nearest = {
        name: get_close_matches(name, settings, n=1, cutoff=RESEMBLES)
        for name in sorted({name.upper() for name in names} - set(settings))
    }
    return [
        f"{name}: a variable of the environment that no setting has; did you mean {settings_like_it[0]}?"
        for name, settings_like_it in nearest.items()
        if settings_like_it
    ]
