"""Passkeys and TOTP in Chromium, with a virtual authenticator and a reader of QR codes (PK1, SF1)."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.support.actors import ADA, PASSWORD
from tests.support.front_end import CLIENT, chromium, page_server
from tests.support.live import live_server
from tests.support.stores import Query, Stores
from tests.support.verifiers import free_port

# The first test starts engines, the service and Chromium.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = """<!doctype html>
<title>Passkeys</title>
<input name="user" autocomplete="username webauthn">
<script type="module">
  import { createClient } from "./client.js";
  window.signals = [];
  for (const name of ["signalAllAcceptedCredentials", "signalUnknownCredential"])
    PublicKeyCredential[name] = async (options) => void signals.push([name, options]);
  window.auth = createClient({ baseUrl: "", onStepUp: () => auth.reauthenticateWithPasskey() });
</script>
"""
# As docs/second-factors.md describes it.
SHOW = """(svg) => {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  document.body.replaceChildren(image);
  return image.decode();
}"""
CODE_OF = "(call) => call.then(() => null, (error) => [error.code, error.details.methods ?? null])"
PLATFORM = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class Browser:
    """A page of the portal, with the functions of the client."""

    def __init__(self, page: Any, address: str) -> None:
        self._page = page
        page.goto(address)
        page.wait_for_function("window.auth")

    def run(self, call: str, *arguments: Any) -> Any:
        """Call a function of the client; return what it returns."""
        return self._page.evaluate(f"(values) => auth.{call}(...values)", list(arguments))

    def failure(self, call: str, *arguments: Any) -> Any:
        """Call a function that fails; return the code and the methods of the error."""
        return self._page.evaluate(f"(values) => ({CODE_OF})(auth.{call}(...values))", list(arguments))

    def signals(self) -> list[Any]:
        """What the page has told the passkey provider since the last call."""
        signals: list[Any] = self._page.evaluate("signals.splice(0)")
        return signals


@pytest.fixture(scope="module")
def portal(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, on http://localhost: browsers refuse passkeys on 127.0.0.1."""
    folder, port = tmp_path_factory.mktemp("portal"), free_port()
    (folder / "index.html").write_text(PAGE, "utf-8")
    shutil.copy(CLIENT, folder)
    origin = f"http://localhost:{port}"
    with (
        live_server(stores, folder, APP_ENV="local", RATE_LIMITS="on", WEBAUTHN_ORIGINS=origin) as service,
        page_server(folder, api_port=service.port, port=port),
    ):
        yield origin


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(params=[True, False], ids=["synced", "device-bound"])
def browser(request: pytest.FixtureRequest, ada: int, portal: str, chrome: Any) -> Iterator[Browser]:
    """A browser profile with a virtual authenticator."""
    profile = chrome.new_context()
    page = profile.new_page()
    devtools = profile.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    backup = {"defaultBackupEligibility": request.param, "defaultBackupState": request.param}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": PLATFORM | backup})
    yield Browser(page, portal)
    profile.close()


def test_pk1_a_user_adds_a_passkey_signs_in_with_it_also_by_autofill_and_removes_it(
    browser: Browser, query: Query
) -> None:
    browser.run("signIn", ADA, PASSWORD)
    added = browser.run("addPasskey", "Laptop")
    [(name, told)] = browser.signals()
    assert (name, told["rpId"], len(told["allAcceptedCredentialIds"])) == (
        "signalAllAcceptedCredentials",
        "localhost",
        1,
    )
    assert browser.run("renamePasskey", added["id"], "Old laptop")["name"] == "Old laptop"
    assert [each["name"] for each in browser.run("listPasskeys")] == ["Old laptop"]

    for get in ({}, {"mediation": "conditional"}):
        browser.run("signOut")
        browser.run("signInWithPasskey", get)
        me = browser.run("me")
        assert (me["email"], me["acr"], me["amr"]) == (ADA, "aal2", ["swk" if added["synced"] else "hwk", "user"])

    query("UPDATE sessions SET authenticated_at = now() - interval '601 seconds' RETURNING 1")
    browser.run("removePasskey", added["id"])  # after a reauthentication with the passkey itself
    assert browser.run("listPasskeys") == []
    [(name, told)] = browser.signals()
    assert (name, told["allAcceptedCredentialIds"]) == ("signalAllAcceptedCredentials", [])

    browser.run("signOut")
    assert browser.failure("signInWithPasskey")[0] == "credential_unknown"
    [(name, told)] = browser.signals()
    assert (name, told["rpId"]) == ("signalUnknownCredential", "localhost")


def test_sf1_a_user_enables_totp_and_continues_a_sign_in_with_a_code_or_a_passkey(
    browser: Browser, query: Query
) -> None:
    browser.run("signIn", ADA, PASSWORD)
    begun = browser.run("beginTotp")
    app = pyotp.parse_uri(begun["otpauth_uri"])
    assert isinstance(app, pyotp.TOTP)
    codes = browser.run("confirmTotp", app.now())
    assert len(codes) == 10
    browser.run("addPasskey")
    assert browser.run("secondFactor")["passkeys"] == 1

    browser.run("signOut")
    code, methods = browser.failure("signIn", ADA, PASSWORD)
    assert (code, set(methods)) == ("second_factor_required", {"totp", "passkey", "recovery_code"})
    browser.run("completeSignInWithPasskey")
    assert browser.run("me")["acr"] == "aal2"

    browser.run("signOut")
    assert browser.failure("signIn", ADA, PASSWORD)[0] == "second_factor_required"
    browser.run("completeSignIn", {"recovery_code": codes[0]})
    assert len(browser.run("replaceRecoveryCodes")) == 10
    browser.run("disableTotp")
    browser.run("signOut")
    browser.run("signIn", ADA, PASSWORD)


def test_sf1_an_app_reads_the_qr_code_that_the_page_shows_and_signs_in(
    ada: int, portal: str, chrome: Any, tmp_path: Path
) -> None:
    zbarimg = shutil.which("zbarimg")
    if not zbarimg:
        pytest.skip("zbarimg is not installed (.ci/run installs zbar-tools)")
    profile = chrome.new_context()
    page = profile.new_page()
    browser = Browser(page, portal)
    browser.run("signIn", ADA, PASSWORD)
    begun = browser.run("beginTotp")

    page.evaluate(SHOW, begun["qr_svg"])
    page.screenshot(path=tmp_path / "page.png")
    reading = subprocess.run(
        [zbarimg, "--quiet", "--raw", tmp_path / "page.png"], capture_output=True, text=True, check=True
    )

    assert reading.stdout.strip() == begun["otpauth_uri"]
    app = pyotp.parse_uri(reading.stdout.strip())
    assert isinstance(app, pyotp.TOTP)
    browser.run("confirmTotp", app.now())
    browser.run("signOut")
    assert browser.failure("signIn", ADA, PASSWORD)[0] == "second_factor_required"
    browser.run("completeSignIn", {"totp": app.at(time.time() + 30)})
    me = browser.run("me")
    assert (me["acr"], me["amr"]) == ("aal2", ["pwd", "otp", "mfa"])
    browser.run("disableTotp")
    profile.close()
