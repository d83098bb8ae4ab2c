"""Environment file (`.env`): parsed strictly, so that Compose, `make-env.sh` and Python read the same values.

A file of production is ignored when the profile is `local` or `test`.
"""

import os
import re
from pathlib import Path

from auth_service.invisible_characters import without_zero_width
from auth_service.settings.types import SettingsRefused

FOR_COMPOSE = ("COMPOSE_", "DOCKER_", "BUILDKIT_")
"""Prefixes of the names that only Compose reads from the same file."""
DEVELOPER_PROFILES = ("local", "test")
PROFILE = "APP_ENV"

ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)", re.ASCII)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
QUOTED = re.compile(r"""(?:'([^'\\]*)'|"([^"\\$`]*)")[ \t]*(?:#.*)?""")
UNQUOTED = re.compile(r"""((?:[^\s'"\\$`#][^\t'"\\$`]*?)?)[ \t]*(?: #.*)?""")
"""Values that all readers parse alike. Compose and python-dotenv disagree about `$`, backslashes and quotes."""


def load(env_file: Path) -> dict[str, str]:
    """The names and values of a file. Raises SettingsRefused, whose text quotes no value."""
    try:
        text = env_file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsRefused(f"{env_file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise SettingsRefused(f"{env_file} is not UTF-8: save it in this encoding")
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            values.update(_assignment(line.removesuffix("\r")))
        except ValueError as error:
            problems.append(f"{env_file}, line {number}: {error}")
    if problems:
        raise SettingsRefused("\n".join(problems))
    return values


def _assignment(line: str) -> dict[str, str]:
    """Return the name and value of one line; an empty dict for an empty line or a comment. Raises ValueError."""
    if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
        return {}
    match = ASSIGNMENT.fullmatch(line)
    if match is None or CONTROLS.search(line):
        raise ValueError("must be NAME=value, a comment (#) or empty")
    name, text = match.groups()
    if name.startswith(FOR_COMPOSE):
        return {}
    if name != name.upper():
        raise ValueError(f"write {name.upper()}, because Compose does not read names in lower case")
    quoted = QUOTED.fullmatch(text)
    if quoted:
        return {name: quoted[1] if quoted[1] is not None else quoted[2]}
    unquoted = UNQUOTED.fullmatch(text)
    if unquoted is None:
        raise ValueError(
            f"the value of {name} has quotes, a backslash, $, ` or # that programs read differently; write it in "
            "single quotes"
        )
    return {name: unquoted[1]}


def profile_of(env_file: Path) -> str:
    """The profile that a `.env` names; production if it names none. Raises SettingsRefused."""
    return without_zero_width(load(env_file).get(PROFILE) or "production")  # as the settings read it


def requested_profile() -> str | None:
    """The profile that the environment names."""
    return next((without_zero_width(value) for name, value in os.environ.items() if name.upper() == PROFILE), None)


def applicable(env_file: Path | None, *, profile: str | None = None) -> Path | None:
    """Return the `.env`, or None if it is for production (`make up` writes one) and a developer's profile is requested.

    A developer's commands must not reach the databases, keys and mail server of production. `profile` is the requested
    profile; without it, the environment decides. Raises SettingsRefused.
    """
    if env_file is None or not env_file.exists():
        return env_file
    requested = profile or requested_profile()
    if requested in DEVELOPER_PROFILES and profile_of(env_file) not in DEVELOPER_PROFILES:
        return None
    return env_file
