"""The names and addresses of this machine, and which of them the local CA may vouch for (RFC 5280, 4.2.1.10)."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import ifaddr
from cryptography import x509

from certs.errors import NameInvalidError, NameOutsideConstraintsError

Name: TypeAlias = str | IPv4Address | IPv6Address
"""A DNS name in lower case, or an IP address without zone."""

PERMITTED_RANGES = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
"""Loopback, private and link-local addresses: nothing on the public internet."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def parse(text: str) -> Name:
    """The name that `text` means, for example `kiosk.local` or `192.168.1.5`. Raises NameInvalidError."""
    return _address(text) or _dns_name(text)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None


def _dns_name(text: str) -> str:
    try:
        name = text.strip().rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    labels = name.split(".")
    if len(name) > 253 or labels[-1].isdecimal() or not all(_LABEL.fullmatch(label) for label in labels):
        raise NameInvalidError(
            text, "neither a DNS name nor an IP address", "use letters, digits and hyphens, for example kiosk.local"
        )
    return name


def machine_host() -> str:
    """This machine's own host name, as it calls itself."""
    return socket.gethostname()


def machine_addresses() -> list[str]:
    """Every IP address of every network interface, the zone left off."""
    found = (ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    return [ip if isinstance(ip, str) else ip[0] for ip in found]


def machine_names(host: str, addresses: Iterable[str]) -> list[Name]:
    """What a page on this machine may be opened under, best known first, each once.

    A host name that DNS does not allow (say, with an underscore) is left out: no browser would take it.
    """
    names: list[Name] = ["localhost", *_host_names(host), ip_address("127.0.0.1"), ip_address("::1")]
    found = [ip for text in addresses if (ip := _address(text))]
    ordered = sorted(found, key=_address_order)
    return list(dict.fromkeys([*names, *ordered]))


def _address_order(ip: IPv4Address | IPv6Address) -> tuple[int, int]:
    return ip.version, int(ip)


def _host_names(host: str) -> list[str]:
    try:
        name = _dns_name(host)
    except NameInvalidError:
        return []
    short = name.partition(".")[0]
    return [name] if short == "localhost" else [name, f"{short}.local"]


def constraints_for(host: str) -> x509.NameConstraints:
    """What a CA made on `host` may vouch for, and nothing else: this host, the local network."""
    dns = dict.fromkeys(["localhost", "local", *_host_names(host)[:1]])
    return x509.NameConstraints(
        permitted_subtrees=[*map(x509.DNSName, dns), *map(x509.IPAddress, PERMITTED_RANGES)], excluded_subtrees=None
    )


def permits(constraints: x509.NameConstraints, name: Name) -> bool:
    """True where `constraints` allow a certificate for `name`."""
    for tree in constraints.permitted_subtrees or ():
        if isinstance(name, str):
            if isinstance(tree, x509.DNSName) and (name == tree.value or name.endswith(f".{tree.value}")):
                return True
        elif isinstance(tree.value, IPv4Network | IPv6Network) and name in tree.value:
            return True
    return False


def require_permitted(constraints: x509.NameConstraints, names: Sequence[Name]) -> None:
    """Raises NameOutsideConstraintsError for the first of `names` that is not permitted."""
    for name in names:
        if not permits(constraints, name):
            allowed = ", ".join(str(tree.value) for tree in constraints.permitted_subtrees or ())
            raise NameOutsideConstraintsError(
                str(name),
                f"outside of what the local CA may vouch for ({allowed})",
                "use a name that ends in .local or a private address, or a certificate of a public CA",
            )


def general_name(name: Name) -> x509.GeneralName:
    """`name` as it stands in a certificate."""
    return x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name)
