"""An SMTP server that follows the protocol, a transport to it, and certificates."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth_service.adapters.email.smtp_transport import SmtpTransport
from tests.support.smtp import certificate, transport_to
from tests.support.smtp_sink import SmtpSink


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink(drip=0.2) as sink:
        yield sink


@pytest.fixture
def transport(sink: SmtpSink) -> Iterator[SmtpTransport]:
    with transport_to(sink.url) as transport:
        yield transport


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("trusted"), "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("elsewhere"), "elsewhere.test")
