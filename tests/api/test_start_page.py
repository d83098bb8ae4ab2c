"""Start page: `/` and `/docs` lead a developer to Swagger, in the profile `local` only."""

import pytest

from tests.support.application import MakeApp


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_start_page_of_a_developer_leads_to_swagger(path: str, make_app: MakeApp) -> None:
    client = make_app(app_env="local").test_client()

    response = client.get(path)

    assert (response.status_code, response.headers["Location"]) == (302, "/api/swagger")
    assert client.get(response.headers["Location"]).status_code == 200
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("values", [{}, {"app_env": "production"}, {"app_env": "local", "swagger_page": False}])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_other_profiles_have_no_start_page(path: str, values: dict[str, object], make_app: MakeApp) -> None:
    response = make_app(**values).test_client().get(path)

    assert response.status_code == 404
    assert response.json is not None
    assert response.json["error"]["code"] == "path_unknown"
