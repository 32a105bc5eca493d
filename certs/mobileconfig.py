"""The CA as a configuration profile, the form in which an iPhone or iPad installs one in two taps."""

from __future__ import annotations

import plistlib
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import ORGANISATION, common_name, fingerprint

_IDENTIFIER = "local.minicpm-o-call.ca"


def profile(certificate: x509.Certificate) -> bytes:
    """An unsigned profile (XML property list) that holds nothing but the CA's certificate.

    Its identifiers follow from the CA's fingerprint: installed twice it replaces itself, and the profiles of two
    machines stand beside each other. Keys as in Apple's "CertificateRoot" payload reference.
    """
    digest = fingerprint(certificate)
    name = common_name(certificate)
    identifier = f"{_IDENTIFIER}.{digest.replace(':', '')[:16].lower()}"
    root = _payload("com.apple.security.root", f"{identifier}.root", digest, name)
    root |= {
        "PayloadDescription": "Lets this device open call pages on the local network with HTTPS.",
        "PayloadCertificateFileName": "ca.crt",
        "PayloadContent": certificate.public_bytes(Encoding.DER),
    }
    outer = _payload("Configuration", identifier, digest, name)
    outer |= {
        "PayloadDescription": (
            "Installs one certificate authority. It can vouch for names and private addresses of the local network "
            "only, never for a site on the internet."
        ),
        "PayloadOrganization": ORGANISATION,
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [root],
    }
    return plistlib.dumps(outer)


def _payload(kind: str, identifier: str, digest: str, name: str) -> dict[str, Any]:
    return {
        "PayloadType": kind,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(_stable_uuid(digest, kind)).upper(),
        "PayloadDisplayName": name,
        "PayloadVersion": 1,
    }


def _stable_uuid(digest: str, kind: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"urn:{_IDENTIFIER}:{digest}:{kind}")
