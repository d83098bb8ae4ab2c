"""Files and function calls per request: `PYTHONPATH=src python -m tests.bench.calls [--show REQUEST]`.

New users of a warm application (profile `production`, with all rate limits) go from sign-up to a new password. Calls of
Python functions of `src/auth_service` in the thread of the request count, as `sys.setprofile` reports them: each step
of a generator is a call, a comprehension is not. The result is the minimum of several users, since some request reads
the signing keys again every two seconds.

At commit 31e262d, files and calls were: sign_up 24/81, PUT mail 24/96, sign_in 40/184 (the first of the account),
refresh 27/98, GET me 18/70 (an access token seen for the first time), PUT me/password 35/232.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from werkzeug.test import TestResponse

import auth_service
from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.accounts import OTHER_PASSWORD, PASSWORD, Accounts
from tests.support.actors import Mailbox
from tests.support.application import application
from tests.support.round_trips_table import SETTINGS

PACKAGE = f"{Path(auth_service.__file__).parent}/"
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
WARM_UP, USERS = 2, 3

Call = tuple[str, str]
"""The file of a function and its name."""


def calls_of(request: Callable[[], TestResponse]) -> tuple[list[Call], TestResponse]:
    """The calls of a request, in order, and its response."""
    calls: list[Call] = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE) and code.co_name not in COMPREHENSIONS:
            calls.append((code.co_filename.removeprefix(PACKAGE), code.co_qualname))

    sys.setprofile(profile)
    try:
        response = request()
    finally:
        sys.setprofile(None)
    return calls, response


def requests(accounts: Accounts) -> Iterator[tuple[str, list[Call]]]:
    """The requests of one user, from sign-up to a new password."""
    api, email = accounts.api(), accounts.address()

    def measured(request: Callable[[], TestResponse]) -> tuple[list[Call], Any]:
        accounts.get("/.well-known/jwks.json")  # reads the signing keys if necessary
        calls, response = calls_of(request)
        assert response.status_code in (200, 201), response.text
        return calls, response.get_json().get("data")

    calls, user = measured(lambda: api.try_to_sign_up(email))
    yield "sign_up", calls
    api.ask_for_code(user["id"])
    code = accounts.emailed(email)
    yield "PUT mail", measured(lambda: api.confirm(user["id"], code))[0]
    api.finish(user["id"], password=PASSWORD)
    calls, tokens = measured(lambda: api.sign_in(email, PASSWORD))
    yield "sign_in", calls
    calls, tokens = measured(lambda: api.refresh(tokens["refresh_token"]))
    yield "refresh", calls
    token = tokens["access_token"]
    yield "GET me", measured(lambda: api.with_token(token, "GET", "/me"))[0]
    yield "PUT me/password", measured(lambda: api.change_password(token, PASSWORD, OTHER_PASSWORD))[0]


def main() -> None:
    """Print the table, and the calls of one request if requested."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.calls", description="Count files and calls.")
    parser.add_argument("--show", metavar="REQUEST", help="also list the calls of one request, e.g. 'GET me'")
    shown = parser.parse_args().show
    with application(**SETTINGS) as app, tempfile.TemporaryDirectory() as folder:
        accounts = Accounts(app, Mailbox(app, DevInbox(Path(folder))))
        for _ in range(WARM_UP):
            list(requests(accounts))
        users = [dict(requests(accounts)) for _ in range(USERS)]
    fewest = {name: min((user[name] for user in users), key=len) for name in users[0]}
    print("| request | files | calls |\n| --- | --- | --- |")
    for name, calls in fewest.items():
        print(f"| {name} | {len({file for file, _ in calls})} | {len(calls)} |")
    for file, function in fewest.get(shown, ()):
        print(f"{file} {function}")


if __name__ == "__main__":
    main()
