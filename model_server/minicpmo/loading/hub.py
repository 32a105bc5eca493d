"""A model folder on this machine: the one that is named, or a download of the files that are needed."""

from __future__ import annotations

from pathlib import Path

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


def local_folder(source: str) -> Path:
    """The folder `source`; a hub id ("owner/name", with "@revision" behind it if wanted) is downloaded first.

    A download that was cut goes on where it stopped. Raises `CheckpointError`.
    """
    folder = Path(source).expanduser()
    if source and folder.is_dir():
        return folder
    if not _is_hub_id(source):
        raise CheckpointError(f"{source}: expected a model folder or a hub id such as owner/name, found neither")
    name, _, revision = source.partition("@")
    return _download(name, revision or None)


def _is_hub_id(source: str) -> bool:
    name = source.partition("@")[0]
    owner, slash, model = name.partition("/")
    usable = all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in (owner, model))
    return bool(slash) and usable and not source.startswith((".", "/", "~"))


def _download(name: str, revision: str | None) -> Path:
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(NEEDED_FILES)))
    except LocalEntryNotFoundError as error:
        raise CheckpointError(f"{name}: not downloaded yet, and the hub cannot be reached: {error}") from error
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"{name}: the download failed: {error}; run it again to go on") from error
