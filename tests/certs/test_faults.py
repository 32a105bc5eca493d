"""What is wrong with the folder: each a typed error that names the file and says what to do, and nothing changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

import certs
from certs import CertificateError, store
from tests.certs.folder import NOW, load_authority, make, new_key, state

Damage = Callable[[Path], object]


def _garbage(name: str) -> Damage:
    # In place: the mode of a key file stays as it is.
    return lambda folder: (folder / name).write_text("-----BEGIN CERTIFICATE-----\nnothing\n")


def _no_der(name: str) -> Damage:
    text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    return lambda folder: (folder / name).write_text(text)


def _remove(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def _other_key(name: str) -> Damage:
    return lambda folder: store.write_key(folder / name, new_key())


def _mode(name: str, mode: int) -> Damage:
    return lambda folder: (folder / name).chmod(mode)


def _copy(source: str, target: str) -> Damage:
    return lambda folder: shutil.copy(folder / source, folder / target)


def _from_other_folder(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        make(folder.parent / "other")
        for name in names:
            shutil.copy(folder.parent / "other" / name, folder / name)

    return damage


def _encrypted_key(folder: Path) -> None:
    encryption = BestAvailableEncryption(b"secret")
    (folder / "server.key").write_bytes(new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def _rsa_key(folder: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (folder / "server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _other_curve(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    (folder / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _directory(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def _bad_names(folder: Path) -> None:
    (folder / "names.txt").write_bytes(b"kiosk.local\n\xff\n")


def _names_outside(folder: Path) -> None:
    (folder / "names.txt").write_text("example.com\n")


@pytest.mark.parametrize(
    ("damage", "error", "subject"),
    [
        (_garbage("ca.crt"), certs.FileCorruptError, "ca.crt"),
        (_no_der("ca.crt"), certs.FileCorruptError, "ca.crt"),
        (_garbage("ca.key"), certs.FileCorruptError, "ca.key"),
        (_garbage("server.crt"), certs.FileCorruptError, "server.crt"),
        (_no_der("server.crt"), certs.FileCorruptError, "server.crt"),
        (_garbage("server.key"), certs.FileCorruptError, "server.key"),
        (_encrypted_key, certs.FileCorruptError, "server.key"),
        (_bad_names, certs.FileCorruptError, "names.txt"),
        (_names_outside, certs.NameOutsideConstraintsError, "example.com"),
        (_rsa_key, certs.FileForeignError, "server.key"),
        (_other_curve, certs.FileForeignError, "ca.key"),
        (_copy("server.crt", "ca.crt"), certs.FileForeignError, "ca.crt"),
        (_from_other_folder("server.crt", "server.key"), certs.FileForeignError, "server.crt"),
        (_from_other_folder("ca.crt", "ca.key"), certs.FileForeignError, "server.crt"),
        (_from_other_folder("ca.crt"), certs.KeyMismatchError, "ca.key"),
        (_other_key("ca.key"), certs.KeyMismatchError, "ca.key"),
        (_other_key("server.key"), certs.KeyMismatchError, "server.key"),
        (_remove("ca.crt"), certs.FileMissingError, "ca.crt"),
        (_remove("ca.crt", "ca.key"), certs.FileMissingError, "ca.crt"),
        (_remove("ca.key"), certs.FileMissingError, "ca.key"),
        (_remove("server.key"), certs.FileMissingError, "server.key"),
        (_mode("ca.key", 0o640), certs.KeyExposedError, "ca.key"),
        (_mode("server.key", 0o604), certs.KeyExposedError, "server.key"),
        (_mode(".", 0o770), certs.FolderUnsafeError, ""),
        (_directory("ca.crt"), certs.StorageError, "ca.crt"),
        (_directory("server.key"), certs.StorageError, "server.key"),
    ],
)
def test_a_fault_is_named_and_nothing_changes(
    tmp_path: Path, damage: Damage, error: type[CertificateError], subject: str
) -> None:
    folder = tmp_path / "certs"
    make(folder)
    damage(folder)
    before = state(folder)
    with pytest.raises(error) as caught:
        # Names and addresses have changed too, so that there would be something to write.
        make(folder, ["desk.local"], addresses=["10.0.0.1"])
    assert caught.value.subject in (folder / subject, subject)
    assert str(caught.value) == f"{caught.value.subject}: {caught.value.problem}; {caught.value.remedy}"
    assert state(folder) == before


@pytest.mark.parametrize(
    ("years", "error", "words"),
    [(11, certs.AuthorityExpiredError, "expired on 2037-"), (-1, certs.ClockError, "clock says 2026-")],
)
def test_outside_the_ca_s_time(tmp_path: Path, years: int, error: type[CertificateError], words: str) -> None:
    folder = tmp_path / "certs"
    make(folder)
    before = state(folder)
    with pytest.raises(error, match=words) as caught:
        make(folder, now=NOW + timedelta(days=366 * years))
    assert caught.value.subject == folder / "ca.crt"
    assert state(folder) == before


@pytest.mark.parametrize(
    ("name", "error"), [("example.com", certs.NameOutsideConstraintsError), ("a b", certs.NameInvalidError)]
)
def test_a_refused_name_changes_nothing(tmp_path: Path, name: str, error: type[CertificateError]) -> None:
    with pytest.raises(error):
        make(tmp_path / "certs", ["kiosk.local", name])
    assert not (tmp_path / "certs").exists()
    make(tmp_path / "certs")
    before = state(tmp_path)
    with pytest.raises(error):
        make(tmp_path / "certs", ["kiosk.local", name])
    assert state(tmp_path) == before


@pytest.mark.parametrize("below", ["file", "file/certs"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(certs.StorageError, match="choose another folder") as caught:
        make(tmp_path / below)
    assert caught.value.subject == tmp_path / below
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    "lost", [("ca.crt", "server.crt", "server.key"), ("server.crt", "server.key"), ("server.crt",)]
)
def test_a_first_run_that_was_cut_off_is_finished(tmp_path: Path, lost: tuple[str, ...]) -> None:
    folder = tmp_path / "certs"
    make(folder)
    kept = {name: file for name, file in state(folder).items() if name not in lost}
    for name in lost:
        (folder / name).unlink()
    (folder / ".server.crt.new").write_text("left behind")
    bundle = make(folder)
    assert bundle.renewed
    assert kept.items() <= state(folder).items()
    assert set(state(folder)) == {"ca.crt", "ca.key", "server.crt", "server.key"}
    load_authority(bundle)
