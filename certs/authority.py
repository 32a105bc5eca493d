"""The local CA: one key pair of this machine that can vouch for this machine and its local network only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.errors import AuthorityExpiredError, ClockError, FileForeignError
from certs.names import constraints_for

LIFETIME = timedelta(days=3652)
CLOCK_SKEW = timedelta(days=1)
"""How far a device's clock may be behind ours."""

ORGANISATION = "MiniCPM-o Call"


@dataclass(frozen=True)
class Authority:
    """The CA's certificate and its private key (P-256)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def constraints(self) -> x509.NameConstraints:
        """The names this CA may vouch for."""
        return self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value


def create(key: ec.EllipticCurvePrivateKey, host: str, now: datetime) -> Authority:
    """A new CA on the machine `host`, valid for ten years."""
    name = _subject(host, now)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(constraints_for(host), critical=True)
        # Name constraints say nothing about mail or code signatures; this does.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _subject(host: str, now: datetime) -> x509.Name:
    # 64 characters is what a common name may have.
    label = f"{ORGANISATION} CA {now:%Y-%m-%d} ({host[:30]})"
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, label),
        ]
    )


def key_usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    """The KeyUsage extension with the given bits set and no other."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def common_name(certificate: x509.Certificate) -> str:
    """What devices call the CA in their lists."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form as 32 pairs of capital hex digits, joined by colons."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def fingerprint_rows(fingerprint: str) -> list[str]:
    """The fingerprint as four rows of eight pairs, which is how phones and browsers show one."""
    pairs = fingerprint.split(":")
    return [" ".join(pairs[start : start + 8]) for start in range(0, len(pairs), 8)]


def require_ours(certificate: x509.Certificate, path: Path) -> None:
    """Raises FileForeignError unless `certificate` is a name-constrained CA that signed itself."""
    try:
        certificate.verify_directly_issued_by(certificate)
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
        ours = basic.value.ca and limits.critical and bool(limits.value.permitted_subtrees)
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound):
        ours = False
    if not ours:
        raise FileForeignError(
            path, "not a CA certificate that this program made", "move it away or choose another folder"
        )


def require_in_force(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    """Raises AuthorityExpiredError or ClockError where `now` lies outside the CA's time."""
    if now >= certificate.not_valid_after_utc:
        raise AuthorityExpiredError(
            path,
            f"the CA expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            "delete the folder, run again, and trust the new CA on every device",
        )
    if now < certificate.not_valid_before_utc:
        raise ClockError(
            path,
            f"the CA is valid from {certificate.not_valid_before_utc:%Y-%m-%d}, but the clock says {now:%Y-%m-%d}",
            "set this machine's clock",
        )
