"""Round trips of other services, operations and pages: the typical request of every endpoint."""

from tests.support.accounts import Accounts
from tests.support.round_trips_cases import CASES, Request, row

__all__ = ["CASES"]

# Other services.


@row("POST /api/v1/tokens/introspect", "access token")
def _(accounts: Accounts) -> Request:
    body, headers = (
        {"token": accounts.shared.tokens["access_token"]},
        {"Authorization": f"Bearer {accounts.service_key}"},
    )
    client = accounts.app.test_client(use_cookies=False)
    return lambda: client.post("/api/v1/tokens/introspect", json=body, headers=headers)


@row("POST /api/v1/tokens/revoke", "access token")
def _(accounts: Accounts) -> Request:
    token = accounts.account().tokens["access_token"]
    client = accounts.app.test_client(use_cookies=False)
    return lambda: client.post("/api/v1/tokens/revoke", json={"token": token})


@row("GET /api/v1/errors")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/api/v1/errors")


@row("GET /api/v1/sessions/verify")
def _(accounts: Accounts) -> Request:
    token = accounts.shared.tokens["access_token"]
    return lambda: accounts.get("/api/v1/sessions/verify", Authorization=f"Bearer {token}")


@row("GET /.well-known/jwks.json")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/.well-known/jwks.json")


# Operations and pages.


@row("GET /.well-known/oauth-authorization-server")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/.well-known/oauth-authorization-server")


@row("GET /health/live")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/health/live")


@row("GET /health/ready")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/health/ready")


@row("GET /account/undo")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/account/undo")


@row("GET /api/swagger")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/api/swagger")


@row("GET /api/swagger.json")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/api/swagger.json")


@row("GET /api/openapi")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/api/openapi")


@row("GET /api/openapi.json")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/api/openapi.json")


@row("GET /swaggerui/{filename}")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/swaggerui/swagger-ui.css")
