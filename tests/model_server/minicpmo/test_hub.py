from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.loading import hub


class Downloader:
    """Stands for the library's download; remembers what was asked."""

    def __init__(self, result: Path | Exception) -> None:
        self.result = result
        self.asked: list[tuple[str, str | None, list[str]]] = []

    def __call__(self, name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.asked.append((name, revision, allow_patterns))
        if isinstance(self.result, Exception):
            raise self.result
        return str(self.result)


def installed(monkeypatch: pytest.MonkeyPatch, result: Path | Exception) -> Downloader:
    downloader = Downloader(result)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", downloader)
    return downloader


def test_a_local_folder_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    downloader = installed(monkeypatch, tmp_path)
    assert hub.local_folder(str(tmp_path)) == tmp_path
    assert not downloader.asked


def test_an_id_is_downloaded_without_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    downloader = installed(monkeypatch, tmp_path)
    assert hub.local_folder("owner/some-model_2.6") == tmp_path
    [(name, revision, patterns)] = downloader.asked
    assert (name, revision) == ("owner/some-model_2.6", None)
    assert {"config.json", "*.safetensors", "tokenizer.json", "assets/Vocos.pt"} <= set(patterns)
    assert not any(pattern.endswith(".py") or pattern == "*" for pattern in patterns)


def test_a_revision_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    downloader = installed(monkeypatch, tmp_path)
    hub.local_folder("owner/model@abc123")
    assert downloader.asked[0][:2] == ("owner/model", "abc123")


@pytest.mark.parametrize("source", ["", "no-such-folder", "./owner/model", "/no/such", "a/b/c", "owner/", "o wner/m"])
def test_neither_a_folder_nor_an_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    downloader = installed(monkeypatch, tmp_path)
    with pytest.raises(CheckpointError, match="expected a model folder or a hub id"):
        hub.local_folder(source)
    assert not downloader.asked


def connection_error() -> Any:
    import httpx

    return httpx.ConnectError("name resolution failed")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LocalEntryNotFoundError("offline"), "the hub cannot be reached"),
        (OSError("disk is full"), "the download failed: disk is full; run it again to go on"),
        (ValueError("bad name"), "the download failed"),
        (connection_error(), "name resolution failed"),
    ],
)
def test_what_fails_is_a_checkpoint_error(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    installed(monkeypatch, error)
    with pytest.raises(CheckpointError, match=said):
        hub.local_folder("owner/model")
