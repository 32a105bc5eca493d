"""Every golden value of the tiny set, and a proof that misses and unchecked values are noticed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.parity import __main__ as command
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.run import prove
from model_server.minicpmo.parity.vectors import INDEX, VectorSet, leaves
from tests.model_server.minicpmo.conftest import VECTORS

FILES = sorted(file.name for file in (VECTORS / "vectors").glob("*"))


@pytest.fixture(scope="module")
def proof() -> Report:
    return prove(VECTORS, jobs=2)


@pytest.mark.parametrize("file", FILES)
def test_every_value_is_ours(proof: Report, file: str) -> None:
    rows = [row for row in proof.rows if row.file == file]
    assert rows
    assert [row for row in rows if not row.holds] == []


def test_nothing_else_is_amiss(proof: Report) -> None:
    assert proof.misses == []
    assert len(proof.rows) > 6000


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A set with the tiny checkpoint and two values that no check knows."""
    (tmp_path / "checkpoint").symlink_to(VECTORS / "checkpoint")
    (tmp_path / "vectors").mkdir()
    np.savez(tmp_path / "vectors" / "new.npz", wild=np.zeros(3, np.float32))
    index = {
        "files": {"new.npz": {"keys": {"wild": [[3], "float32"]}}},
        "data": {"bos_eos_pad": [0, 0, 0], "odd": {"a": 1}},
    }
    (tmp_path / "vectors" / INDEX).write_text(json.dumps(index))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["parity", "--jobs", "1", *arguments])
    return command.main()


def test_a_wrong_value_and_unchecked_ones_are_misses(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(small)) == 1
    lines = capsys.readouterr().out.splitlines()
    misses = [line.split()[:2] for line in lines if "MISS" in line]
    assert ["new.npz", "wild"] in misses
    assert ["index.json", "odd.a"] in misses
    assert ["index.json", "bos_eos_pad"] in misses
    assert lines[-1].endswith(f"{len(misses)} misses")


def test_an_array_that_the_index_does_not_name_is_a_miss(small: Path) -> None:
    np.savez(small / "vectors" / "new.npz", wild=np.zeros(3), hidden=np.zeros(2))
    assert list(VectorSet(small).unlisted()) == [("new.npz", "hidden")]


def test_a_set_without_values_proves_nothing(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "vectors" / "new.npz").unlink()
    (small / "vectors" / INDEX).write_text(json.dumps({"files": {}, "data": {}}))
    assert run(monkeypatch, str(small)) == 2
    assert "nothing was proved" in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(tmp_path)) == 2
    assert "no folder of golden vectors" in capsys.readouterr().err
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / INDEX).write_text("[]")
    with pytest.raises(CheckpointError):
        VectorSet(tmp_path)


def test_distances(small: Path) -> None:
    report = Report(VectorSet(small))
    report.near("f", "k", np.array([1.0, 2.0]), np.array([1.0, 2.5]), 0.4)
    report.near("f", "k", np.array([1.0, np.nan]), np.array([1.0, 2.5]), 0.4)
    report.near("f", "k", np.zeros(2), np.zeros(3), 0.4)
    report.near("f", "k", np.array([1.0]), np.array([1.25]), 0.4)
    report.equal("f", "k", (1, [2]), [1, [2]])
    report.equal("f", "k", "a", "b")
    assert [row.holds for row in report.rows] == [False, False, False, True, True, False]
    assert report.rows[0].error == 0.5


def test_leaves() -> None:
    data = {"a": [1, 2], "b": [{"c": 1}, {"c": []}], "d": {}}
    assert list(leaves(data, "x")) == ["x.a", "x.b[0].c", "x.b[1].c", "x.d"]
