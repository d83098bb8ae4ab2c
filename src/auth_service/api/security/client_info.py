"""ClientInfo of the current request: IP address and device, for rate limits, the audit log and emails."""

from flask import g, request

from auth_service.adapters.crypto.device_tokens import describe
from auth_service.api.http.cookies import Cookie
from auth_service.api.security.client import client_address
from auth_service.services.audit.events import ClientInfo

DEVICE = Cookie(purpose="device", content="The device token of the last sign-in in this browser.", samesite="Lax")


def client_info() -> ClientInfo:
    """Return the IP address behind trusted proxies, the User-Agent in words, the device token and the request id."""
    return ClientInfo(
        address=client_address(),
        device=describe(request.headers.get("User-Agent")),
        device_token=DEVICE.read(),
        request_id=g.request_id,
    )
