"""Names: how they are read, and which the CA may vouch for."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from certs import NameInvalidError, NameOutsideConstraintsError
from certs.names import constraints_for, machine_addresses, machine_names, parse, permits, require_permitted


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kiosk.local", "kiosk.local"),
        (" Kiosk.LOCAL. ", "kiosk.local"),
        ("küche.local", "xn--kche-0ra.local"),
        ("192.168.1.5", ip_address("192.168.1.5")),
        ("FE80::1%en0", ip_address("fe80::1")),
    ],
)
def test_a_name_is_read(text: str, name: object) -> None:
    assert parse(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a b",
        "-a.local",
        "a-.local",
        "a..local",
        "*.local",
        "192.168.1.999",
        "a_b.local",
        "x" * 64,
        "https://a",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(NameInvalidError, match=r"kiosk\.local") as caught:
        parse(text)
    assert caught.value.subject == text


@pytest.mark.parametrize(
    ("name", "permitted"),
    [
        ("localhost", True),
        ("local", True),
        ("a.b.local", True),
        ("pc.lan", True),
        ("sub.pc.lan", True),
        ("lan", False),
        ("xpc.lan", False),
        ("notlocal", False),
        ("local.example.com", False),
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("172.15.255.255", False),
        ("172.16.0.0", True),
        ("192.169.0.0", False),
        ("0.0.0.0", False),
        ("::1", True),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("fdff::1", True),
        ("febf::1", True),
        ("fec0::1", False),
    ],
)
def test_what_a_ca_made_on_pc_lan_may_vouch_for(name: str, permitted: bool) -> None:
    assert permits(constraints_for("pc.lan"), parse(name)) == permitted


def test_the_refusal_names_what_is_allowed() -> None:
    names = [parse("kiosk.local"), parse("example.com")]
    with pytest.raises(NameOutsideConstraintsError, match=r"^example\.com: .*local.*192\.168\.0\.0/16.*;") as caught:
        require_permitted(constraints_for("pc"), names)
    assert caught.value.subject == "example.com"


@pytest.mark.parametrize(
    ("host", "dns"),
    [
        ("Kitchen", ["localhost", "kitchen", "kitchen.local"]),
        ("mac.local", ["localhost", "mac.local"]),
        ("pc.lan", ["localhost", "pc.lan", "pc.local"]),
        ("localhost", ["localhost"]),
        ("", ["localhost"]),
    ],
)
def test_the_names_of_a_host(host: str, dns: list[str]) -> None:
    assert [name for name in machine_names(host, []) if isinstance(name, str)] == dns


def test_addresses_come_sorted_and_once() -> None:
    names = machine_names("pc", ["fd00::2", "10.0.0.9", "127.0.0.1", "10.0.0.10", "10.0.0.9", "::1"])
    assert [str(name) for name in names if not isinstance(name, str)] == [
        *("127.0.0.1", "::1", "10.0.0.9", "10.0.0.10", "fd00::2"),
    ]


def test_this_machine_has_a_loopback_address() -> None:
    found = [parse(address) for address in machine_addresses()]
    assert ip_address("127.0.0.1") in found
    assert not any(isinstance(name, str) for name in found)
