"""Token introspection (RFC 7662): whether the session of a token is open, and the current permissions of its user."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard
from urllib.parse import urlencode

from auth_service_verifier.access_token import AccessToken
from auth_service_verifier.errors import ConfigurationError, IntrospectionUnavailable, TokenRevoked
from auth_service_verifier.network import RequestFailed, fetch_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Introspection:
    """Asks the introspection endpoint with a service key of scope `tokens:introspect`."""

    url: str
    service_key: str = field(repr=False)
    time_limit: float

    def current(self, token: str, verified: AccessToken) -> AccessToken:
        """Return the verified token with the current roles and permissions of the user.

        Raises TokenRevoked, IntrospectionUnavailable, and ConfigurationError if the service key is not accepted.
        """
        state = self._ask(token)
        if state.get("active") is not True:
            raise TokenRevoked("not active")
        # The answer must be about the token that was verified here.
        if (state.get("sub"), state.get("sid")) != (str(verified.user_id), str(verified.session_id)):
            raise IntrospectionUnavailable("the answer is about another token")
        roles, permissions = state.get("roles"), state.get("permissions")
        if not (_is_list_of_texts(roles) and _is_list_of_texts(permissions)):
            raise IntrospectionUnavailable("the answer has no roles and permissions")
        return replace(verified, roles=tuple(roles), permissions=frozenset(permissions))

    def _ask(self, token: str) -> dict[str, Any]:
        form = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
        headers = {"Authorization": f"Bearer {self.service_key}"}
        try:
            state = fetch_json(self.url, time_limit=self.time_limit, form=form, headers=headers)
        except RequestFailed as failure:
            if failure.status in (401, 403, 404):
                raise ConfigurationError(_advice(failure)) from None
            raise IntrospectionUnavailable(str(failure)) from None
        if not isinstance(state, dict):
            raise IntrospectionUnavailable("the answer is not an object")
        return state


def _is_list_of_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _advice(failure: RequestFailed) -> str:
    error = failure.answer.get("error") if isinstance(failure.answer, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return (
        f"introspection answered {failure.status} {code or ''}".rstrip()
        + ": check introspection_url, and use a valid service key of scope tokens:introspect"
    )
