"""Local CA and server certificate, so that devices on the same network can open the page with HTTPS.

Use `ensure` from a program, `python -m certs` from a shell, `certs.install_page` to hand the CA to other devices.
"""

from certs.authority import fingerprint_rows
from certs.bundle import Bundle, default_folder, ensure
from certs.errors import (
    AuthorityExpiredError,
    CertificateError,
    ClockError,
    FileCorruptError,
    FileForeignError,
    FileMissingError,
    FolderBusyError,
    FolderUnsafeError,
    KeyExposedError,
    KeyMismatchError,
    NameInvalidError,
    NameOutsideConstraintsError,
    StorageError,
)

__all__ = [
    "AuthorityExpiredError",
    "Bundle",
    "CertificateError",
    "ClockError",
    "FileCorruptError",
    "FileForeignError",
    "FileMissingError",
    "FolderBusyError",
    "FolderUnsafeError",
    "KeyExposedError",
    "KeyMismatchError",
    "NameInvalidError",
    "NameOutsideConstraintsError",
    "StorageError",
    "default_folder",
    "ensure",
    "fingerprint_rows",
]
