"""CSRF check: an unsafe request that cookies authenticate has to come from an allowed page (OWASP, ASVS 3.5.1)."""

from flask import request

from auth_service.api.current import settings
from auth_service.errors import CrossSite

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-Requested-With"
"""Any non-empty value counts: a page of another origin can set the header only after a CORS preflight, which fails."""


def check_csrf(*methods: str) -> None:
    """Raise CrossSite unless an unsafe request has `CSRF_HEADER` and comes from PUBLIC_URL or one of CORS_ORIGINS.

    `methods` replaces the method of the request. If one of several methods (forward auth) is unsafe, the request is.
    """
    if SAFE_METHODS.issuperset(methods or (request.method,)):
        return
    allowed = {settings().public_url, *settings().cors_origins}
    origin = request.headers.get("Origin")
    fetch_site = request.headers.get("Sec-Fetch-Site")
    # Every current browser sends Origin or Sec-Fetch-Site with an unsafe request. A request with neither is rejected.
    is_allowed = (origin in allowed) if origin is not None else fetch_site == "same-origin"
    if not is_allowed or not request.headers.get(CSRF_HEADER):
        raise CrossSite
