"""A model folder or hub id, to the network on its devices: everything is checked before anything is read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.loading import config_file, hub
from model_server.minicpmo.loading.assembly import Progress, assemble, fill, plan
from model_server.minicpmo.loading.shards import Tensors
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.random_checkpoint import SIZES, RandomTensors, write_descriptions
from model_server.minicpmo.words.tokens import SpeechTokenizer, TextTokenizer

__all__ = ["Progress", "Tensors", "fill", "load", "load_random", "read_config", "read_vocabularies"]

SPEECH_VOCABULARY = Path("assets") / "chattts_tokenizer"

read_config = config_file.read


def load(
    source: str | Path,
    *,
    devices: Sequence[str] = ("auto",),
    dtype: str = "auto",
    quantize: str = "none",
    progress: Callable[[Progress], None] | None = None,
) -> MiniCPMO:
    """The network from a model folder or a hub id.

    `devices` as `devices.parse` reads them; `dtype` auto, bfloat16, float16 or float32; `quantize` none, int8 or int4.
    Raises `CheckpointError` (one table of all that is wrong), `DeviceError` or `DoesNotFit`, before any weight is read.
    """
    folder = hub.local_folder(str(source))
    config = config_file.read(folder)
    vocabularies = read_vocabularies(folder, config)
    tensors = Tensors(folder, config)
    return assemble(config, vocabularies, tensors, plan(config, devices, dtype, quantize), progress)


def load_random(
    size: str,
    *,
    devices: Sequence[str] = ("auto",),
    dtype: str = "auto",
    quantize: str = "none",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> MiniCPMO:
    """A network of random weights, drawn where they stand and never written: size `tiny`, `mid` or `full`."""
    if size not in SIZES:
        raise CheckpointError(f"size: expected one of {', '.join(SIZES)}, found {size!r}")
    with tempfile.TemporaryDirectory() as made:
        write_descriptions(SIZES[size], Path(made), seed)
        config = config_file.read(Path(made))
        vocabularies = read_vocabularies(Path(made), config)
    chosen = plan(config, devices, dtype, quantize)
    return assemble(config, vocabularies, RandomTensors(config, seed), chosen, progress)


def read_vocabularies(folder: Path, config: ModelConfig) -> tuple[TextTokenizer, SpeechTokenizer]:
    """Both vocabularies of a model folder. Raises `CheckpointError` if one has more tokens than its embedding rows."""
    text = TextTokenizer(folder)
    speech = SpeechTokenizer(folder / SPEECH_VOCABULARY, config.speech)
    _check_size("tokenizer.json", text.size, "vocab_size", config.language.vocab_size)
    _check_size("chattts_tokenizer", speech.size, "num_text_tokens", config.speech.num_text_tokens)
    return text, speech


def _check_size(name: str, tokens: int, key: str, rows: int) -> None:
    if tokens > rows:
        raise CheckpointError(
            f"{name}: {tokens} tokens, expected at most {rows} ({key} in config.json): wrong tokenizer?"
        )
