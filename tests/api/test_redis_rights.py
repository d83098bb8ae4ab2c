"""Rights of the Redis user (ACL): the service works with exactly those that docs/scaling.md lists."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.redis import inspection
from auth_service.api.http import metrics
from auth_service.server.wsgi import _reasons_not_to_start
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.application import MakeApp
from tests.support.documents import ROOT
from tests.support.stores import Stores


def documented_rights() -> list[str]:
    """The rules of the ACL in docs/scaling.md, without the password."""
    [line] = re.findall(r"^ACL SETUSER auth (.*)$", (ROOT / "docs/scaling.md").read_text("utf-8"), re.MULTILINE)
    return [rule for rule in line.split() if not rule.startswith((">", "on"))]


def commands_of_the_scripts() -> set[str]:
    """The Redis commands that the Lua scripts call, in capitals."""
    scripts = "".join(path.read_text("utf-8") for path in (ROOT / "src/auth_service/adapters/redis").glob("*.py"))
    return set(re.findall(r"redis\.call\('([A-Z]+)'", scripts))


def test_the_documented_rights_are_those_that_the_scripts_need() -> None:
    granted = {rule.removeprefix("+") for rule in documented_rights() if rule.startswith("+")}

    assert granted == {command.lower() for command in commands_of_the_scripts()} | {"eval", "evalsha", "get", "set"}


def test_the_doctor_tries_the_commands_of_the_scripts() -> None:
    assert set(inspection.COMMANDS) == commands_of_the_scripts()


@pytest.mark.parametrize("command", sorted(inspection.COMMANDS))
def test_the_doctor_names_a_denied_command(stores: Stores, command: str) -> None:
    address = urlsplit(stores.redis_url)
    with redis.Redis.from_url(stores.redis_url) as client:
        client.execute_command("ACL", "SETUSER", "doctor", "reset", "on", ">word", "~*", "+@all", f"-{command}")
        facts = inspection.inspect(f"redis://doctor:word@{address.hostname}:{address.port}/0")
        client.acl_deluser("doctor")

    assert facts.denied == (command,)


RIGHTS = {
    "the documented rights": documented_rights(),
    "all but dangerous commands": ["~*", "+@all", "-@dangerous"],
}


@pytest.fixture(params=RIGHTS)
def restricted(request: pytest.FixtureRequest, stores: Stores, make_app: MakeApp) -> Iterator[Flask]:
    """An application whose Redis user has these rights and no others."""
    address = urlsplit(stores.redis_url)
    with redis.Redis.from_url(stores.redis_url) as client:
        client.execute_command("ACL", "SETUSER", "auth", "reset", "on", ">word", *RIGHTS[request.param])
        client.execute_command("ACL", "LOG", "RESET")
        client.script_flush()
        yield make_app(redis_url=f"redis://auth:word@{address.hostname}:{address.port}/0")
        client.acl_deluser("auth")


def test_everything_works_with_exactly_the_documented_rights(restricted: Flask, stores: Stores, tmp_path: Path) -> None:
    api, mailbox = ApiClient(restricted), Mailbox(restricted, DevInbox(tmp_path))
    api.register(ADA, mailbox, password=PASSWORD)
    for wrong in range(6):
        api.sign_in(ADA, f"wrong {wrong}")
    assert api.ask_to_sign_in(ADA).status_code == 200
    assert api.sign_in_by_code(ADA, "000000").status_code == 401
    assert api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).status_code == 200
    assert api.ask_to_recover(ADA).status_code == 200
    assert api.recover(ADA, mailbox.code_sent_to(ADA), "another horse battery").status_code == 200

    assert restricted.test_client().get("/health/ready").json == {"success": True, "result": "Ok"}
    with restricted.app_context():
        assert _reasons_not_to_start(restricted.extensions["auth_service"]) == []
    gauges = {gauge.name: gauge.samples[0].value for gauge in metrics.RedisCollector(restricted).collect()}
    assert (gauges["auth_redis_up"], gauges["auth_redis_writable"]) == (1, 1)
    with redis.Redis.from_url(stores.redis_url) as client:
        refused = {str(entry["object"]) for entry in client.acl_log()}
    # What the server may hide, and the name of the client library, which nothing needs.
    assert refused <= {"info", "config|get", "client|setinfo"}
