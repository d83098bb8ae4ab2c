"""`manage.py doctor`: checks settings, PostgreSQL, Redis, SMTP, clocks, proxies and ports, and prints all findings."""

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from auth_service.cli.doctor import checks, database
from auth_service.cli.doctor.findings import Clock, Finding, State, fail, ok, warn
from auth_service.cli.engines import with_engines
from auth_service.cli.settings import read_settings
from auth_service.settings import Settings, SettingsRefused

MARKS = {State.OK: "ok  ", State.WARNING: "warn", State.FAILURE: "FAIL"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def doctor(*, as_json: bool) -> None:
    """Check the settings and everything that the service depends on.

    Prints every finding and changes nothing. Exits with status 1 if something prevents the service from working.
    """
    logging.disable(logging.CRITICAL)  # the findings say the same in one line
    healthy = True
    findings: list[Finding] = []
    for finding in examine():
        healthy = healthy and finding.state is not State.FAILURE
        findings.append(finding)
        if not as_json:
            print(f"{MARKS[finding.state]}  {finding.check:<9} {finding.text}", flush=True)
    if as_json:
        print(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print("\nEverything that the service needs works." if healthy else "\nCorrect the lines with FAIL.")
    sys.exit(0 if healthy else 1)


def examine() -> Iterator[Finding]:
    """Yield all findings, in the order in which an operator corrects them."""
    from auth_service.embedded.processes import EngineError  # noqa: PLC0415 - its wheels are missing in production

    try:
        settings = read_settings()
    except SettingsRefused as error:
        yield from (fail("settings", line) for line in str(error).splitlines())
        return
    try:
        with with_engines(settings) as complete:
            yield from _examine(complete)
    except SettingsRefused as error:
        yield fail("settings", str(error))
    except EngineError as error:
        yield fail("database", str(error))


def _examine(settings: Settings) -> Iterator[Finding]:
    yield ok("settings", f"APP_ENV={settings.app_env}; every value is valid")
    yield from (warn("settings", line) for line in Settings.misspelt_in_environment())
    clocks: list[Clock] = []
    yield from database.examine(settings, clocks)
    yield from checks.redis(settings, clocks)
    yield from checks.smtp(settings)
    yield from checks.clocks(clocks)
    yield from checks.proxies(settings)
    yield from checks.ports(settings)
