"""`.ci/compare_swagger.py`: a change of wording in the Swagger document passes, a change of HTTP behaviour does not."""

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.application import MakeApp
from tests.support.documents import ROOT

SIGN_UP = "/v1/users/sign_up"


@pytest.fixture(scope="module")
def old(make_app: MakeApp) -> Any:
    """The document of the service, for all tests; each changes a copy."""
    return make_app().test_client().get("/api/swagger.json").json


def compare(folder: Path, old: Any, new: Any) -> tuple[int, str]:
    """Exit status and output of the script."""
    paths = []
    for name, document in (("old", old), ("new", new)):
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(document))
    ended = subprocess.run(
        [sys.executable, ROOT / ".ci" / "compare_swagger.py", *paths], capture_output=True, text=True, check=False
    )
    assert not ended.stderr
    return ended.returncode, ended.stdout


def _summary(document: Any) -> None:
    document["paths"][SIGN_UP]["post"]["summary"] = "Something else"


def _description(document: Any) -> None:
    document["paths"][SIGN_UP]["post"]["responses"]["409"]["description"] = "Something else"


def _message(document: Any) -> None:
    example = document["paths"][SIGN_UP]["post"]["responses"]["409"]["examples"]["application/json"]
    example["error"]["msg"] = "Something else."


def _schema_name(document: Any) -> None:
    renamed = json.dumps(document).replace('"#/definitions/SignUpRequest"', '"#/definitions/NewUser"')
    document.update(json.loads(renamed))
    document["definitions"]["NewUser"] = document["definitions"].pop("SignUpRequest")


@pytest.mark.parametrize("change", [_summary, _description, _message, _schema_name])
def test_a_change_of_wording_is_no_difference(old: Any, tmp_path: Path, change: Callable[[Any], None]) -> None:
    new = deepcopy(old)
    change(new)

    assert new != old
    assert compare(tmp_path, old, new) == (0, "")


def _code(document: Any) -> None:
    example = document["paths"][SIGN_UP]["post"]["responses"]["409"]["examples"]["application/json"]
    example["error"]["code"] = "address_taken"


def _status(document: Any) -> None:
    responses = document["paths"][SIGN_UP]["post"]["responses"]
    responses["410"] = responses.pop("409")


def _path(document: Any) -> None:
    document["paths"]["/v1/users/register"] = document["paths"].pop(SIGN_UP)


def _required_field(document: Any) -> None:
    document["definitions"]["SignUpRequest"]["required"] = []


def _field_type(document: Any) -> None:
    document["definitions"]["UserResponse"]["properties"]["verified_mail"]["type"] = "string"


def _field_called_description(document: Any) -> None:
    document["definitions"]["UserResponse"]["properties"]["description"] = {"type": "string"}


def _other_schema(document: Any) -> None:
    schema = document["paths"][SIGN_UP]["post"]["responses"]["201"]["schema"]
    schema["$ref"] = "#/definitions/OkResponse"


def _unused_schema(document: Any) -> None:
    document["definitions"]["Unused"] = {"type": "object"}


def _security(document: Any) -> None:
    document["paths"][SIGN_UP]["post"]["security"] = [{"bearer": []}]


def _operation_id(document: Any) -> None:
    document["paths"][SIGN_UP]["post"]["operationId"] = "register"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_code, f"/paths/{SIGN_UP}/post/responses/409/examples/application/json/error/code: "),
        (_status, f"/paths/{SIGN_UP}/post/responses/410: only in the new document"),
        (_path, f"/paths/{SIGN_UP}: only in the old document"),
        (_required_field, f"/paths/{SIGN_UP}/post/parameters: "),
        (_field_type, f"/paths/{SIGN_UP}/post/responses/201/schema/properties/data/properties/verified_mail/type: "),
        (_field_called_description, "/schema/properties/data/properties/description: only in the new document"),
        (_other_schema, f"/paths/{SIGN_UP}/post/responses/201/schema/properties/data: only in the old document"),
        (_unused_schema, "/definitions: "),
        (_security, f"/paths/{SIGN_UP}/post/security: only in the new document"),
        (_operation_id, f"/paths/{SIGN_UP}/post/operationId: "),
    ],
)
def test_a_change_of_behaviour_is_a_difference(
    old: Any, tmp_path: Path, change: Callable[[Any], None], place: str
) -> None:
    new = deepcopy(old)
    change(new)

    status, printed = compare(tmp_path, old, new)
    assert status == 1
    assert place in printed
