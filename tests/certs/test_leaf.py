"""The leaf: Apple's rules, what makes it new, and a TLS handshake with it."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

import certs
from certs import Bundle
from tests.certs.folder import NOW, load_authority, load_leaf, make, openssl_verify

DAY = timedelta(days=1)


def test_it_obeys_apples_rules(tmp_path: Path) -> None:
    certificate = load_leaf(make(tmp_path / "certs"))
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= 398 * DAY
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in purposes
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "kitchen", "kitchen.local"]
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_it_names_this_machine_and_leaves_public_addresses_out(tmp_path: Path) -> None:
    bundle = make(tmp_path / "certs", ["kiosk.local"])
    assert bundle.names == (
        *("localhost", "kitchen", "kitchen.local", "127.0.0.1", "::1", "192.168.1.5", "fd00::5", "kiosk.local"),
    )
    assert bundle.left_out == ("203.0.113.9",)


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    first = make(tmp_path / "certs")
    before = first.chain.read_bytes()
    second = make(tmp_path / "certs", now=NOW + 300 * DAY)
    assert (first.renewed, first.authority_created) == (True, True)
    assert (second.renewed, second.authority_created) == (False, False)
    assert second.chain.read_bytes() == before


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        (["192.168.1.6", "fd00::5"], ()),
        (["192.168.1.5"], ()),
        (["192.168.1.5", "fd00::5", "10.0.0.7"], ()),
        (["192.168.1.5", "fd00::5"], ("kiosk.local",)),
    ],
)
def test_a_change_of_addresses_or_names_renews_the_leaf_and_keeps_the_ca(
    tmp_path: Path, addresses: list[str], names: tuple[str, ...]
) -> None:
    first = make(tmp_path / "certs")
    second = make(tmp_path / "certs", names, addresses=addresses)
    assert second.renewed
    assert not second.authority_created
    assert second.fingerprint_sha256 == first.fingerprint_sha256
    assert set(addresses) <= set(second.names)
    assert openssl_verify(second.ca_certificate, second.chain, "-verify_ip", addresses[0]).returncode == 0
    assert not make(tmp_path / "certs", names, addresses=addresses).renewed


def test_a_change_of_a_public_address_renews_nothing(tmp_path: Path) -> None:
    make(tmp_path / "certs", addresses=["192.168.1.5", "203.0.113.9"])
    assert not make(tmp_path / "certs", addresses=["192.168.1.5", "203.0.113.77"]).renewed


@pytest.mark.parametrize(("left", "renewed"), [(31, False), (29, True), (-5, True)])
def test_it_is_renewed_a_month_before_its_end_and_after_it(tmp_path: Path, left: int, renewed: bool) -> None:
    first = make(tmp_path / "certs")
    later = first.not_after - left * DAY
    second = make(tmp_path / "certs", now=later)
    assert second.renewed == renewed
    assert (second.not_after > first.not_after) == renewed
    assert openssl_verify(second.ca_certificate, second.chain, now=later).returncode == 0


def test_a_leaf_from_the_future_is_replaced(tmp_path: Path) -> None:
    make(tmp_path / "certs")
    make(tmp_path / "certs", addresses=["10.0.0.1"], now=NOW + 100 * DAY)
    corrected = make(tmp_path / "certs", addresses=["10.0.0.1"])
    assert corrected.renewed
    assert openssl_verify(corrected.ca_certificate, corrected.chain).returncode == 0


def test_it_never_outlives_the_ca_and_is_not_renewed_for_that(tmp_path: Path) -> None:
    end = load_authority(make(tmp_path / "certs")).certificate.not_valid_after_utc
    late = make(tmp_path / "certs", now=end - 10 * DAY)
    assert late.not_after == end
    assert not make(tmp_path / "certs", now=end - 9 * DAY).renewed


def test_a_name_asked_for_once_is_remembered(tmp_path: Path) -> None:
    make(tmp_path / "certs", ["Kiosk.local.", "10.9.9.9"])
    again = make(tmp_path / "certs", ["desk.local"])
    assert {"kiosk.local", "10.9.9.9", "desk.local"} <= set(again.names)
    assert (tmp_path / "certs" / "names.txt").read_text() == "kiosk.local\n10.9.9.9\ndesk.local\n"
    assert not make(tmp_path / "certs").renewed


def test_a_renamed_machine_keeps_its_ca(tmp_path: Path) -> None:
    first = make(tmp_path / "certs", host="kitchen")
    second = make(tmp_path / "certs", host="study")
    assert second.fingerprint_sha256 == first.fingerprint_sha256
    assert "study.local" in second.names
    assert "study" in second.left_out


def test_a_host_name_that_dns_does_not_allow_is_left_out(tmp_path: Path) -> None:
    bundle = make(tmp_path / "certs", host="my_pc", addresses=["fe80::1%eth0"])
    assert bundle.names == ("localhost", "127.0.0.1", "::1", "fe80::1")


@pytest.mark.parametrize("name", ["localhost", "kiosk.local", "127.0.0.1", "192.168.1.5"])
def test_a_client_that_trusts_the_ca_shakes_hands(tmp_path: Path, name: str) -> None:
    now = datetime.now(NOW.tzinfo)
    bundle = make(tmp_path / "certs", ["kiosk.local"], now=now)
    client = ssl.create_default_context(cafile=str(bundle.ca_certificate))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    assert _handshake(client, bundle, name) in ("TLSv1.2", "TLSv1.3")


def test_a_client_that_does_not_trust_the_ca_turns_away(tmp_path: Path) -> None:
    bundle = certs.ensure(tmp_path / "certs")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(ssl.create_default_context(), bundle, "localhost")


def _handshake(client: ssl.SSLContext, bundle: Bundle, name: str) -> str | None:
    """The TLS version agreed on, both ends in memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(bundle.chain, bundle.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [near, far]
    for _ in range(10):
        for end in list(pending):
            try:
                end.do_handshake()
                pending.remove(end)
            except ssl.SSLWantReadError:
                continue
        if not pending:
            return near.version()
    raise AssertionError("the handshake does not end")
