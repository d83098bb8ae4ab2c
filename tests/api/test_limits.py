"""Rate limits per client IP address: `X-Forwarded-For` is read from trusted proxies only."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.api.security.client import address_behind_proxies
from tests.support.actors import USERS, ApiClient
from tests.support.application import MakeApp

ADA = "ada@example.org"
PROXY, CLIENT = "10.0.0.1", "203.0.113.7"
TRUSTED = tuple(ipaddress.ip_network(network) for network in ("10.0.0.0/8", "192.0.2.1/32", "fd00::/8"))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PEER = (ipaddress.ip_network("192.0.2.1/32"),)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (CLIENT, None, CLIENT),
        (CLIENT, "198.51.100.1", CLIENT),  # the header of an untrusted peer is ignored
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f" {CLIENT} ", CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}", CLIENT),  # the client controls only the left end
        (PROXY, f"{CLIENT}, 10.9.9.9, 192.0.2.1", CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}, 10.9.9.9", CLIENT),
        (PROXY, "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        (PROXY, f"{CLIENT}, unknown", PROXY),
        (PROXY, f"{CLIENT}, unknown, 10.2.2.2", "10.2.2.2"),
        (PROXY, f"unknown, {CLIENT}", CLIENT),
        (PROXY, ",,,", PROXY),
        (PROXY, f"{CLIENT},", CLIENT),  # empty elements of a list do not count (RFC 9110, 5.6.1)
        (PROXY, f"{CLIENT}, ,", CLIENT),
        (PROXY, f"{CLIENT}:4711", CLIENT),  # a port, as Azure and HAProxy add it, belongs to no address
        (PROXY, f"198.51.100.1:80, {CLIENT}:4711, 10.9.9.9:8080", CLIENT),
        (PROXY, "[2001:db8::1]", "2001:db8::1"),
        (PROXY, "[2001:db8::1]:443", "2001:db8::1"),
        (PROXY, f"[::ffff:{CLIENT}]:443", CLIENT),
        (PROXY, f"{CLIENT}, [::ffff:10.0.0.2]:443", CLIENT),
        (PROXY, "[fe80::1%eth0]:443", "fe80::1"),
        (PROXY, 'for="[2001:db8::1]:4711"', "2001:db8::1"),  # an element of `Forwarded` (RFC 7239)
        (PROXY, f'For="{CLIENT}:4711"', CLIENT),
        (PROXY, f"for={CLIENT};proto=https", PROXY),
        (PROXY, f"{CLIENT}:port", PROXY),
        (PROXY, f"{CLIENT}:", PROXY),
        (PROXY, ":4711", PROXY),
        (PROXY, "[]:4711", PROXY),
        (PROXY, "[2001:db8::1", PROXY),
        (PROXY, f'"{CLIENT}', PROXY),
        (PROXY, "_hidden", PROXY),
        (PROXY, "203.0.113.007", PROXY),
        (PROXY, "٢٠٣.0.113.7", PROXY),
        (PROXY, "0", PROXY),
        (PROXY, "x" * 8000, PROXY),
        (PROXY, f"{CLIENT}, " + "10.1.1.1, " * 1000 + "10.2.2.2", "10.1.1.1"),  # the number of hops is bounded
        (PROXY, "2001:db8::1", "2001:db8::1"),
        (PROXY, "fe80::1%eth0", "fe80::1"),  # PostgreSQL does not support zones
        (PROXY, "::ffff:203.0.113.7", CLIENT),
        ("::ffff:10.0.0.1", CLIENT, CLIENT),
        ("fd00::1", CLIENT, CLIENT),
        ("2001:db8::1", CLIENT, "2001:db8::1"),
        (None, None, "0.0.0.0"),
        (None, CLIENT, "0.0.0.0"),
        ("", CLIENT, "0.0.0.0"),
    ],
)
def test_rl1_the_client_is_the_rightmost_hop_that_is_no_proxy(
    peer: str | None, forwarded: str | None, client: str
) -> None:
    assert str(address_behind_proxies(peer, forwarded, TRUSTED)) == client


def look_ups(make_app: MakeApp, *requests: tuple[str, str | None]) -> list[int]:
    """The statuses of look-ups from peers with an X-Forwarded-For; the limit is two per client."""
    app = make_app(limit_look_ups="2/1m", trusted_proxies="10.0.0.0/8,fd00::/8")
    statuses = []
    for peer, forwarded in requests:
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        path = f"?email={ADA}"
        statuses.append(ApiClient(app, address=peer).call("GET", path, headers=headers).status_code)
    return statuses


def test_rl1_a_spoofed_header_does_not_evade_the_limit(make_app: MakeApp) -> None:
    spoofed = [(CLIENT, f"198.51.100.{number}") for number in range(5)]
    assert look_ups(make_app, *spoofed) == [404, 404, 429, 429, 429]


def test_rl1_spoofed_hops_before_a_proxy_do_not_evade_the_limit(make_app: MakeApp) -> None:
    spoofed = [(PROXY, f"198.51.100.{number}, {CLIENT}") for number in range(4)]
    assert look_ups(make_app, *spoofed) == [404, 404, 429, 429]


def test_rl1_clients_of_one_proxy_have_separate_limits(make_app: MakeApp) -> None:
    requests = [(PROXY, "198.51.100.1"), (PROXY, "198.51.100.1"), (PROXY, "198.51.100.2"), (PROXY, "198.51.100.1")]
    assert look_ups(make_app, *requests) == [404, 404, 404, 429]


def test_rl1_an_invalid_header_does_not_evade_the_limit(make_app: MakeApp) -> None:
    requests = [(PROXY, header) for header in ("unknown", ",", "127.1", "invalid, unknown")]
    assert look_ups(make_app, *requests) == [404, 404, 429, 429]


def test_rl1_an_ipv6_network_is_one_client(make_app: MakeApp) -> None:
    near = [(f"2001:db8:1:1::{number}", None) for number in (1, 2, 3)]
    far = [("2001:db8:1:2::1", None)]
    assert look_ups(make_app, *near, *far) == [404, 404, 429, 404]
    forwarded = [(PROXY, f"2001:db8:2:1:{number}::1") for number in (1, 2, 3)]
    assert look_ups(make_app, *forwarded) == [404, 404, 429]


def test_rl1_an_ipv4_mapped_ipv6_address_is_the_same_client(make_app: MakeApp) -> None:
    assert look_ups(make_app, (CLIENT, None), (f"::ffff:{CLIENT}", None), (CLIENT, None)) == [404, 404, 429]


@pytest.mark.parametrize("hop", ["{}", "{}:{port}", '"{}"', "for={}", 'for="{}:{port}"', " {}:{port} "])
@given(address=st.ip_addresses(), port=st.integers(1, 65535))
def test_rl1_a_hop_is_the_same_client_in_every_form(
    hop: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    text = f"[{address}]" if address.version == 6 else str(address)
    mapped = getattr(address, "ipv4_mapped", None) or address

    assert address_behind_proxies("192.0.2.1", hop.format(text, port=port), PEER) == mapped


def test_rl1_a_proxy_that_adds_ports_does_not_make_all_clients_one(make_app: MakeApp) -> None:
    requests = [(PROXY, f"198.51.100.{number}:{40000 + number}") for number in range(4)]
    requests += [(PROXY, f"198.51.100.1:{port}") for port in (41000, 42000, 43000)]
    assert look_ups(make_app, *requests) == [404, 404, 404, 404, 404, 429, 429]


def test_rl1_a_network_of_ipv4_mapped_proxies_is_a_network_of_ipv4(make_app: MakeApp) -> None:
    trusted = make_app(trusted_proxies="::ffff:10.0.0.0/104,::/32").extensions["auth_service"].settings.trusted_proxies
    assert [str(network) for network in trusted] == ["10.0.0.0/8", "::/32"]


@pytest.mark.clock
def test_rl4_other_spellings_of_a_path_share_the_limit(make_app: MakeApp) -> None:
    app = make_app(limit_look_ups="2/1m")
    requests = [("", {}), ("", {"PATH_INFO": "//api/v1/users"}), ("/api%2fv1/users", {}), ("/%61pi/v1/users", {})]

    responses = [
        app.test_client().get(path or USERS, query_string={"email": ADA}, environ_overrides=environ)
        for path, environ in requests
    ]

    assert [response.status_code for response in responses] == [404, 404, 429, 429]
    error = responses[-1].json["error"]  # type: ignore[index]
    assert error["code"] == "too_many_requests"
    assert 0 < error["retry_after"] == int(responses[-1].headers["Retry-After"]) <= 60
