"""Where a request came from, for history and letters."""

from flask import request

from auth_service.adapters.crypto.device_tokens import describe
from auth_service.api.security.client import client_address
from auth_service.services.audit.events import ClientInfo


def client_info() -> ClientInfo:
    """The client's address, found through trusted proxies only, and its device in words."""
    return ClientInfo(address=client_address(), device=describe(request.headers.get("User-Agent")))
