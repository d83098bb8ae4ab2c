"""Fuzzing of the administrative operations: every response to an administrator conforms to the Swagger document."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests.structures import CaseInsensitiveDict
from schemathesis import Case, GenerationMode

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.models.permission import Permission
from tests.support.actors import Mailbox
from tests.support.administration import Administration
from tests.support.application import MakeApp
from tests.support.fuzzing import DOCUMENT, checks_of, is_administrative

EXAMPLES = 30


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_response_of_an_administrative_operation_conforms_to_the_document(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(rate_limits="off")
    administration = Administration(app, Mailbox(app, DevInbox(tmp_path / "inbox")))
    administrator = administration.administrator()
    service = administration.service(*Permission)
    paths = app.test_client().get(DOCUMENT).get_json()["paths"]
    labels = [
        f"{method.upper()} {path}"
        for path in filter(is_administrative, paths)
        for method in paths[path]
        if method != "parameters"
    ]
    assert len(labels) > 15

    for label in labels:
        headers = service.headers if "/srv/" in label else administrator.headers
        assert responses(app, label, headers)[401] == 0, label


def responses(app: Any, label: str, headers: dict[str, str]) -> Counter[int]:
    """Send valid and invalid requests generated from the document; return the observed statuses."""
    operation: Any = schemathesis.openapi.from_wsgi(DOCUMENT, app).find_operation_by_label(label)
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=good | bad)
    def answers_are_documented(case: Case[Any]) -> None:
        case.headers = CaseInsensitiveDict(headers)
        answer = case.call()
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=checks_of(answer.status_code))

    answers_are_documented()
    return statuses
