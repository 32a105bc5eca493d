"""What a person reads at the start: where to go, with which device, and what to compare."""

from __future__ import annotations

import ipaddress

from certs import Bundle, fingerprint_rows
from realtime.service.listeners import Listener, Listeners

_SHOWN = 3


def banner(host: str, listeners: Listeners, bundle: Bundle | None) -> str:
    """The lines, for a service that listens on `host` with this certificate."""
    rows = [("On this computer", f"http://localhost:{listeners.http.port}")] if listeners.http else []
    if listeners.https is not None and bundle is not None:
        rows += _elsewhere(lan_hosts(host, bundle), listeners.https, listeners.install)
        first, *others = fingerprint_rows(bundle.fingerprint_sha256)
        rows += [("Its fingerprint", first), *(("", row) for row in others)]
    width = max(len(label) for label, _ in rows)
    return "\n".join(["", *(f"  {label:<{width}}  {value}" for label, value in rows), ""])


def _elsewhere(hosts: list[str], https: Listener, install: Listener | None) -> list[tuple[str, str]]:
    addresses = [f"https://{name}:{https.port}" for name in hosts or ["localhost"]]
    labels = ["Phones and tablets" if hosts else "With HTTPS", *[""] * len(hosts)]
    rows = list(zip(labels, addresses, strict=False))
    if install is not None and hosts:
        rows.append(("Their first time", f"http://{hosts[0]}:{install.port} (installs the certificate)"))
    return rows


def lan_hosts(host: str, bundle: Bundle) -> list[str]:
    """Addresses and names other devices reach an HTTPS port on `host` by, the likeliest first."""
    if host not in ("0.0.0.0", "::"):
        return [] if _is_loopback(host) else [_bracketed(host)]
    names = [name for name in bundle.names if not _is_loopback(name) and not _is_link_local(name)]
    # An IPv4 address works everywhere, a .local name where mDNS does, a bare host name seldom.
    ranked = sorted((name for name in names if _rank(name) < 3), key=_rank)
    return [_bracketed(name) for name in ranked[:_SHOWN]]


def _rank(name: str) -> int:
    address = _address(name)
    if isinstance(address, ipaddress.IPv4Address):
        return 0
    if address is not None:
        return 2
    return 1 if name.endswith(".local") else 3


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name == "localhost" if address is None else address.is_loopback


def _is_link_local(name: str) -> bool:
    address = _address(name)
    return address is not None and address.is_link_local


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
