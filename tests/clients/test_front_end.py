"""Example front end of the documentation in Chromium: origins, proxies, cookies and bearer tokens, two tabs."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from auth_service.adapters.crypto.access_tokens import KeySet
from tests.support.actors import ADA, PASSWORD, Mailbox
from tests.support.forgery import Forger, decoded
from tests.support.front_end import Tab, chromium, page_server, vite_config, wait_for_code, write_example
from tests.support.live import Live
from tests.support.node import install, node
from tests.support.stores import Query
from tests.support.verifiers import free_port, running

# The first test starts engines, the service and Chromium.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
GRACE = "grace@example.org"
VITE = Path(__file__).with_name("vite")
MANY = 50


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A browser profile: its tabs share cookies."""
    profile = browser.new_context(locale="en-GB")
    yield profile
    profile.close()


@pytest.fixture(scope="module")
def vite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Vite, as `npm ci` installs it."""
    node(at_least=(20, 19))
    return install(VITE, tmp_path_factory.mktemp("vite"))


@pytest.fixture
def served(local_service: Live, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Serves the example in one of the documented ways; returns the address of the page."""
    with ExitStack() as servers:

        def serve(way: str, **options: str) -> str:
            if way == "same origin":
                write_example(tmp_path, **options)
                return f"http://127.0.0.1:{servers.enter_context(page_server(tmp_path, api_port=local_service.port))}/"
            if way == "dev proxy":
                folder = write_example(request.getfixturevalue("vite"), **options)
                (folder / "vite.config.js").write_text(vite_config(local_service.port), "utf-8")
                port = free_port()
                command = ["node_modules/.bin/vite", "--host", "127.0.0.1", "--port", f"{port}", "--strictPort"]
                servers.enter_context(running(command, port, folder=folder))
                return f"http://127.0.0.1:{port}/"
            api = "127.0.0.1" if way == "other site" else "localhost"
            write_example(tmp_path, baseUrl=f"http://{api}:{local_service.port}", **options)
            return f"http://localhost:{servers.enter_context(page_server(tmp_path))}/"

        yield serve


@pytest.fixture
def expired(key_set: KeySet) -> Callable[[str], str]:
    """Makes the token that an access token is after its lifetime."""

    def expire(token: str) -> str:
        header, claims, _ = token.split(".")
        forger = Forger(header=decoded(header), claims=decoded(claims), key=key_set.signing_key)
        issued_at = int(time.time()) - 1000
        return forger.token(iat=issued_at, nbf=issued_at, exp=issued_at + 900)

    return expire


@pytest.fixture
def expire_cookie(context: Any, expired: Callable[[str], str]) -> Callable[[], None]:
    """Lets the access token in the cookies of the browser expire."""

    def expire() -> None:
        [cookie] = [cookie for cookie in context.cookies() if cookie["name"] == "access"]
        context.add_cookies([{**cookie, "value": expired(cookie["value"])}])

    return expire


def register(tab: Tab, mailbox: Mailbox, email: str = GRACE) -> None:
    """Register by the forms of the page, and end up signed in."""
    tab.fill("start", email=email)
    tab.fill("code", code=wait_for_code(mailbox, email))
    tab.fill("new-password", password=PASSWORD)
    assert tab.user() == email


def sign_in(tab: Tab, email: str = ADA) -> None:
    """Sign in by the forms of the page."""
    tab.fill("start", email=email)
    tab.fill("password", password=PASSWORD)
    assert tab.user() == email


@pytest.mark.parametrize("way", ["same origin", "other origin", "dev proxy"])
def test_oa4_the_example_registers_and_keeps_the_user_signed_in_by_cookies(
    way: str,
    served: Callable[..., str],
    context: Any,
    inbox_of_local: Mailbox,
    expire_cookie: Callable[[], None],
    query: Query,
) -> None:
    tab = Tab.open(context, served(way))
    tab.fill("start", email=GRACE)
    tab.fill("code", code="0000")
    assert tab.message() == "code_wrong"
    tab.fill("code", code=wait_for_code(inbox_of_local, GRACE))
    tab.fill("new-password", password="password1")
    assert tab.message() == "validation_failed: common"
    tab.fill("new-password", password=PASSWORD)
    assert tab.user() == GRACE
    assert tab.page.text_content("#sessions").count("Chrom") == 1
    assert (
        tab.page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)") == "{}{}"
    )

    tab.page.reload()
    assert tab.user() == GRACE
    assert tab.refreshes() == 0
    expire_cookie()
    tab.page.reload()
    assert tab.user() == GRACE
    context.clear_cookies(name="access")  # as the browser does after the lifetime of the cookie
    tab.page.reload()
    assert tab.user() == GRACE
    assert tab.refreshes() == 2

    expire_cookie()
    tab.fill("account")
    tab.shows("start")
    assert tab.refreshes() == 2, "a sign-out needs no refresh"
    assert {cookie["name"] for cookie in context.cookies()} <= {"device", "registration"}
    assert query("SELECT end_reason FROM sessions") == [("signed_out",)]

    tab.fill("start", email=GRACE)
    tab.fill("password", password="wrong password!")
    assert tab.message() == "credentials_rejected"
    tab.fill("password", password=PASSWORD)
    assert tab.user() == GRACE
    assert tab.problems == []


def test_a_page_on_localhost_with_the_api_on_127_0_0_1_learns_why_cookies_do_not_work(
    served: Callable[..., str], context: Any, ada: int
) -> None:
    tab = Tab.open(context, served("other site"))
    tab.fill("start", email=ADA)
    tab.fill("password", password=PASSWORD)

    assert tab.message() == "cross_site: site"
    assert tab.problems == []


def test_oa4_the_example_works_with_bearer_tokens_on_another_site(
    served: Callable[..., str],
    context: Any,
    inbox_of_local: Mailbox,
    expired: Callable[[str], str],
    query: Query,
) -> None:
    """The token that the page gets has expired, as after fifteen minutes."""
    handed_out = []

    def sign_in_with_an_expired_token(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        if "access_token" in body.get("data", {}):
            body["data"]["access_token"] = expired(body["data"]["access_token"])
            handed_out.append(body["data"])
        route.fulfill(response=answer, body=json.dumps(body))

    context.route("**/users/sign_in", sign_in_with_an_expired_token)
    tab = Tab.open(context, served("other site", transport="bearer"))
    register(tab, inbox_of_local)
    assert tab.refreshes() == 1, "for two concurrent requests"
    assert len(handed_out) == 1
    assert (
        tab.page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)") == "{}{}"
    )
    tab.fill("account")
    tab.shows("start")
    assert query("SELECT end_reason FROM sessions") == [("signed_out",)]

    context.route("**/users/me", lambda route: route.abort())
    tab.fill("start", email=GRACE)
    tab.fill("password", password=PASSWORD)
    assert tab.message() == "network_error"
    context.unroute("**/users/me")
    tab.page.reload()
    tab.shows("start")  # The tokens were in memory only.
    assert tab.problems == []


def start_calls(tab: Tab) -> None:
    """Start fifty calls of a page that has the client; `outcomes` waits for them."""
    tab.page.evaluate(
        """async (count) => {
          const { createClient } = await import("./client.js");
          const auth = createClient();
          window.calls = Array.from({ length: count }, () => auth.me().then(() => "ok", (error) => error.code));
        }""",
        MANY,
    )


def outcomes(tab: Tab) -> dict[str, int]:
    """How often the calls had which result."""
    return Counter(tab.page.evaluate("Promise.all(window.calls)"))


def test_oa5_two_tabs_with_fifty_calls_each_at_an_expired_token_refresh_once_each_without_a_lock(
    served: Callable[..., str], context: Any, ada: int, expire_cookie: Callable[[], None], query: Query
) -> None:
    url = served("same origin")
    first = Tab.open(context, url)
    sign_in(first)
    second = Tab.open(context, url)
    second.user()
    held: list[Any] = []

    def hold(route: Any) -> None:
        """Send the refreshes when both tabs have asked, so that both have the same refresh token."""
        held.append(route)
        if len({id(each.request.frame.page) for each in held}) == 2:
            for each in held:
                each.continue_()

    context.route("**/refresh_token", hold)
    for _ in range(2):  # The second time shows that the successor is still valid in both tabs.
        held.clear()
        expire_cookie()
        before = first.refreshes(), second.refreshes()
        for tab in (first, second):
            start_calls(tab)
        assert (outcomes(first), outcomes(second)) == ({"ok": MANY}, {"ok": MANY})
        assert (first.refreshes() - before[0], second.refreshes() - before[1]) == (1, 1)

    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(1,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'refresh_reused'") == [(0,)]
    assert first.problems + second.problems == []


def test_a_sign_out_in_one_tab_is_noticed_by_the_other_one(served: Callable[..., str], context: Any, ada: int) -> None:
    url = served("same origin")
    first = Tab.open(context, url)
    sign_in(first)
    second = Tab.open(context, url)
    second.user()

    first.fill("account")
    first.shows("start")
    second.page.reload()
    second.shows("start")
    assert first.problems + second.problems == []
