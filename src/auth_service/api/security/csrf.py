"""CSRF check: an unsafe request that cookies authenticate has to come from an allowed page (OWASP, ASVS 3.5.1)."""

from flask import request

from auth_service.api.current import settings
from auth_service.errors import CrossSite

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-Requested-With"
"""Any value that is not empty: a page of another origin cannot set it without a preflight, which is refused."""


def check_csrf(*methods: str) -> None:
    """Raise CrossSite unless an unsafe request comes from our own origin or an allowed one, and carries the header.

    `methods` are those of the request where it has others than its own: a forward-auth request has two.
    """
    if SAFE_METHODS.issuperset(methods or (request.method,)):
        return
    allowed = {settings().public_url, *settings().cors_origins}
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    # Every current browser sends at least one of the two with an unsafe request. A request with neither is refused.
    same_site = (origin in allowed) if origin is not None else site == "same-origin"
    if not same_site or not request.headers.get(CSRF_HEADER):
        raise CrossSite
