"""Files of the certificate folder: read with their faults named, written whole or not at all, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from certs.errors import (
    FileCorruptError,
    FileForeignError,
    FileMissingError,
    FolderBusyError,
    FolderUnsafeError,
    KeyExposedError,
    KeyMismatchError,
    StorageError,
)

LOCK_WAIT_S = 10.0
_LOCK_RETRY_S = 0.02


@contextmanager
def locked(folder: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold `folder` against every other process and thread; it is made (mode 0700) where it is missing.

    Raises StorageError, FolderUnsafeError, or FolderBusyError after `wait_s` seconds.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _storage_error(folder, "cannot be used as certificate folder", error) from error
    try:
        _require_safe(folder, descriptor)
        _lock(folder, descriptor, wait_s)
        yield
    finally:
        os.close(descriptor)


def _require_safe(folder: Path, descriptor: int) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & 0o022:
        raise FolderUnsafeError(folder, f"other users can write to it (mode {mode:04o})", f"run: chmod 700 {folder}")


def _lock(folder: Path, descriptor: int, wait_s: float) -> None:
    give_up = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= give_up:
                raise FolderBusyError(
                    folder, f"another process has held it for {wait_s:g} s", "end that process and run again"
                ) from error
        time.sleep(_LOCK_RETRY_S)


def write(path: Path, data: bytes, mode: int) -> None:
    """Replace `path` by `data` in one step. The caller holds the folder's lock. Raises StorageError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise _storage_error(path, "cannot be written", error) from error


def read(path: Path) -> bytes | None:
    """The bytes of `path`, None where there is no such file. Raises StorageError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _storage_error(path, "cannot be read", error) from error


def read_certificate(path: Path) -> x509.Certificate | None:
    """The first certificate in the PEM file `path`, None where there is no such file."""
    data = read(path)
    if data is None:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(data)
        # Parsed only on access: a broken extension must show here and not later.
        _ = certificate.extensions, certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise FileCorruptError(path, "not a certificate in PEM form", "restore it, or delete the folder") from error
    return certificate


def read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    """The P-256 private key in the PEM file `path`, None where there is no such file."""
    data = read(path)
    if data is None:
        return None
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyExposedError(
            path,
            f"other users can read this private key (mode {mode:04o})",
            f"run: chmod 600 {path} (or delete the folder, if somebody may have copied it)",
        )
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FileCorruptError(
            path, "not an unencrypted private key in PEM form", "restore it, or delete the folder"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FileForeignError(path, "not a P-256 key that this program made", "move it away and run again")
    return key


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write `key` so that only its owner can read it."""
    write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write `certificate` in PEM form, readable for all."""
    write(path, certificate.public_bytes(Encoding.PEM), 0o644)


def require_pair(
    certificate_path: Path, certificate: x509.Certificate, key_path: Path, key: ec.EllipticCurvePrivateKey | None
) -> ec.EllipticCurvePrivateKey:
    """The key, once it is there and belongs to the certificate. Raises FileMissingError or KeyMismatchError."""
    if key is None:
        raise FileMissingError(
            key_path, f"missing, but {certificate_path.name} is there", "restore it, or delete both and run again"
        )
    der = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*der) != certificate.public_key().public_bytes(*der):
        raise KeyMismatchError(
            key_path, f"this key does not belong to {certificate_path}", "restore the right one, or delete both"
        )
    return key


def _storage_error(path: Path, problem: str, error: OSError) -> StorageError:
    reason = error.strerror or str(error)
    return StorageError(path, f"{problem} ({reason.lower()})", "correct this or choose another folder")
