"""The certificate folder as a whole: made on first run, kept in order at every later one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import authority, leaf, store
from certs.authority import Authority
from certs.errors import FileCorruptError, FileMissingError, NameInvalidError
from certs.names import (
    Name,
    constraints_for,
    machine_addresses,
    machine_host,
    machine_names,
    parse,
    permits,
    require_permitted,
)


@dataclass(frozen=True)
class Bundle:
    """What a server needs to speak TLS, and what a person needs to trust it."""

    ca_certificate: Path
    """The CA's certificate (PEM): the file that devices install."""
    chain: Path
    """What the HTTPS port shows (PEM): the leaf, which the CA issued directly."""
    key: Path
    """The leaf's private key (PEM, mode 0600)."""
    fingerprint_sha256: str
    """Of the CA: 32 pairs of capital hex digits, joined by colons."""
    names: tuple[str, ...]
    """DNS names and IP addresses that the leaf is good for."""
    left_out: tuple[str, ...]
    """Names and addresses of this machine that the CA may not vouch for, public addresses above all."""
    not_after: datetime
    """When the leaf expires (UTC); it is renewed 30 days before, at the next start."""
    renewed: bool
    """True where this call issued the leaf."""
    authority_created: bool
    """True where this call made the CA, so that no device trusts it yet."""


def default_folder() -> Path:
    """`$XDG_STATE_HOME/minicpm-o-call/certs`, which is below `~/.local/state` where that is not set."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "minicpm-o-call" / "certs"


def ensure(
    folder: Path,
    extra_names: Sequence[str] = (),
    now: datetime | None = None,
    addresses: Iterable[str] | None = None,
    host: str | None = None,
) -> Bundle:
    """Bring the certificates in `folder` in order and say where they are.

    The CA is made once and kept. The leaf is issued anew when names or addresses have changed or fewer than 30 days
    are left. `extra_names` (DNS names or IP addresses) are remembered in `names.txt`. `now`, `addresses` and `host`
    are read from this machine where they are not given. Blocks for milliseconds, at most 10 s beside another starter.
    Raises a CertificateError, and then has changed nothing that was there.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    asked = [parse(name) for name in extra_names]
    host = machine_host() if host is None else host
    automatic = machine_names(host, machine_addresses() if addresses is None else addresses)
    if not os.path.exists(folder):
        # A name that is refused must not leave a folder behind.
        require_permitted(constraints_for(host), asked)
    with store.locked(folder):
        return _Folder(folder).ensure(host, automatic, asked, moment)


class _Folder:
    """The files of one locked folder."""

    def __init__(self, path: Path) -> None:
        self.ca_certificate = path / "ca.crt"
        self.ca_key = path / "ca.key"
        self.chain = path / "server.crt"
        self.key = path / "server.key"
        self.names = path / "names.txt"

    def ensure(self, host: str, automatic: Sequence[Name], asked: Sequence[Name], now: datetime) -> Bundle:
        # Everything is read and checked before the first byte is written.
        ca = self._read_authority(now)
        authority_created = ca is None
        ca = ca or authority.create(store.read_key(self.ca_key) or _new_key(), host, now)
        remembered = self._read_names()
        extra = list(dict.fromkeys([*remembered, *asked]))
        require_permitted(ca.constraints, extra)
        names = list(dict.fromkeys([*(name for name in automatic if permits(ca.constraints, name)), *extra]))
        present, key = self._read_leaf(ca)
        current = present if present and leaf.is_current(present, ca, names, now) else None

        if authority_created:
            self._write_authority(ca)
        if extra != remembered:
            self._write_names(extra)
        certificate = current or self._renew(ca, key or _new_key(), names, now)
        return Bundle(
            ca_certificate=self.ca_certificate,
            chain=self.chain,
            key=self.key,
            fingerprint_sha256=authority.fingerprint(ca.certificate),
            names=tuple(map(str, names)),
            left_out=tuple(str(name) for name in automatic if name not in names),
            not_after=certificate.not_valid_after_utc,
            renewed=current is None,
            authority_created=authority_created,
        )

    def _read_authority(self, now: datetime) -> Authority | None:
        """The CA that is there, None on a first run (also one that was cut off before its end)."""
        certificate = store.read_certificate(self.ca_certificate)
        if certificate is None:
            if self.chain.exists():
                raise FileMissingError(
                    self.ca_certificate, "missing, but server.crt is there", "restore it, or delete the folder"
                )
            return None
        authority.require_ours(certificate, self.ca_certificate)
        key = store.require_pair(self.ca_certificate, certificate, self.ca_key, store.read_key(self.ca_key))
        authority.require_in_force(certificate, self.ca_certificate, now)
        return Authority(certificate, key)

    def _write_authority(self, ca: Authority) -> None:
        if not self.ca_key.exists():
            store.write_key(self.ca_key, ca.key)
        store.write_certificate(self.ca_certificate, ca.certificate)

    def _read_leaf(self, ca: Authority) -> tuple[x509.Certificate | None, ec.EllipticCurvePrivateKey | None]:
        certificate, key = store.read_certificate(self.chain), store.read_key(self.key)
        if certificate is not None:
            leaf.require_issued_by(certificate, ca, self.chain)
            store.require_pair(self.chain, certificate, self.key, key)
        return certificate, key

    def _renew(
        self, ca: Authority, key: ec.EllipticCurvePrivateKey, names: Sequence[Name], now: datetime
    ) -> x509.Certificate:
        # The key stays the same from leaf to leaf, so that a renewal replaces one file and is never half done.
        if not self.key.exists():
            store.write_key(self.key, key)
        certificate = leaf.issue(ca, key, names, now)
        store.write_certificate(self.chain, certificate)
        return certificate

    def _read_names(self) -> list[Name]:
        try:
            lines = (store.read(self.names) or b"").decode().split()
            return [parse(line) for line in lines]
        except (UnicodeDecodeError, NameInvalidError) as error:
            raise FileCorruptError(
                self.names, f"not a list of names, one per line ({error})", "correct or delete it"
            ) from error

    def _write_names(self, names: Sequence[Name]) -> None:
        store.write(self.names, "".join(f"{name}\n" for name in names).encode(), 0o644)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
