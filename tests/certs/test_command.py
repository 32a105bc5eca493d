"""`python -m certs` as a person meets it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from certs import ensure, fingerprint_rows
from certs.__main__ import main
from tests.certs.folder import state


def test_it_says_where_what_and_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path / "certs"), "--name", "kiosk.local", "--name", "10.4.4.4"]) == 0
    said = capsys.readouterr().out
    bundle = ensure(tmp_path / "certs")
    for part in (bundle.ca_certificate, bundle.chain, bundle.key, "kiosk.local", "10.4.4.4", "(new)", "(renewed)"):
        assert str(part) in said
    for row in fingerprint_rows(bundle.fingerprint_sha256):
        assert row in said
    for platform in ("Linux", "macOS", "Windows", "iOS", "Android", "Firefox"):
        assert platform in said
    assert "PRIVATE" not in said


def test_a_second_run_says_that_nothing_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--folder", str(tmp_path / "certs")]
    main(arguments)
    capsys.readouterr()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "(new)" not in said
    assert "(renewed)" not in said


def test_a_folder_with_a_space_gives_commands_that_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--folder", str(tmp_path / "my certs")])
    assert f"sudo trust anchor '{tmp_path}/my certs/ca.crt'" in capsys.readouterr().out


def test_an_error_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path / "certs"), "--name", "example.com"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("certs: example.com: outside of what the local CA may vouch for")
    assert printed.err.count("\n") == 1


def _full_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-m", "certs", "--folder", str(tmp_path / "certs")]
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=_full_disk, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"certs: {tmp_path}/certs/ca.key: cannot be written (")
    assert state(tmp_path) == {}


def test_a_full_disk_at_renewal_keeps_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    ensure(folder)
    before = state(folder)
    command = [sys.executable, "-B", "-m", "certs", "--folder", str(folder), "--name", "kiosk.local"]
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=_full_disk, check=False)
    assert result.returncode == 1
    assert state(folder) == before
