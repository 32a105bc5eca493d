"""A certificate folder to test with, at a fixed time, on a machine with a fixed name and addresses."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import Bundle, ensure, store
from certs.authority import Authority

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
HOST = "kitchen"
ADDRESSES = ("192.168.1.5", "fd00::5", "203.0.113.9")
"""One private address of each version, and a public one."""


def make(
    folder: Path,
    extra_names: Sequence[str] = (),
    now: datetime = NOW,
    addresses: Sequence[str] = ADDRESSES,
    host: str = HOST,
) -> Bundle:
    return ensure(folder, extra_names, now=now, addresses=addresses, host=host)


def load_authority(bundle: Bundle) -> Authority:
    certificate = store.read_certificate(bundle.ca_certificate)
    key = store.read_key(bundle.ca_certificate.with_name("ca.key"))
    assert certificate is not None
    assert key is not None
    return Authority(certificate, key)


def load_leaf(bundle: Bundle) -> x509.Certificate:
    certificate = store.read_certificate(bundle.chain)
    assert certificate is not None
    return certificate


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class FileState(NamedTuple):
    content: bytes
    mode: int
    changed_ns: int


def state(folder: Path) -> dict[str, FileState]:
    """Everything in `folder`, so that two moments can be compared."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): FileState(path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in files
    }


def openssl_verify(ca: Path, leaf: Path, *options: str, now: datetime = NOW) -> subprocess.CompletedProcess[str]:
    """What openssl says to `leaf` as a TLS server's certificate under `ca`."""
    moment = str(int(now.timestamp()))
    strict = ("-x509_strict", "-purpose", "sslserver", "-attime", moment)
    command = ["openssl", "verify", *strict, "-CAfile", str(ca), *options, str(leaf)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
