"""CSRF check: an unsafe request with cookies has to come from an allowed page (OWASP, ASVS 3.5.1).

Browsers add cookies to the requests of any page. SameSite does not help against a page on a sibling host or another
port, which belongs to the same site. There are two rules:

- `check_origin`, which the contract runs for every endpoint: no unsafe request with a cookie from a foreign page.
- `check_csrf`, where session cookies authenticate the request or are to be set: a request that does not say where it
  comes from is rejected too, and `CSRF_HEADER` is required.
"""

from flask import request

from auth_service.api.current import settings
from auth_service.errors import CrossSite

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-Requested-With"
"""Any non-empty value counts: a page of another origin can set the header only after a CORS preflight, which fails."""

ORIGIN, SITE, HEADER = "origin", "site", "header"
"""Values of `reason`: the origin is not allowed; the page belongs to another site; `CSRF_HEADER` is missing."""


def check_origin() -> None:
    """Raise CrossSite if a page of a foreign origin sends an unsafe request with cookies.

    Requests without `Origin` pass: programs send none, browsers send it with every unsafe request. Requests with
    `Authorization` pass, which a page of another origin can set only after a CORS preflight, which fails.
    """
    if request.method in SAFE_METHODS or "Cookie" not in request.headers or "Authorization" in request.headers:
        return
    if _comes_from_allowed_page() is False:
        raise CrossSite(reason=ORIGIN)


def check_csrf(*methods: str) -> None:
    """Raise CrossSite unless an unsafe request has `CSRF_HEADER` and comes from an allowed page.

    `methods` replaces the method of the request. If one of several methods (forward auth) is unsafe, the request is.
    """
    if SAFE_METHODS.issuperset(methods or (request.method,)):
        return
    if not _comes_from_allowed_page():
        raise CrossSite(reason=ORIGIN)
    if not request.headers.get(CSRF_HEADER):
        raise CrossSite(reason=HEADER)


def check_same_site() -> None:
    """Raise CrossSite if the browser says that the page belongs to another site than the API.

    The browser would not keep the cookies of the response (SameSite), although the origin of the page is allowed. For a
    browser `localhost` and `127.0.0.1` are two sites.
    """
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise CrossSite(reason=SITE)


def _comes_from_allowed_page() -> bool | None:
    """Whether the request comes from PUBLIC_URL or an allowed origin; None if it does not say where it comes from."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin == settings().public_url or settings().allows_origin(origin)
    # Browsers send Origin with every unsafe request; where a proxy has removed it, this header is left.
    fetch_site = request.headers.get("Sec-Fetch-Site")
    return None if fetch_site in (None, "none") else fetch_site == "same-origin"
