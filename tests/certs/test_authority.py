"""The CA, judged by another implementation: openssl."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import leaf, store
from certs.authority import Authority, key_usage
from certs.names import parse
from tests.certs.folder import NOW, load_authority, make, new_key, openssl_verify


@pytest.mark.parametrize(
    "name", ["localhost", "kitchen", "kitchen.local", "127.0.0.1", "::1", "192.168.1.5", "fd00::5"]
)
def test_openssl_accepts_the_leaf_under_every_name(tmp_path: Path, name: str) -> None:
    bundle = make(tmp_path / "certs")
    option = "-verify_hostname" if isinstance(parse(name), str) else "-verify_ip"
    result = openssl_verify(bundle.ca_certificate, bundle.chain, option, name)
    assert result.returncode == 0, result.stderr


def test_openssl_rejects_the_leaf_under_another_name(tmp_path: Path) -> None:
    bundle = make(tmp_path / "certs")
    result = openssl_verify(bundle.ca_certificate, bundle.chain, "-verify_hostname", "other.local")
    assert "hostname mismatch" in result.stderr


def _forge(folder: Path, name: str) -> tuple[Path, Path]:
    """A leaf for `name` that a thief of the CA's key would make."""
    bundle = make(folder / "certs")
    forged = folder / "forged.crt"
    store.write_certificate(forged, leaf.issue(load_authority(bundle), new_key(), [parse(name)], NOW))
    return bundle.ca_certificate, forged


@pytest.mark.parametrize(
    "name", ["example.com", "kitchen.example.com", "notlocal", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "100.64.0.1"]
)
def test_openssl_rejects_a_leaf_outside_the_constraints(tmp_path: Path, name: str) -> None:
    result = openssl_verify(*_forge(tmp_path, name))
    assert result.returncode != 0
    assert "permitted subtree violation" in result.stderr


@pytest.mark.parametrize(
    "name", ["kiosk.local", "desk.kitchen", "10.1.2.3", "172.31.255.255", "169.254.1.1", "fe80::1"]
)
def test_openssl_accepts_a_leaf_inside_the_constraints(tmp_path: Path, name: str) -> None:
    result = openssl_verify(*_forge(tmp_path, name))
    assert result.returncode == 0, result.stderr


def test_openssl_rejects_a_ca_below_the_ca(tmp_path: Path) -> None:
    bundle = make(tmp_path / "certs")
    root, key = load_authority(bundle), new_key()
    below = Authority(_certificate_authority_below(root, key), key)
    middle, forged = tmp_path / "middle.crt", tmp_path / "forged.crt"
    store.write_certificate(middle, below.certificate)
    store.write_certificate(forged, leaf.issue(below, new_key(), [parse("kiosk.local")], NOW))
    result = openssl_verify(bundle.ca_certificate, forged, "-untrusted", str(middle))
    assert "path length constraint exceeded" in result.stderr


def _certificate_authority_below(root: Authority, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "below")]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(root.key, hashes.SHA256())
    )


def test_the_constraints_are_critical_and_name_the_local_network_only(tmp_path: Path) -> None:
    certificate = load_authority(make(tmp_path / "certs")).certificate
    limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    trees = limits.value.permitted_subtrees or []
    assert {tree.value for tree in trees if isinstance(tree, x509.DNSName)} == {"localhost", "local", "kitchen"}
    ranges = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]
    ranges += ["::1/128", "fc00::/7", "fe80::/10"]
    assert {tree.value for tree in trees if isinstance(tree, x509.IPAddress)} == set(map(ip_network, ranges))


def test_the_ca_can_only_sign_certificates_of_servers(tmp_path: Path) -> None:
    certificate = load_authority(make(tmp_path / "certs")).certificate
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value) == (True, key_usage(key_cert_sign=True, crl_sign=True))
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_the_ca_lives_ten_years(tmp_path: Path) -> None:
    certificate = load_authority(make(tmp_path / "certs")).certificate
    assert (certificate.not_valid_after_utc - NOW) / timedelta(days=365.25) == pytest.approx(10, abs=0.01)
    assert certificate.not_valid_before_utc < NOW


def test_two_cas_differ(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert first.fingerprint_sha256 != second.fingerprint_sha256
    result = openssl_verify(second.ca_certificate, first.chain)
    assert result.returncode != 0


def test_the_longest_host_name_fits(tmp_path: Path) -> None:
    host = ".".join(["a" * 63] * 3)
    bundle = make(tmp_path / "certs", host=host)
    assert openssl_verify(bundle.ca_certificate, bundle.chain, "-verify_hostname", host).returncode == 0


def test_the_fingerprint_is_the_one_openssl_prints(tmp_path: Path) -> None:
    import subprocess

    bundle = make(tmp_path / "certs")
    command = ["openssl", "x509", "-in", str(bundle.ca_certificate), "-noout", "-fingerprint", "-sha256"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip().endswith("=" + bundle.fingerprint_sha256)
    assert load_authority(bundle).certificate.public_bytes(Encoding.PEM) == bundle.ca_certificate.read_bytes()
