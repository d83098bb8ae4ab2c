"""CSRF check: an unsafe request that cookies authenticate has to come from an allowed page (OWASP, ASVS 3.5.1)."""

from flask import request

from auth_service.api.current import settings
from auth_service.errors import CrossSite

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-Requested-With"
"""Any non-empty value counts: a page of another origin can set the header only after a CORS preflight, which fails."""


def check_csrf(*methods: str) -> None:
    """Raise CrossSite unless an unsafe request comes from the own origin or one of CORS_ORIGINS, with `CSRF_HEADER`.

    `methods` replaces the method of the request: a forward-auth request is unsafe if one of several methods is.
    """
    if SAFE_METHODS.issuperset(methods or (request.method,)):
        return
    allowed = {settings().public_url, *settings().cors_origins}
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    # Every current browser sends Origin or Sec-Fetch-Site with an unsafe request. A request with neither is rejected.
    same_site = (origin in allowed) if origin is not None else site == "same-origin"
    if not same_site or not request.headers.get(CSRF_HEADER):
        raise CrossSite
