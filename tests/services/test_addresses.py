"""The short way of reading plain addresses: whatever takes it, the long way would have read the same."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from auth_service.services.email import addresses

PLAIN = "abcxyz019._+-"
ODD = ["localhost", "printer.local", "xn--e1afmkfd.xn--p1ai", "xn--a.org", "ab--c.org", "1.2.3.4", "-a.org", "a..org"]
DOMAINS = st.sampled_from(["example.org", "front.test", "a.org.", "a_b.org", "x.arpa", "x.onion", *ODD])
LONG_DOMAINS = st.integers(55, 70).map(lambda length: ".".join(["a" * length] * 4)) | st.just("a" * 64 + ".org")


def read(text: str, *, shortly: bool) -> addresses.Address | str:
    try:
        return addresses.parse(text) if shortly else addresses.checked(unicodedata.normalize("NFKC", text))
    except ValueError as refused:
        return str(refused)


@given(
    local_part=st.text(PLAIN, max_size=66) | st.sampled_from(["postmaster", "Postmaster", "a=?b", "ада"]),
    domain=DOMAINS | LONG_DOMAINS | st.text(PLAIN, max_size=12).map(lambda name: f"{name}.org"),
)
@example(local_part="a" * 64, domain="example.org")
@example(local_part="a" * 65, domain="example.org")
@example(local_part="a" * 64, domain=".".join(["a" * 46] * 4) + ".a")
def test_the_short_way_reads_what_the_long_way_reads(local_part: str, domain: str) -> None:
    address = f"{local_part}@{domain}"

    assert read(address, shortly=True) == read(address, shortly=False)


def test_most_addresses_go_the_short_way() -> None:
    assert addresses.PLAIN.fullmatch("ada.lovelace+news@mail.example.org")
