"""A model folder: its configuration, vocabularies and tensors, checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from model_server.minicpmo import config as sizes
from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.weights import Recipe

Part = TypeVar("Part", bound=nn.Module)


def read_config(folder: Path) -> sizes.ModelConfig:
    """The sizes in `config.json`, `preprocessor_config.json` and the vocoder's file."""
    raw: dict[str, Any] = json.loads((folder / "config.json").read_text())
    vision, audio, speech = raw["vision_config"], raw["audio_config"], raw["tts_config"]
    dvae, vocos = speech.get("tiny_dvae", {}), raw.get("tiny_vocos", {})
    return sizes.ModelConfig(
        language=sizes.LanguageConfig(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            intermediate_size=raw["intermediate_size"],
            num_layers=raw["num_hidden_layers"],
            num_heads=raw["num_attention_heads"],
            num_kv_heads=raw["num_key_value_heads"],
            rope_theta=raw.get("rope_theta", 1e6),
        ),
        vision=sizes.VisionConfig(
            hidden_size=vision["hidden_size"],
            intermediate_size=vision["intermediate_size"],
            num_layers=vision["num_hidden_layers"],
            num_heads=vision["num_attention_heads"],
            drop_last_layer=raw.get("drop_vision_last_layer", True),
        ),
        resampler=sizes.ResamplerConfig(
            num_queries=raw.get("query_num", 64),
            hidden_size=raw["hidden_size"],
            input_size=vision["hidden_size"],
        ),
        audio=sizes.AudioConfig(
            hidden_size=audio["d_model"],
            intermediate_size=audio["encoder_ffn_dim"],
            num_layers=audio["encoder_layers"],
            num_heads=audio["encoder_attention_heads"],
            output_size=raw["hidden_size"],
        ),
        speech=sizes.SpeechConfig(
            llm_size=speech["llm_dim"],
            hidden_size=speech.get("hidden_size", 768),
            intermediate_size=speech.get("intermediate_size", 3072),
            num_layers=speech.get("num_hidden_layers", 20),
            num_heads=speech.get("num_attention_heads", 12),
            num_text_tokens=speech.get("num_text_tokens", 21178),
            speaker_id=speech.get("spk_emb_token_id", 21143),
            audio_bos_id=speech.get("audio_bos_token_id", 21132),
            text_eos_id=speech.get("text_eos_token_id", 21133),
        ),
        dvae=sizes.DvaeConfig(
            vq_dim=dvae.get("vq_dim", 1024),
            bottleneck=dvae.get("bn_dim", 128),
            hidden_size=dvae.get("hidden", 256),
            num_layers=dvae.get("n_layer", 12),
            output_size=dvae.get("odim", 512),
        ),
        vocos=sizes.VocosConfig(
            hidden_size=vocos.get("dim", 512),
            intermediate_size=vocos.get("intermediate_dim", 1536),
            num_layers=vocos.get("num_layers", 8),
        ),
    )


class Tensors:
    """The official tensors of a folder by name, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._files = {}
        for file in sorted(folder.glob("*.safetensors")):
            opened = safe_open(file, framework="pt")
            self._files.update(dict.fromkeys(opened.keys(), opened))
        self._vocos = torch.load(folder / "assets" / "Vocos.pt", map_location="cpu", weights_only=True)

    def __getitem__(self, name: str) -> Tensor:
        if name.startswith("vocos."):
            return self._vocos[name.removeprefix("vocos.")]  # type: ignore[no-any-return]
        if name not in self._files:
            raise CheckpointError(f"tensor {name}: missing")
        return self._files[name].get_tensor(name)  # type: ignore[no-any-return]


def fill(part: Part, recipes: Iterable[Recipe], tensors: Tensors, dtype: torch.dtype) -> Part:
    """Give a part (made on the meta device) its parameters."""
    state = {r.target: r.prepare(*(tensors[name].to(dtype) for name in r.sources)) for r in recipes}
    part.load_state_dict(state, assign=True)
    return part.eval()
