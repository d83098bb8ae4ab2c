"""ClientInfo of the current request: IP address and device, for the audit log and emails."""

from flask import request

from auth_service.adapters.crypto.device_tokens import describe
from auth_service.api.security.client import client_address
from auth_service.services.audit.events import ClientInfo


def client_info() -> ClientInfo:
    """Return the IP address of the client, behind trusted proxies, and a description of its device (User-Agent)."""
    return ClientInfo(address=client_address(), device=describe(request.headers.get("User-Agent")))
