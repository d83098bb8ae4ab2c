"""Where a request came from, for history and letters."""

from flask import current_app, request

from auth_service.adapters.devices import describe
from auth_service.api.limits import client_address
from auth_service.services.history import Origin
from auth_service.settings import Settings


def origin() -> Origin:
    """The client's address, found through trusted proxies only, and its device in words."""
    settings: Settings = current_app.extensions["auth_service"].settings
    address = client_address(request.remote_addr, request.headers.get("X-Forwarded-For"), settings.trusted_proxies)
    return Origin(address=str(address), device=describe(request.headers.get("User-Agent")))
