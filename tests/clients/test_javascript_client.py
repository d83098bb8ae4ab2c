"""JavaScript client: its size and types, the npm package, and every function in Node against a running service."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auth_service.adapters.crypto.access_tokens import KeySet
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.forgery import Forger, decoded
from tests.support.live import ROOT, Live
from tests.support.node import install, node, npm

PACKAGE = ROOT / "src" / "javascript_client"
CLIENT = PACKAGE / "client.js"
TESTS = Path(__file__).with_name("client.test.mjs")
SESSIONS = 7
"""How many sessions with an expired access token the tests in Node use."""


def test_oa4_the_client_is_one_file_of_at_most_16_kib_without_dependencies() -> None:
    source = CLIENT.read_text("utf-8")
    package = json.loads((PACKAGE / "package.json").read_text("utf-8"))

    assert CLIENT.stat().st_size <= 16 * 1024
    assert not re.findall(r"^\s*(?:import|export .* from)\b|\bimport\(", source, re.MULTILINE)
    assert "dependencies" not in package
    assert package["devDependencies"].keys() == {"openapi-typescript", "typescript"}


def test_oa5_the_client_has_no_lock_between_tabs() -> None:
    source = CLIENT.read_text("utf-8")

    assert not re.findall(r"navigator\.locks|BroadcastChannel|localStorage|sessionStorage|document\.cookie", source)


@pytest.mark.slow
def test_oa4_the_client_passes_strict_type_checks_and_its_types_are_those_of_the_openapi_document(
    tmp_path: Path,
) -> None:
    node(at_least=(20, 0))
    folder = tmp_path / PACKAGE.relative_to(ROOT)
    folder.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "openapi.json", tmp_path / "docs")
    install(PACKAGE, folder, "client.js", "client.d.ts", "types.d.ts", "tsconfig.json", "generate.mjs")

    result = subprocess.run(
        [npm(), "run", "--silent", "types"], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )

    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    for name in ("openapi.d.ts", "client.d.ts"):
        assert (folder / name).read_text("utf-8") == (PACKAGE / name).read_text("utf-8"), (
            "write it again: npm ci && npm run types, in src/javascript_client"
        )


USE = """
import { ApiError, createClient, allItems, type Client, type ClientOptions, type Me } from "@auth-service/client";
const options: ClientOptions = { transport: "bearer", onStepUp: (error) => error.details };
const auth: Client = createClient(options);
export async function use(): Promise<[Me, string[]]> {
  const begun = await auth.begin("ada@example.org");
  if (begun.next === "confirm_email") console.log(begun.expires_in.toFixed());
  // @ts-expect-error an account is deleted with a proof
  await auth.deleteAccount();
  // @ts-expect-error there are two transports
  createClient({ transport: "cookies" });
  const kinds: string[] = [];
  for await (const event of allItems(auth.listHistory)) kinds.push(event.kind);
  try {
    await auth.signIn("ada@example.org", "x");
  } catch (error) {
    if (error instanceof ApiError && error.retryAfter !== null) setTimeout(use, error.retryAfter * 1000);
  }
  return [await auth.me(), kinds];
}
"""


@pytest.mark.slow
def test_oa4_npm_packs_the_files_that_a_front_end_needs(tmp_path: Path) -> None:
    node(at_least=(20, 0))
    result = subprocess.run(
        [npm(), "pack", PACKAGE, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    [archive] = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        names = {member.name for member in packed.getmembers()}
        client = packed.extractfile("package/client.js")
        assert client is not None
        assert client.read() == CLIENT.read_bytes()
    files = ("package.json", "README.md", "client.js", "client.d.ts", "index.d.ts", "openapi.d.ts", "types.d.ts")
    assert names == {f"package/{name}" for name in files}

    front_end = tmp_path / "front-end"
    front_end.mkdir()
    (front_end / "package.json").write_text('{"private": true, "type": "module"}')
    installed = subprocess.run(
        [npm(), "install", "--offline", "--no-audit", "--no-fund", archive],
        cwd=front_end, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    (front_end / "use.ts").write_text(USE)
    (tmp_path / "tools").mkdir()
    tools = install(PACKAGE, tmp_path / "tools")
    checked = subprocess.run(
        [tools / "node_modules/.bin/tsc", "--noEmit", "--strict", "--module", "nodenext", "--target", "es2022",
         "--lib", "es2022,dom,dom.iterable", "use.ts"],
        cwd=front_end, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout) == (0, "")
    (front_end / "use.mjs").write_text(
        'import { createClient } from "@auth-service/client"; console.log(typeof createClient().signIn);'
    )
    loaded = subprocess.run([node(), "use.mjs"], cwd=front_end, capture_output=True, text=True, check=False)
    assert (loaded.stdout, loaded.stderr) == ("function\n", "")


@pytest.fixture
def expired_sessions(
    ada: int, api: ApiClient, key_set: KeySet, local_service: Live
) -> Callable[[int], list[dict[str, str]]]:
    """Makes sessions of Ada whose access token has expired."""

    def make(count: int) -> list[dict[str, str]]:
        sessions = []
        for _ in range(count):
            tokens = api.signed_in(ADA, PASSWORD)
            header, claims, _ = tokens["access_token"].split(".")
            forger = Forger(header=decoded(header), claims=decoded(claims), key=key_set.signing_key)
            issued_at = forger.claims["iat"] - 1000
            access = forger.token(iat=issued_at, nbf=issued_at, exp=issued_at + 900)
            sessions.append({"access_token": access, "refresh_token": tokens["refresh_token"]})
        return sessions

    return make


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_oa4_every_function_works_in_node(
    local_service: Live, inbox_of_local: Mailbox, expired_sessions: Callable[[int], list[dict[str, str]]]
) -> None:
    environment = {
        "SERVICE": f"http://127.0.0.1:{local_service.port}",
        "CLIENT": str(CLIENT),
        "EXPIRED": json.dumps(expired_sessions(SESSIONS)),
    }
    with subprocess.Popen(
        [node(), "--test", "--test-reporter=spec", TESTS],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        give_up_at = time.monotonic() + 180
        while process.poll() is None and time.monotonic() < give_up_at:
            inbox_of_local.deliver()
            time.sleep(0.1)
        process.kill()
        printed = process.communicate()[0]

    assert process.returncode == 0, printed
    assert int(re.findall(r"^ℹ pass (\d+)$", printed, re.MULTILINE)[0]) > 10, printed
