"""The leaf: the certificate that the HTTPS port shows, as strict as iOS wants it.

Apple's rules for TLS server certificates (support article 103769): names in subjectAltName, serverAuth in
extendedKeyUsage, SHA-2, and no more than 398 days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import CLOCK_SKEW, ORGANISATION, Authority, key_usage
from certs.errors import FileForeignError
from certs.names import Name, general_name

LIFETIME = timedelta(days=396)
"""With CLOCK_SKEW before it one day less than the 398 that iOS allows."""

RENEW_BEFORE = timedelta(days=30)


def issue(
    authority: Authority, key: ec.EllipticCurvePrivateKey, names: Sequence[Name], now: datetime
) -> x509.Certificate:
    """A certificate for `names`, which never outlives the CA. The caller has checked the names."""
    issuer = authority.certificate
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{ORGANISATION} server")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - CLOCK_SKEW, issuer.not_valid_before_utc))
        .not_valid_after(min(now + LIFETIME, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(map(general_name, names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def is_current(leaf: x509.Certificate, authority: Authority, names: Sequence[Name], now: datetime) -> bool:
    """True where `leaf` names exactly `names` and need not be renewed yet."""
    due = min(now + RENEW_BEFORE, authority.certificate.not_valid_after_utc)
    in_force = leaf.not_valid_before_utc <= now and due <= leaf.not_valid_after_utc
    return in_force and set(_alternative_names(leaf)) == set(map(general_name, names))


def _alternative_names(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def require_issued_by(leaf: x509.Certificate, authority: Authority, path: Path) -> None:
    """Raises FileForeignError unless the CA issued `leaf` for a server."""
    try:
        leaf.verify_directly_issued_by(authority.certificate)
        _alternative_names(leaf)
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound) as error:
        raise FileForeignError(
            path, "the CA beside it did not issue this certificate", "move it and its key away and run again"
        ) from error
