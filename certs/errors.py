"""What can go wrong with the certificates: each error names its subject, what is wrong and what to do.

Where one is raised, nothing that was there has changed.
"""

from __future__ import annotations

from pathlib import Path


class CertificateError(Exception):
    """Base of all errors of this room.

    `subject` is the file or folder it is about, or the name that was asked for.
    """

    def __init__(self, subject: Path | str, problem: str, remedy: str) -> None:
        super().__init__(f"{subject}: {problem}; {remedy}")
        self.subject = subject
        self.problem = problem
        self.remedy = remedy


class StorageError(CertificateError):
    """The folder or a file in it cannot be made, read or written (permissions, full disk, not a folder)."""


class FolderUnsafeError(CertificateError):
    """Other users can write to the folder, so they could exchange what is in it."""


class FolderBusyError(CertificateError):
    """Another process has held the folder's lock for too long."""


class FileMissingError(CertificateError):
    """One file of a pair is gone while its partner is still there."""


class FileCorruptError(CertificateError):
    """A file does not hold what its name says."""


class FileForeignError(CertificateError):
    """A file is in order but was not made here, so it is not ours to use or to replace."""


class KeyMismatchError(CertificateError):
    """A private key does not belong to its certificate."""


class KeyExposedError(CertificateError):
    """Other users can read a private key."""


class AuthorityExpiredError(CertificateError):
    """The CA's time is over: a new one has to be made and trusted."""


class ClockError(CertificateError):
    """The clock of this machine stands before the day the CA was made."""


class NameInvalidError(CertificateError):
    """A name that was asked for is neither a DNS name nor an IP address."""


class NameOutsideConstraintsError(CertificateError):
    """A name that was asked for is one that the CA is not allowed to vouch for."""
