"""A model folder on this machine: the one that is named, or a download of the files that are needed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_server.minicpmo.errors import CheckpointError

NEEDED_FILES = (
    "config.json",
    "preprocessor_config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "assets/Vocos.pt",
    "assets/chattts_tokenizer/*",
    "assets/ref_audios/*",
)
"""No code is fetched."""

Downloaded = Callable[[int, int], None]
"""Is told how many bytes are there, and of how many that are known of so far."""


def local_folder(source: str, downloaded: Downloaded | None = None) -> Path:
    """The folder `source`; a hub id ("owner/name", with "@revision" behind it if wanted) is downloaded first.

    A download that was cut goes on where it stopped; it draws a progress bar unless `downloaded` is told instead.
    Raises `CheckpointError`.
    """
    folder = Path(source).expanduser()
    if source and folder.is_dir():
        return folder
    if not _is_hub_id(source):
        raise CheckpointError(f"{source}: expected a model folder or a hub id such as owner/name, found neither")
    name, _, revision = source.partition("@")
    return _download(name, revision or None, downloaded)


def _is_hub_id(source: str) -> bool:
    name = source.partition("@")[0]
    owner, slash, model = name.partition("/")
    usable = all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in (owner, model))
    return bool(slash) and usable and not source.startswith((".", "/", "~"))


def _download(name: str, revision: str | None, downloaded: Downloaded | None) -> Path:
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    telling: dict[str, Any] = {} if downloaded is None else {"tqdm_class": _bar_that_tells(downloaded)}
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(NEEDED_FILES), **telling))
    except LocalEntryNotFoundError as error:
        raise CheckpointError(f"{name}: not downloaded yet, and the hub cannot be reached: {error}") from error
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"{name}: the download failed: {error}; run it again to go on") from error


def _bar_that_tells(downloaded: Downloaded) -> type:
    """A progress bar that is not drawn; of bytes, not of files, it tells how far it is."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *given: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*given, **{**options, "file": io.StringIO()})

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            if self.unit == "B":
                downloaded(int(self.n), int(self.total or 0))
            return bool(drawn)

    return Bar
