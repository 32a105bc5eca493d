"""Writing a model folder in the official format, shard by shard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model_server.minicpmo.config import DvaeConfig, ModelConfig, VocosConfig
from model_server.minicpmo.errors import ModelError
from model_server.minicpmo.loading.layout import UNUSED_SPEECH_ROWS, official_tensors
from model_server.minicpmo.random_checkpoint.values import RandomTensors
from model_server.minicpmo.random_checkpoint.words import write_speech_vocabulary, write_text_vocabulary

SHARD_BYTES = 2_000_000_000
VOCODER_PREFIX = "vocos."
UNUSED = "tts.model.embed_tokens.weight"


def write(
    config: ModelConfig, folder: Path, *, seed: int = 0, device: str = "cpu", shard_bytes: int = SHARD_BYTES
) -> None:
    """A checkpoint of these sizes: bfloat16 weights in shards, a float32 vocoder, invented vocabularies.

    The ids of the speech vocabulary's control tokens come from the seed, whatever `config` says.
    Raises `ModelError` for a folder that holds something, and for vocabularies too small for their special tokens.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{folder}: expected an empty or new folder, found files in it")
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    write_descriptions(config, folder, seed)
    _write_weights(config, folder, RandomTensors(config, seed), torch.device(device), shard_bytes)


def write_descriptions(config: ModelConfig, folder: Path, seed: int) -> None:
    """Everything but weights: vocabularies and configuration files."""
    text = write_text_vocabulary(folder, config.language.vocab_size, seed)
    speech = write_speech_vocabulary(folder / "assets" / "chattts_tokenizer", config.speech.num_text_tokens, seed)
    _write_json(folder / "config.json", config_json(config, text, speech))
    _write_json(folder / "preprocessor_config.json", preprocessor_json(config))
    ends = {"bos_token_id": text["<|im_start|>"], "eos_token_id": text["<|im_end|>"]}
    _write_json(folder / "generation_config.json", ends)


def _write_weights(
    config: ModelConfig, folder: Path, tensors: RandomTensors, device: torch.device, shard_bytes: int
) -> None:
    names = [name for name in official_tensors(config) if _is_written(config, name)]
    vocoder = [name for name in names if name.startswith(VOCODER_PREFIX)]
    shards = _shards(config, [name for name in names if not name.startswith(VOCODER_PREFIX)], shard_bytes)
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        single = len(shards) == 1
        file = "model.safetensors" if single else f"model-{number:05}-of-{len(shards):05}.safetensors"
        state = {name: tensors.read(name, device, torch.bfloat16).cpu() for name in shard}
        save_file(state, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(shard, file))
    if len(shards) > 1:
        total = 2 * sum(math.prod(official_tensors(config)[name]) for name in where)
        _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    sound = {
        name.removeprefix(VOCODER_PREFIX): tensors.read(name, torch.device("cpu"), torch.float32) for name in vocoder
    }
    torch.save(sound, folder / "assets" / "Vocos.pt")


def _is_written(config: ModelConfig, name: str) -> bool:
    """The large unused table only comes with a network that is larger still."""
    return name != UNUSED or config.language.vocab_size > UNUSED_SPEECH_ROWS


def _shards(config: ModelConfig, names: list[str], most: int) -> list[list[str]]:
    """Names in order, cut so that no shard has more bytes than `most` (or it is a single tensor)."""
    shapes = official_tensors(config)
    shards: list[list[str]] = [[]]
    size = 0
    for name in names:
        grown = size + 2 * math.prod(shapes[name])
        if shards[-1] and grown > most:
            shards.append([])
            grown = 2 * math.prod(shapes[name])
        shards[-1].append(name)
        size = grown
    return shards


def config_json(c: ModelConfig, text: Mapping[str, int], speech: Mapping[str, int]) -> dict[str, Any]:
    """The contents of `config.json`."""
    language = c.language
    result: dict[str, Any] = {
        "architectures": ["MiniCPMO"],
        "model_type": "minicpmo",
        "version": 2.6,
        "torch_dtype": "bfloat16",
        "bos_token_id": text["<|im_start|>"],
        "eos_token_id": text["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": language.hidden_size,
        "intermediate_size": language.intermediate_size,
        "num_hidden_layers": language.num_layers,
        "num_attention_heads": language.num_heads,
        "num_key_value_heads": language.num_kv_heads,
        "vocab_size": language.vocab_size,
        "max_position_embeddings": language.max_positions,
        "rope_theta": language.rope_theta,
        "rms_norm_eps": language.rms_norm_eps,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "query_num": c.resampler.num_queries,
        "image_size": c.pictures.scale_resolution,
        "patch_size": c.pictures.patch_size,
        "drop_vision_last_layer": c.vision.drop_last_layer,
        "vision_batch_size": c.vision.batch_size,
        "use_image_id": True,
        "slice_mode": True,
        "slice_config": {"max_slice_nums": c.pictures.max_slices, "model_type": "minicpmv"},
        "audio_pool_step": c.audio.pool_step,
        "audio_chunk_length": c.audio.chunk_seconds,
        "chunk_input": True,
        "vision_config": _vision_json(c),
        "audio_config": _audio_json(c),
        "tts_config": _speech_json(c, speech),
    }
    if c.vocos != VocosConfig():
        vocos = c.vocos
        dims = {"dim": vocos.hidden_size, "intermediate_dim": vocos.intermediate_size, "num_layers": vocos.num_layers}
        result["tiny_vocos"] = dims
    return result


def _vision_json(c: ModelConfig) -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": c.vision.hidden_size,
        "intermediate_size": c.vision.intermediate_size,
        "num_hidden_layers": c.vision.num_layers,
        "num_attention_heads": c.vision.num_heads,
        "image_size": c.vision.image_size,
        "patch_size": c.vision.patch_size,
        "layer_norm_eps": c.vision.layer_norm_eps,
    }


def _audio_json(c: ModelConfig) -> dict[str, Any]:
    return {
        "model_type": "whisper",
        "activation_function": "gelu",
        "d_model": c.audio.hidden_size,
        "encoder_ffn_dim": c.audio.intermediate_size,
        "encoder_layers": c.audio.num_layers,
        "encoder_attention_heads": c.audio.num_heads,
        "num_mel_bins": c.audio.num_mel_bins,
        "max_source_positions": c.audio.max_positions,
    }


def _speech_json(c: ModelConfig, ids: Mapping[str, int]) -> dict[str, Any]:
    speech, dvae = c.speech, c.dvae
    result: dict[str, Any] = {
        "model_type": "conditional_chattts",
        "llm_dim": speech.llm_size,
        "hidden_size": speech.hidden_size,
        "intermediate_size": speech.intermediate_size,
        "num_hidden_layers": speech.num_layers,
        "num_attention_heads": speech.num_heads,
        "max_position_embeddings": speech.max_positions,
        "num_text_tokens": speech.num_text_tokens,
        "spk_emb_token_id": ids["[spk_emb]"],
        "audio_bos_token_id": ids["[Ptts]"],
        "text_eos_token_id": ids["[Etts]"],
        "streaming_text_chunk_size": speech.text_chunk,
        "streaming_text_reserved_len": speech.reserved_text,
        "streaming_audio_chunk_size": speech.audio_chunk,
        "top_p": speech.top_p,
        "top_k": speech.top_k,
    }
    if dvae != DvaeConfig():
        result["tiny_dvae"] = {
            "vq_dim": dvae.vq_dim,
            "bn_dim": dvae.bottleneck,
            "hidden": dvae.hidden_size,
            "n_layer": dvae.num_layers,
            "enc_layer": dvae.encoder_layers,
            "odim": dvae.output_size,
        }
    return result


def preprocessor_json(c: ModelConfig) -> dict[str, Any]:
    """The contents of `preprocessor_config.json`."""
    return {
        "image_processor_type": "MiniCPMVImageProcessor",
        "feature_extractor_type": "WhisperFeatureExtractor",
        "version": 2.6,
        "max_slice_nums": c.pictures.max_slices,
        "scale_resolution": c.pictures.scale_resolution,
        "patch_size": c.pictures.patch_size,
        "use_image_id": True,
        "slice_mode": True,
        "image_feature_size": c.resampler.num_queries,
        "norm_mean": [0.5, 0.5, 0.5],
        "norm_std": [0.5, 0.5, 0.5],
        "feature_size": c.audio.num_mel_bins,
        "n_fft": 400,
        "hop_length": 160,
        "chunk_length": 30,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "sampling_rate": 16000,
    }


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
