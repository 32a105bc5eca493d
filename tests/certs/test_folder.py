"""The folder: who may read it, where it is, and two starters at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

import certs
from certs import Bundle, FolderBusyError, store
from tests.certs.folder import make, state

STARTERS = 6


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_keys_are_for_the_owner_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        bundle = make(tmp_path / "state" / "certs")
    finally:
        os.umask(before)
    assert _mode(bundle.key.parent) == 0o700
    assert {name: file.mode & 0o777 for name, file in state(bundle.key.parent).items()} == {
        "ca.crt": 0o644,
        "ca.key": 0o600,
        "server.crt": 0o644,
        "server.key": 0o600,
    }


def test_the_key_keeps_its_mode_when_the_leaf_is_renewed(tmp_path: Path) -> None:
    make(tmp_path / "certs")
    assert _mode(make(tmp_path / "certs", addresses=["10.0.0.1"]).key) == 0o600


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    below_home = tmp_path / ".local" / "state" / "minicpm-o-call" / "certs"
    assert certs.default_folder() == below_home
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert certs.default_folder() == below_home
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert certs.default_folder() == Path("/var/state/minicpm-o-call/certs")


def test_threads_that_start_at_once_agree(tmp_path: Path) -> None:
    together = Barrier(STARTERS)

    def start(_: int) -> Bundle:
        together.wait()
        return make(tmp_path / "certs")

    with ThreadPoolExecutor(STARTERS) as pool:
        bundles = list(pool.map(start, range(STARTERS)))
    assert len({bundle.fingerprint_sha256 for bundle in bundles}) == 1
    assert sorted(bundle.authority_created for bundle in bundles) == [False] * (STARTERS - 1) + [True]
    assert not make(tmp_path / "certs").renewed


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "certs", "--folder", str(tmp_path / "certs")]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [starter.communicate()[0] for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert sum("(new)" in text for text in said) == 1
    prints = {text.partition("SHA-256")[2].partition("Trust")[0] for text in said}
    assert len(prints) == 1


def test_a_folder_that_stays_locked_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    with store.locked(folder), pytest.raises(FolderBusyError, match="another process"), store.locked(folder, wait_s=0):
        raise AssertionError("two hold the lock")
    make(folder)


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make(folder)
    open_before = len(os.listdir("/dev/fd"))
    (folder / "ca.key").unlink()
    with pytest.raises(certs.FileMissingError):
        make(folder)
    assert len(os.listdir("/dev/fd")) == open_before
    with store.locked(folder, wait_s=0):
        pass
